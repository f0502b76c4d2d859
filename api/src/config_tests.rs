// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::InterruptMode;

#[test]
fn config_round_trips_through_json_and_defaults_apply() {
    let text = r#"{
        "payload": {"kernel": "/boot/vmlinuz"},
        "legacy_virtio": [
            {"id": "root", "soft": {"blk": {"file": "disk.img"}}, "irq": "intx"},
            {"soft": {"net": {"backend": {"tap": "tap0"}, "mac": "52:54:00:00:00:01"}}},
            {"soft": {"net": {"backend": "loopback"}}}
        ]
    }"#;
    let config: VmConfig = serde_json::from_str(text).unwrap();
    assert_eq!((config.cpus.boot_vcpus, config.memory.size), (1, 512 << 20));
    assert_eq!(config.serial.mode, ConsoleMode::Tty);
    assert_eq!(config.legacy_virtio[0].irq, InterruptMode::Intx);
    let again: VmConfig = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
    assert_eq!(again, config);
}

#[test]
fn unknown_fields_are_refused() {
    let error = serde_json::from_str::<VmConfig>(r#"{"payload": {"kernel": "k"}, "memroy": {"size": 1}}"#).unwrap_err();
    assert!(error.to_string().contains("memroy"), "{error}");
}
