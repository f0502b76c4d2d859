// SPDX-License-Identifier: Apache-2.0
use serde_json::Value;

use super::*;
use crate::routes::Content;

/// Every example of the table, and so of the OpenAPI document: it is taken, and what comes out of the
/// types goes in again unchanged.
#[test]
fn examples_round_trip() {
    let mut count = 0;
    for route in routes() {
        let replies = route.output.successes.iter().filter_map(|success| match success.content {
            Content::Json(body) | Content::Lines(body) => Some(body),
            _ => None,
        });
        for body in route.input.body.into_iter().chain(replies) {
            for (name, text) in body.examples {
                let value: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{} {name}: {e}", route.path));
                let once = (body.round_trip)(value).unwrap_or_else(|e| panic!("{} {name}: {e:?}", route.path));
                let twice = (body.round_trip)(once.clone()).unwrap();
                assert_eq!(once, twice, "{} {name}", route.path);
                count += 1;
            }
        }
    }
    assert!(count >= 14, "{count} examples");
}

#[test]
fn replies_lose_nothing_in_the_types() {
    for route in routes() {
        for success in route.output.successes {
            let (Content::Json(body) | Content::Lines(body)) = success.content else { continue };
            for (name, text) in body.examples {
                let value: Value = serde_json::from_str(text).unwrap();
                // Defaults of a configuration may come on top.
                assert!(is_part_of(&value, &(body.round_trip)(value.clone()).unwrap()), "{} {name}", route.path);
            }
        }
    }
}

fn is_part_of(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|other| is_part_of(value, other)))
        }
        (Value::Array(part), Value::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(a, b)| is_part_of(a, b))
        }
        _ => part == whole,
    }
}

#[test]
fn every_code_is_somewhere_and_tells_its_meaning() {
    let used: Vec<_> = routes().flat_map(Route::codes).collect();
    for code in Code::ALL {
        let by_dispatch = matches!(code, Code::NotFound | Code::MethodNotAllowed);
        assert!(by_dispatch || used.contains(&code), "{code:?} is on no route");
        assert!(!code.name().is_empty() && !code.meaning().is_empty());
        assert_eq!(serde_json::from_value::<Code>(Value::String(code.name())).unwrap(), code);
    }
}
