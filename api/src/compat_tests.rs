// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::decode;
use crate::operations::CONFIG_EXAMPLES;

fn config_with(path: &ForeignField, value: Value) -> Value {
    let mut config = json!({"payload": {"kernel": "k"}, "cpus": {"boot_vcpus": 2}, "memory": {"size": 536_870_912},
                            "serial": {"mode": "Off"}});
    if path.object == DEVICES {
        config[DEVICES] = json!([{"vfio": {"address": "0000:41:00.3"}}]);
    }
    let object = match path.object {
        "" => &mut config,
        DEVICES => &mut config[DEVICES][0],
        object => &mut config[object],
    };
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
        let path = field.path().replace("[]", "[0]");
        assert_eq!(fault.field.as_ref(), Some(&path));
        assert!(fault.message.contains(&path) && fault.message.contains(field.note), "{}", fault.message);
    }
}

#[test]
fn what_asks_for_nothing_changes_nothing() {
    let plain = decode::config(config_with(&FOREIGN[0], Value::Null)).unwrap();
    for field in FOREIGN {
        let mut config = decode::config(config_with(field, Value::Null)).unwrap();
        assert_eq!(config.devices.len(), usize::from(field.object == DEVICES));
        config.devices.clear();
        assert_eq!(config, plain, "{}", field.path());
    }
    for (path, value) in [
        ("cpus.max_vcpus", json!(2)),
        ("cpus.max_vcpus", json!(8)),
        ("cpus.features", json!({"amx": false})),
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

fn devices(devices: Value) -> Result<Vec<crate::DeviceConfig>, Fault> {
    decode::config(json!({"payload": {"kernel": "k"}, "devices": devices})).map(|config| config.devices)
}

#[test]
fn null_is_the_default_of_fields_that_both_have() {
    let plain = decode::config(json!({"payload": {"kernel": "k"}, "memory": {"size": 536_870_912}})).unwrap();
    let nulls = json!({"payload": {"kernel": "k"}, "devices": null, "memory": {"size": 536_870_912,
        "hugepages": null, "hugepage_size": null, "prefault": null, "shared": null}});
    assert_eq!(decode::config(nulls).unwrap(), plain);
    let wishes = json!({"payload": {"kernel": "k"}, "memory": {"size": 1u64 << 30,
        "hugepages": true, "hugepage_size": 1u64 << 30, "prefault": true, "shared": true}});
    let memory = decode::config(wishes).unwrap().memory;
    assert_eq!(
        (memory.hugepages, memory.hugepage_size, memory.prefault, memory.shared),
        (true, Some(1 << 30), true, true)
    );
    let fault = decode::config(json!({"payload": {"kernel": "k"}, "memory": {"size": 536_870_912, "hugepages": 1}}));
    assert_eq!(fault.unwrap_err().field.as_deref(), Some("memory.hugepages"));
}

#[test]
fn a_path_is_an_address() {
    let theirs = json!({"path": "/sys/bus/pci/devices/0000:41:00.3/", "id": "nic", "iommu": false, "pci_segment": 0});
    let ours = json!({"vfio": {"address": "0000:41:00.3"}, "id": "nic"});
    assert_eq!(devices(json!([theirs])).unwrap(), devices(json!([ours])).unwrap());
    let null = json!([{"path": null, "vfio_user": "/run/s"}]);
    assert_eq!(devices(null).unwrap(), devices(json!([{"vfio_user": "/run/s"}])).unwrap());
    let long = json!([{"path": "/sys/devices/pci0000:40/0000:40:01.0/0000:41:1f.7"}]);
    let crate::FunctionOrigin::Host(vfio) = &devices(long).unwrap()[0].origin else {
        panic!("no function of the host")
    };
    assert_eq!(vfio.address, "0000:41:1f.7");
}

#[test]
fn what_is_no_path_of_a_function_is_refused() {
    for path in [
        "",
        "/",
        "0000:41:00.3",
        "/sys/0000:41:00.8",
        "/sys/0000:41:20.0",
        "/sys/0000:41:00.3x",
        "/sys/000:41:00.3",
        "/dev/vfio/12",
        "/sys/0000:4\u{e9}:00.3",
    ] {
        let fault = devices(json!([{"vfio_user": "/s"}, {"path": path}])).unwrap_err();
        assert_eq!((fault.code, fault.field.as_deref()), (Code::InvalidField, Some("devices[1].path")), "{path}");
    }
    for other in [json!({"vfio": {"address": "0000:41:00.3"}}), json!({"vfio_user": "/s"})] {
        let mut device = other;
        device["path"] = json!("/sys/bus/pci/devices/0000:41:00.3");
        assert_eq!(devices(json!([device])).unwrap_err().field.as_deref(), Some("devices[0].path"));
    }
    let fault = devices(json!([{"path": "/sys/bus/pci/devices/0000:41:00.3", "iommu": true}])).unwrap_err();
    assert_eq!((fault.code, fault.field.as_deref()), (Code::UnsupportedField, Some("devices[0].iommu")));
    for none in [json!([1]), json!({}), json!([null])] {
        assert_eq!(devices(none).unwrap_err().code, Code::InvalidField);
    }
}
