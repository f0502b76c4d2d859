// SPDX-License-Identifier: Apache-2.0
//! What clients of the API, configuration files and lists of keys can say, below HTTP: it is a configuration that
//! survives its own JSON, or a fault that says why not.
#![no_main]

use api::decode::{FileError, config, config_file, json, query};
use api::options::{DEVICE, LEGACY_VIRTIO, MEMORY, SMBIOS, SOFT_DEVICE};
use api::{Fault, VmConfig};
use libfuzzer_sys::fuzz_target;

fn check_fault(fault: &Fault) {
    assert_eq!(fault.status() / 100, 4, "{fault:?}");
    assert!(!fault.message.is_empty());
}

fn check_config(config_read: &VmConfig) {
    assert!((1..=api::MAX_VCPUS).contains(&config_read.cpus.boot_vcpus));
    assert!(config_read.memory.size >= api::MIN_MEMORY && config_read.memory.size.is_multiple_of(api::MEMORY_UNIT));
    for id in config_read.legacy_virtio.iter().filter_map(|device| device.id.as_deref()) {
        assert_eq!(api::check_id(id), Ok(()));
    }
    let text = serde_json::to_vec(config_read).expect("JSON of a configuration");
    let again = json(&text).and_then(config).expect("a configuration of its own JSON");
    assert_eq!(&again, config_read);
}

/// A list of keys is a value that survives its own JSON, or there is a reason.
macro_rules! check_list {
    ($keys:expr, $text:expr) => {
        match $keys.parse($text) {
            Ok(found) => {
                let document = serde_json::to_value(&found).expect("JSON of a list");
                let mut again = found.clone();
                again.clone_from(&serde_json::from_value(document).expect("a value of its own JSON"));
                assert_eq!(again, found);
            }
            Err(reason) => assert!(!reason.is_empty()),
        }
    };
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    match (kind % 5, std::str::from_utf8(bytes)) {
        (0, Ok(text)) => match query(text, &["id", "path"]) {
            Ok(found) => assert!(found.len() <= 2),
            Err(fault) => check_fault(&fault),
        },
        (1, Ok(text)) => match config_file(text, true) {
            Ok(found) => check_config(&found),
            Err(FileError::Field(fault)) => check_fault(&fault),
            Err(FileError::Syntax { message, .. }) => assert!(!message.is_empty()),
        },
        (2, Ok(text)) => {
            check_list!(LEGACY_VIRTIO, text);
            check_list!(DEVICE, text);
            check_list!(MEMORY, text);
            check_list!(SMBIOS, text);
            check_list!(SOFT_DEVICE, text);
        }
        _ => match json(bytes).and_then(config) {
            Ok(found) => check_config(&found),
            Err(fault) => check_fault(&fault),
        },
    }
});
