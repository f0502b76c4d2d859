// SPDX-License-Identifier: Apache-2.0
use super::*;

const ALL: [Register; 8] = [
    Register::DeviceFeatures,
    Register::DriverFeatures,
    Register::QueueAddress,
    Register::QueueSize,
    Register::QueueSelect,
    Register::Status,
    Register::ConfigVector,
    Register::QueueVector,
];

fn cache() -> RegisterCache {
    RegisterCache::new(true, DeviceType::Net)
}

/// A write of the guest that the device takes.
fn write(cache: &mut RegisterCache, register: Register, value: u32) {
    cache.guest_wrote(register, value);
    cache.device_took(register, value);
}

/// After a reset that ended, with queue 1 selected.
fn selected() -> RegisterCache {
    let mut cache = cache();
    cache.apply(Event::ResetEnded);
    write(&mut cache, Register::QueueSelect, 1);
    cache
}

/// Queue 1 is set up, and every register was read.
fn full() -> RegisterCache {
    let mut cache = selected();
    for (register, value) in [
        (Register::DriverFeatures, 1),
        (Register::QueueAddress, 0x1f4a3),
        (Register::Status, 7),
        (Register::ConfigVector, 4),
        (Register::QueueVector, 5),
    ] {
        write(&mut cache, register, value);
    }
    for (register, value) in [
        (Register::DeviceFeatures, 3),
        (Register::QueueSize, 256),
        (Register::ConfigVector, 4),
        (Register::QueueVector, 0xffff),
    ] {
        cache.read(register, value);
    }
    cache
}

#[test]
fn nothing_is_known_at_first_and_nothing_is_told_while_off() {
    let mut off = RegisterCache::new(false, DeviceType::Net);
    off.apply(Event::ResetEnded);
    write(&mut off, Register::QueueSelect, 3);
    for register in ALL {
        assert_eq!((cache().answer(register), cache().written(register)), (None, None));
        write(&mut off, register, 3);
        off.read(register, 3);
    }
    assert!(ALL.iter().all(|register| off.answer(*register).is_none()));
    assert!(ALL.iter().all(|register| off.written(*register) == Some(3)), "what the guest wrote is there all the same");
}

#[test]
fn features_stay_over_a_reset_and_go_with_the_function() {
    let mut cache = cache();
    cache.read(Register::DeviceFeatures, 5);
    cache.apply(Event::ResetEnded);
    write(&mut cache, Register::QueueSelect, 0);
    write(&mut cache, Register::QueueAddress, 0);
    assert_eq!(cache.answer(Register::DeviceFeatures), Some(5));
    cache.apply(Event::FunctionReset);
    assert_eq!(cache.answer(Register::DeviceFeatures), None);
    assert_eq!(cache.written(Register::DeviceFeatures), Some(5), "what the guest was offered does not change");
}

#[test]
fn queue_registers_are_those_of_the_selected_queue() {
    let mut cache = cache();
    cache.read(Register::QueueSize, 256);
    assert_eq!(cache.written(Register::QueueSize), None, "of which queue is not sure");
    cache.apply(Event::ResetEnded);
    assert_eq!(cache.answer(Register::QueueAddress), None, "which queue a reset selects is not said");
    write(&mut cache, Register::QueueSelect, 1);
    assert_eq!((cache.answer(Register::QueueAddress), cache.answer(Register::QueueSize)), (Some(0), None));
    cache.read(Register::QueueSize, 256);
    write(&mut cache, Register::QueueAddress, 0x1f4a3);
    write(&mut cache, Register::QueueSelect, 2);
    assert_eq!((cache.answer(Register::QueueAddress), cache.answer(Register::QueueSize)), (Some(0), None));
    write(&mut cache, Register::QueueSelect, 1);
    assert_eq!((cache.answer(Register::QueueAddress), cache.answer(Register::QueueSize)), (Some(0x1f4a3), Some(256)));
    assert_eq!(cache.configured().collect::<Vec<_>>(), [1]);
    write(&mut cache, Register::QueueSelect, 0x300);
    cache.read(Register::QueueSize, 7);
    assert_eq!((cache.answer(Register::QueueAddress), cache.answer(Register::QueueSize)), (None, None));
    assert_eq!(cache.answer(Register::QueueSelect), Some(0x300));
}

#[test]
fn a_queue_that_cannot_be_is_nobodys() {
    let mut cache = selected();
    write(&mut cache, Register::QueueSelect, 700);
    write(&mut cache, Register::QueueAddress, 5);
    assert!(!cache.selects_a_queue());
    assert_eq!((cache.written(Register::QueueAddress), cache.configured().count()), (None, 0));
    write(&mut cache, Register::QueueSelect, u32::from(MAX_QUEUES) - 1);
    assert!(cache.selects_a_queue());
}

#[test]
fn h4_a_vector_is_known_once_the_device_said_it() {
    let mut cache = selected();
    for register in [Register::ConfigVector, Register::QueueVector] {
        write(&mut cache, register, 9);
        assert_eq!((cache.answer(register), cache.written(register)), (None, Some(9)));
        cache.read(register, 0xffff);
        assert_eq!(cache.answer(register), Some(0xffff));
    }
    cache.apply(Event::MsixControlWritten);
    assert_eq!((cache.answer(Register::ConfigVector), cache.answer(Register::QueueVector)), (None, None));
    assert_eq!(cache.answer(Register::QueueAddress), Some(0), "the rest stays");
}

#[test]
fn status_is_known_while_only_legacy_bits_were_written() {
    let mut cache = cache();
    cache.read(Register::Status, 7);
    assert_eq!(cache.answer(Register::Status), None, "somebody else wrote that");
    cache.apply(Event::ResetEnded);
    assert_eq!((cache.answer(Register::Status), cache.status_must_be_zero()), (Some(0), true));
    write(&mut cache, Register::Status, 0x87);
    assert_eq!((cache.answer(Register::Status), cache.status_must_be_zero()), (Some(0x87), false));
    write(&mut cache, Register::Status, 0x17);
    assert_eq!(cache.answer(Register::Status), None, "the device may drop bit 4");
}

#[test]
fn queue_address_0_may_have_reset_everything() {
    let mut cache = selected();
    write(&mut cache, Register::Status, 3);
    write(&mut cache, Register::DriverFeatures, 1);
    write(&mut cache, Register::QueueAddress, 0);
    for register in [Register::Status, Register::DriverFeatures, Register::QueueSelect, Register::QueueAddress] {
        assert_eq!(cache.answer(register), None);
    }
    assert_eq!((cache.status(), cache.queue_select()), (3, 1), "what the guest wrote stays");
}

#[test]
fn h36_modern_use_and_failures_end_all_knowledge_once() {
    let mut cache = selected();
    cache.begin_access(false, 0);
    assert_eq!(cache.answer(Register::Status), Some(0));
    cache.begin_access(false, 1);
    assert_eq!((cache.answer(Register::Status), cache.status_must_be_zero()), (None, false));
    write(&mut cache, Register::Status, 1);
    cache.begin_access(false, 1);
    assert_eq!(cache.answer(Register::Status), Some(1), "written after the modern access");
    cache.begin_access(true, 1);
    assert_eq!(cache.answer(Register::Status), None);
}

#[test]
fn h6_out_of_service_a_status_still_has_to_be_zero() {
    let mut cache = selected();
    cache.begin_access(true, 1);
    assert!(cache.status_must_be_zero());
}

/// What `event` leaves of [`full`]: by register, what the guest wrote and what the device would answer.
fn left_by(event: Event) -> [(bool, bool); 8] {
    let mut cache = full();
    cache.apply(event);
    // Without a known selection no queue register is the device's; the cells are looked at themselves.
    ALL.map(|register| {
        cache.cells.queue_select.written = Some(1);
        let cell = cache.cell(register).unwrap();
        (cell.written.is_some(), cell.device.is_some())
    })
}

#[test]
fn each_event_ends_what_its_row_says_and_nothing_else() {
    let device = |event| left_by(event).map(|(_, device)| u8::from(device));
    // Device features, driver features, queue address, size, select, status, configuration and queue vector.
    assert_eq!(device(Event::ConfigWritten), [1; 8]);
    assert_eq!(device(Event::MacAddressByQueue), [1; 8]);
    assert_eq!(device(Event::MsixControlWritten), [1, 1, 1, 1, 1, 1, 0, 0]);
    assert_eq!(device(Event::ResetEnded), [1, 0, 1, 0, 0, 1, 0, 0]);
    assert_eq!(device(Event::QueueAddressZero), [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(device(Event::CommandChanged), [1, 0, 0, 0, 0, 0, 0, 0]);
    for event in
        [Event::ResetUnconfirmed, Event::FunctionReset, Event::AccessFailed, Event::OutOfService, Event::ModernUse]
    {
        assert_eq!(device(event), [0; 8], "{event:?}");
    }
}

#[test]
fn only_the_guests_reset_ends_what_it_wrote_and_read_only_registers_stay_told() {
    let written = |event| left_by(event).map(|(written, _)| u8::from(written));
    for event in [Event::ResetEnded, Event::ResetUnconfirmed] {
        // The selection is set by the look itself.
        assert_eq!(written(event), [1, 0, 0, 1, 1, 0, 0, 0], "{event:?}");
    }
    for event in [Event::FunctionReset, Event::QueueAddressZero, Event::AccessFailed, Event::ModernUse] {
        assert_eq!(written(event), [1; 8], "{event:?}");
    }
    let mut cache = full();
    cache.merge_address_half(0, 9);
    cache.apply(Event::ResetEnded);
    assert_eq!((cache.status(), cache.queue_select(), cache.configured().count()), (0, 0, 0));
    assert_eq!(cache.merge_address_half(1, 9), None);
}

#[test]
fn driver_features_are_merged_from_any_width() {
    let mut cache = cache();
    assert_eq!(cache.merge_driver_features(0, 4, 0x1003_9823), 0x1003_9823);
    assert_eq!(cache.merge_driver_features(1, 1, 0xff), 0x1003_ff23);
    assert_eq!(cache.merge_driver_features(2, 2, 0xabcd), 0xabcd_ff23);
    assert_eq!(cache.merge_driver_features(3, 2, 0x1122), 0x22cd_ff23, "the byte past the end is dropped");
}

#[test]
fn a_queue_address_is_whole_with_both_halves() {
    let mut cache = cache();
    assert_eq!(cache.merge_address_half(1, 1), None);
    assert_eq!(cache.merge_address_half(0, 0xf4a3), Some(0x1_f4a3));
    assert_eq!(cache.merge_address_half(0, 5), None, "a new address starts from nothing");
    assert_eq!(cache.merge_address_half(2, 5), None);
}

#[test]
fn a_saved_state_goes_on_in_another_cache_and_no_state_can_name_other_queues() {
    let saved = serde_json::to_value(full().state()).unwrap();
    let mut other = cache();
    other.set_state(serde_json::from_value(saved.clone()).unwrap());
    assert_eq!(other.state(), full().state());
    assert!(ALL.iter().all(|register| other.answer(*register) == full().answer(*register)));
    for queues in [0, 1000] {
        let mut bad = saved.clone();
        let queue = bad["cells"]["queues"][1].clone();
        bad["cells"]["queues"] = vec![queue; queues].into();
        other.set_state(serde_json::from_value(bad).unwrap());
        assert_eq!(other.queues().count(), usize::from(MAX_QUEUES));
        assert_eq!(other.cells.queues.len(), usize::from(MAX_QUEUES));
    }
}
