// SPDX-License-Identifier: Apache-2.0
use super::*;

#[test]
fn every_common_offset_belongs_to_its_register() {
    // Start, length and name, as in virtio 1.3, "Legacy Interfaces: A Note on PCI Device Layout".
    let layout = [
        (0, 4, "device_features"),
        (4, 4, "driver_features"),
        (8, 4, "queue_address"),
        (12, 2, "queue_size"),
        (14, 2, "queue_select"),
        (16, 2, "queue_notify"),
        (18, 1, "device_status"),
        (19, 1, "isr_status"),
        (20, 2, "config_msix_vector"),
        (22, 2, "queue_msix_vector"),
    ];
    for (start, length, name) in layout {
        for offset in start..start + length {
            assert_eq!(REGISTERS[register_index(Area::Common, offset)], name, "offset {offset}");
        }
    }
    for offset in [0, 19, 255] {
        assert_eq!(REGISTERS[register_index(Area::Device, offset)], "device_config");
    }
}

#[test]
fn commands_are_counted_by_register_whether_they_succeed_or_not() {
    let recorder = Recorder::new();
    let at = (Area::Common, 18);
    recorder.record(opcode::LEGACY_COMMON_CFG_READ, at, Duration::from_micros(3), &Ok(()));
    recorder.record::<()>(opcode::LEGACY_COMMON_CFG_READ, at, Duration::ZERO, &Err(AdminError::Timeout));
    let stats = recorder.snapshot(7);
    let of = |name| stats.registers.iter().find(|r| r.register == name).map(|r| r.count);
    assert_eq!(of("device_status"), Some(2));
    assert_eq!(of("isr_status"), Some(0));
    assert_eq!((stats.member, stats.commands[1].count, stats.commands[1].errors.timeout), (7, 1, 1));
}
