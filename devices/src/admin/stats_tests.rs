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
            assert_eq!(REGISTER_NAMES[register_index(Area::Common, offset)], name, "offset {offset}");
        }
    }
    for offset in [0, 19, 255] {
        assert_eq!(REGISTER_NAMES[register_index(Area::Device, offset)], "device_config");
    }
}

#[test]
fn commands_are_counted_by_register_whether_they_succeed_or_not() {
    let recorder = Recorder::new();
    let at = (Area::Common, 18);
    recorder.record(opcode::LEGACY_COMMON_CFG_READ, at.0, at.1, Duration::from_micros(3), &Ok(()));
    recorder.record::<()>(opcode::LEGACY_COMMON_CFG_READ, at.0, at.1, Duration::ZERO, &Err(AdminError::Timeout));
    let stats = recorder.snapshot(7);
    let of = |name| stats.registers.iter().find(|r| r.register == name).map(|r| r.count);
    assert_eq!(of("device_status"), Some(2));
    assert_eq!(of("isr_status"), Some(0));
    assert_eq!(
        (stats.member, stats.commands[1].count, stats.commands[1].errors.get(crate::contract::FailureKind::Timeout)),
        (7, 1, 1)
    );
}

#[test]
fn buckets_and_sum_cover_every_success_and_reads_are_told_from_writes() {
    let recorder = Recorder::new();
    let at = (Area::Common, 18);
    for nanos in [100, 250, 251, 9_000, 20_000_000_000] {
        recorder.record(opcode::LEGACY_COMMON_CFG_READ, at.0, at.1, Duration::from_nanos(nanos), &Ok(()));
    }
    recorder.record(opcode::LEGACY_COMMON_CFG_WRITE, at.0, at.1, Duration::from_nanos(1), &Ok(()));
    recorder.record::<()>(opcode::LEGACY_COMMON_CFG_READ, at.0, at.1, Duration::ZERO, &Err(AdminError::Timeout));
    let stats = recorder.snapshot(1);
    let reads = stats.commands.iter().find(|c| c.command == "LEGACY_COMMON_CFG_READ").unwrap();
    let mut expected = [0; LATENCY_BOUNDS.len() + 1];
    (expected[0], expected[1], expected[5], expected[12]) = (2, 1, 1, 1);
    assert_eq!(reads.latency_buckets, expected);
    assert_eq!(reads.latency_buckets.iter().sum::<u64>(), reads.count);
    assert_eq!(reads.latency_sum_ns, 100 + 250 + 251 + 9_000 + 20_000_000_000);
    let status = stats.registers.iter().find(|r| r.register == "device_status").unwrap();
    assert_eq!((status.count, status.reads), (7, 6));
}
