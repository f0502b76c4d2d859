// SPDX-License-Identifier: Apache-2.0
use super::*;

fn known() -> Known {
    Known::new(true, DeviceType::Net)
}

/// After a reset that ended, with queue 1 selected.
fn selected() -> Known {
    let mut known = known();
    known.reset(true);
    known.written(Register::QueueSelect, 1);
    known
}

#[test]
fn nothing_is_known_at_first_and_nothing_ever_while_off() {
    let registers = [
        Register::DeviceFeatures,
        Register::DriverFeatures,
        Register::QueueAddress,
        Register::QueueSize,
        Register::QueueSelect,
        Register::Status,
        Register::ConfigVector,
        Register::QueueVector,
    ];
    let mut off = Known::new(false, DeviceType::Net);
    off.reset(true);
    for register in registers {
        assert_eq!(known().get(register), None);
        off.written(register, 3);
        off.read(register, 3);
    }
    assert!(registers.iter().all(|register| off.get(*register).is_none()));
}

#[test]
fn features_stay_over_a_reset_and_go_with_the_function() {
    let mut known = known();
    known.read(Register::DeviceFeatures, 5);
    known.reset(true);
    known.written(Register::QueueSelect, 0);
    known.written(Register::QueueAddress, 0);
    assert_eq!(known.get(Register::DeviceFeatures), Some(5));
    known.power_on();
    assert_eq!(known.get(Register::DeviceFeatures), None);
}

#[test]
fn queue_registers_are_those_of_the_selected_queue() {
    let mut known = known();
    known.read(Register::QueueSize, 256);
    known.reset(true);
    assert_eq!(known.get(Register::QueueAddress), None, "which queue a reset selects is not said");
    known.written(Register::QueueSelect, 1);
    assert_eq!((known.get(Register::QueueAddress), known.get(Register::QueueSize)), (Some(0), None));
    known.read(Register::QueueSize, 256);
    known.written(Register::QueueAddress, 0x1f4a3);
    known.written(Register::QueueSelect, 2);
    assert_eq!((known.get(Register::QueueAddress), known.get(Register::QueueSize)), (Some(0), None));
    known.written(Register::QueueSelect, 1);
    assert_eq!((known.get(Register::QueueAddress), known.get(Register::QueueSize)), (Some(0x1f4a3), Some(256)));
    known.written(Register::QueueSelect, 0x300);
    known.read(Register::QueueSize, 7);
    assert_eq!((known.get(Register::QueueAddress), known.get(Register::QueueSize)), (None, None));
    assert_eq!(known.get(Register::QueueSelect), Some(0x300));
}

#[test]
fn h4_a_vector_is_known_once_the_device_said_it() {
    let mut known = selected();
    for register in [Register::ConfigVector, Register::QueueVector] {
        known.written(register, 9);
        assert_eq!(known.get(register), None);
        known.read(register, 0xffff);
        assert_eq!(known.get(register), Some(0xffff));
    }
    known.forget_vectors();
    assert_eq!((known.get(Register::ConfigVector), known.get(Register::QueueVector)), (None, None));
    assert_eq!(known.get(Register::QueueAddress), Some(0), "the rest stays");
}

#[test]
fn status_is_known_while_only_legacy_bits_were_written() {
    let mut known = known();
    known.read(Register::Status, 7);
    assert_eq!(known.get(Register::Status), None, "somebody else wrote that");
    known.reset(true);
    assert_eq!(known.get(Register::Status), Some(0));
    known.written(Register::Status, 0x87);
    assert_eq!(known.get(Register::Status), Some(0x87));
    known.written(Register::Status, 0x17);
    assert_eq!(known.get(Register::Status), None, "the device may drop bit 4");
}

#[test]
fn queue_address_0_may_have_reset_everything() {
    let mut known = selected();
    known.written(Register::Status, 3);
    known.written(Register::DriverFeatures, 1);
    known.written(Register::QueueAddress, 0);
    for register in [Register::Status, Register::DriverFeatures, Register::QueueSelect, Register::QueueAddress] {
        assert_eq!(known.get(register), None);
    }
}

#[test]
fn a_reset_that_did_not_end_leaves_nothing_known() {
    let mut known = selected();
    known.read(Register::DeviceFeatures, 5);
    known.reset(false);
    known.written(Register::QueueSelect, 0);
    for register in [Register::DeviceFeatures, Register::Status, Register::QueueAddress] {
        assert_eq!(known.get(register), None);
    }
}

#[test]
fn h36_modern_use_and_failures_end_all_knowledge_once() {
    let mut known = selected();
    known.begin_access(false, 0);
    assert_eq!(known.get(Register::Status), Some(0));
    known.begin_access(false, 1);
    assert_eq!(known.get(Register::Status), None);
    known.written(Register::Status, 1);
    known.begin_access(false, 1);
    assert_eq!(known.get(Register::Status), Some(1), "written after the modern access");
    known.begin_access(true, 1);
    assert_eq!(known.get(Register::Status), None);
}
