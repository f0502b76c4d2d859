// SPDX-License-Identifier: Apache-2.0
//! What clients of the API and configuration files can say, below HTTP: it is a configuration that survives
//! its own JSON, or a fault that says why not.
#![no_main]

use api::decode::{FileError, config, config_file, json, query};
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

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    match (kind % 4, std::str::from_utf8(bytes)) {
        (0, Ok(text)) => match query(text, &["id", "path"]) {
            Ok(found) => assert!(found.len() <= 2),
            Err(fault) => check_fault(&fault),
        },
        (1, Ok(text)) => match config_file(text, true) {
            Ok(found) => check_config(&found),
            Err(FileError::Field(fault)) => check_fault(&fault),
            Err(FileError::Syntax { message, .. }) => assert!(!message.is_empty()),
        },
        _ => match json(bytes).and_then(config) {
            Ok(found) => check_config(&found),
            Err(fault) => check_fault(&fault),
        },
    }
});
