// SPDX-License-Identifier: Apache-2.0
use serde_json::{Value, json};

use super::super::{Saved, StateError};

/// The guest of `from` goes on at `to`, by way of a document.
pub fn move_state<T: Saved>(from: &T, to: &T) {
    let document = serde_json::to_string(&from.state()).unwrap();
    to.set_state(serde_json::from_str(&document).unwrap()).unwrap();
    assert_eq!(serde_json::to_string(&to.state()).unwrap(), document);
}

/// Sets states that differ from the device's own in one value that somebody made up, and calls `then` after each.
/// Returns how many were taken.
pub fn make_up_states<T: Saved>(device: &T, mut then: impl FnMut(Result<(), StateError>)) -> usize {
    let own = serde_json::to_value(device.state()).unwrap();
    let mut paths = Vec::new();
    leaves(&own, String::new(), &mut paths);
    let mut taken = 0;
    for path in paths {
        let long = vec![json!(255); 300];
        for made_up in [json!(0), json!(255), json!(65535), json!(u32::MAX), json!(u64::MAX), json!(i64::MIN)]
            .into_iter()
            .chain([json!(true), json!([]), json!(long), Value::Null])
        {
            let mut document = own.clone();
            *document.pointer_mut(&path).unwrap() = made_up;
            if let Ok(state) = serde_json::from_value(document) {
                let result = device.set_state(state);
                taken += usize::from(result.is_ok());
                then(result);
            }
        }
    }
    device.set_state(serde_json::from_value(own).unwrap()).unwrap();
    taken
}

/// The document, its parts, and of long lists the first and last entries.
fn leaves(value: &Value, path: String, paths: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| leaves(value, format!("{path}/{name}"), paths));
        }
        Value::Array(values) => {
            let ends = values.iter().enumerate().filter(|(at, _)| *at < 4 || at + 4 >= values.len());
            ends.for_each(|(at, value)| leaves(value, format!("{path}/{at}"), paths));
        }
        _ => {}
    }
    paths.push(path);
}
