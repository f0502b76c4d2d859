// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::decode;
use crate::routes::CONFIG_EXAMPLES;

fn config_with(path: &ForeignField, value: Value) -> Value {
    let mut config = json!({"payload": {"kernel": "k"}, "cpus": {"boot_vcpus": 2}, "memory": {"size": 536_870_912},
                            "serial": {"mode": "Off"}});
    let object = if path.object.is_empty() { &mut config } else { &mut config[path.object] };
    object[path.name] = value;
    config
}

/// A value that asks for something.
fn wish(field: &ForeignField) -> Option<Value> {
    match field.accept {
        Accept::Absent => Some(json!([{"a": 1}])),
        Accept::On => Some(json!(false)),
        Accept::Anything => None,
        Accept::Texts(_) => Some(json!("Vm")),
        Accept::Modes(_) => Some(json!({"mode": "Pty"})),
        Accept::AllOff => Some(json!({"tdx": true})),
        Accept::AtLeast(_) => Some(json!(1)),
        Accept::Zero => Some(json!(4096)),
    }
}

#[test]
fn what_asks_for_something_is_refused_by_name() {
    for field in FOREIGN {
        let Some(value) = wish(field) else { continue };
        let fault = decode::config(config_with(field, value)).unwrap_err();
        assert_eq!(fault.code, Code::UnsupportedField, "{}", field.path());
        assert_eq!(fault.field, Some(field.path()));
        assert!(fault.message.contains(&field.path()) && fault.message.contains(field.note), "{}", fault.message);
    }
}

#[test]
fn what_asks_for_nothing_changes_nothing() {
    let plain = decode::config(config_with(&FOREIGN[0], Value::Null)).unwrap();
    for field in FOREIGN {
        assert_eq!(decode::config(config_with(field, Value::Null)).unwrap(), plain, "{}", field.path());
    }
    for (path, value) in [
        ("cpus.max_vcpus", json!(2)),
        ("cpus.max_vcpus", json!(8)),
        ("cpus.features", json!({"amx": false})),
        ("memory.shared", json!(true)),
        ("memory.hotplug_size", json!(0)),
        ("rng", json!({"src": "/dev/urandom"})),
        ("console", json!({"mode": "Off", "file": null})),
        ("disks", json!([])),
        ("iommu", json!(false)),
        ("platform", json!({"tdx": false})),
    ] {
        let field = FOREIGN.iter().find(|field| field.path() == path).unwrap();
        assert_eq!(decode::config(config_with(field, value)).unwrap(), plain, "{path}");
    }
}

#[test]
fn synonyms() {
    let config =
        json!({"payload": {"kernel": "k"}, "serial": {"mode": "Null"}, "cpus": {"boot_vcpus": 1, "profile": "Host"}});
    let config = decode::config(config).unwrap();
    assert_eq!(config.serial.mode, crate::ConsoleMode::Off);
    assert_eq!(config.cpus.profile, crate::CpuProfile::Host);
}

#[test]
fn objects_that_are_none_are_left_to_the_types() {
    for config in
        [json!(null), json!(1), json!([]), json!({"payload": 1}), json!({"payload": {"kernel": "k"}, "cpus": []})]
    {
        assert_eq!(decode::config(config).unwrap_err().code, Code::InvalidField);
    }
}

#[test]
fn examples_are_known_to_the_types() {
    for (name, text) in CONFIG_EXAMPLES {
        decode::config(serde_json::from_str(text).unwrap()).unwrap_or_else(|fault| panic!("{name}: {fault:?}"));
    }
}
