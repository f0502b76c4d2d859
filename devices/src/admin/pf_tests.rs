// SPDX-License-Identifier: Apache-2.0
//! Bring-up, command lists, VFs and shutdown, with functions that do each step wrong.
use super::*;
use crate::admin::scripted_pf::{BAR, Quirks, ScriptedPf};
use crate::admin::scripts::{Answer, Script, Seen, legacy_device, reply};
use crate::bus::Width;
use crate::contract::mock::{MockFunction, PATIENCE};
use crate::function::{Bars, Configuration, Region};
use std::sync::atomic::AtomicBool;

static NEVER: AtomicBool = AtomicBool::new(false);

fn within(milliseconds: u64) -> Wait<'static> {
    Wait { deadline: Instant::now() + Duration::from_millis(milliseconds), cancelled: &NEVER }
}

fn start(device: &Arc<ScriptedPf>) -> Result<PfDriver, PfError> {
    PfDriver::start(device.clone(), Instant::now() + PATIENCE)
}

/// One that fails, perhaps by its deadline.
fn start_soon(device: &Arc<ScriptedPf>) -> Result<PfDriver, PfError> {
    PfDriver::start(device.clone(), Instant::now() + Duration::from_millis(200))
}

fn running(script: Script) -> (Arc<ScriptedPf>, PfDriver) {
    let device = ScriptedPf::new(Quirks::default(), script);
    let driver = start(&device).unwrap();
    (device, driver)
}

fn member(id: u16) -> NonZeroU16 {
    NonZeroU16::new(id).unwrap()
}

fn read_status(channel: &dyn AdminChannel) -> Result<(), AdminError> {
    let command = Command { opcode: 3, group_type: 1, member_id: 3, data: &[18] };
    channel.execute(&command, &mut [0], &within(120_000))
}

#[test]
fn bring_up() {
    let (device, driver) = running(legacy_device());
    assert_eq!(device.status(), 0x0f);
    // VERSION_1, ACCESS_PLATFORM, SR_IOV, ADMIN_VQ; not RING_PACKED or NOTIFICATION_DATA, word 0 empty.
    assert_eq!(device.features(), 0x223 << 32);
    assert_eq!(device.config_read(4, Width::B2).unwrap() & 6, 6, "memory and bus master");
    assert_eq!(device.region_read(BAR, 16, Width::B2).unwrap(), 0xffff, "no MSI-X vector");
    assert_eq!(device.region_read(BAR, 24, Width::B2).unwrap(), 128, "no larger than its memory");
    assert_eq!(device.mapped().len(), 1);
    assert_eq!(driver.channel().slots(), 64);
    assert!(device.seen().is_empty(), "nothing is sent unasked");
}

#[test]
fn order_platform_is_taken_where_offered() {
    let quirks = Quirks { features: Quirks::default().features | 1 << 36, ..Quirks::default() };
    let device = ScriptedPf::new(quirks, legacy_device());
    let _driver = start(&device).unwrap();
    assert_eq!(device.features(), 0x233 << 32);
}

#[test]
fn every_failing_step_names_function_value_and_fix() {
    let good = Quirks::default;
    let cases = [
        (Quirks { features: good().features & !(1 << 32), ..good() }, "VERSION_1 (bit 32)"),
        (Quirks { features: good().features & !(1 << 37), ..good() }, "SR_IOV (bit 37)"),
        (Quirks { features: good().features & !(1 << 41), ..good() }, "ADMIN_VQ (bit 41)"),
        (Quirks { refuse_features: true, ..good() }, "refused features 0x0000022300000000"),
        (Quirks { admin_num: 0, ..good() }, "admin_queue_num 0"),
        (Quirks { admin_index: 2, ..good() }, "admin_queue_index 2"),
        (Quirks { admin_index: 0xffff, admin_num: 2, ..good() }, "admin_queue_index 65535"),
        (Quirks { common_len: 60, ..good() }, "has 60 bytes"),
        (Quirks { common_len: 0xffff_ffff, ..good() }, "no usable virtio common configuration"),
        (Quirks { common_bar: 2, ..good() }, "no usable virtio common configuration"),
        (Quirks { common_bar: 200, ..good() }, "no usable virtio common configuration"),
        (Quirks { capability_loop: true, ..good() }, "loops or leaves configuration space at 0x40"),
        (Quirks { queue_size: 0, ..good() }, "has 0 descriptors where 2 are needed"),
        (Quirks { queue_size: 1, ..good() }, "has 1 descriptors where 2 are needed"),
        (Quirks { notify_off: 0x400, ..good() }, "queue_notify_off 1024"),
        (Quirks { notify_off: 0xffff, ..good() }, "queue_notify_off 65535"),
        (Quirks { notify_off: 3, notify_len: 13, ..good() }, "queue_notify_off 3 times 4"),
        (Quirks { notify_off: 0x4000, notify_len: 0x3001, ..good() }, "no usable virtio notification"),
        (Quirks { keep_queue_enable: false, ..good() }, "queue_enable reads 0x0"),
        (Quirks { refuse_driver_ok: true, ..good() }, "device_status reads 0x0b after DRIVER_OK"),
    ];
    for (quirks, expected) in cases {
        let device = ScriptedPf::new(quirks, legacy_device());
        let error = start_soon(&device).unwrap_err().to_string();
        assert!(error.starts_with("scripted: ") && error.contains(expected), "{error}");
        assert_eq!(device.status(), 0, "{error}: the device is reset again");
        assert!(device.mapped().is_empty(), "{error}: no DMA mapping is left");
    }
}

#[test]
fn last_doorbell_of_the_notification_structure_is_accepted() {
    let device = ScriptedPf::new(Quirks { notify_off: 3, notify_len: 14, ..Quirks::default() }, legacy_device());
    let driver = start(&device).unwrap();
    assert!(matches!(driver.negotiate_commands(&within(120_000)), Ok(Negotiation::Using(_))));
}

#[test]
fn a_device_that_never_resets_is_given_up() {
    let device = ScriptedPf::new(Quirks::default(), legacy_device());
    device.set_status(0x0f);
    device.reset_stuck.store(true, Ordering::Relaxed);
    let error = start_soon(&device).unwrap_err().to_string();
    assert!(error.contains("device_status still reads 0x0f"), "{error}");
}

#[test]
fn a_function_that_is_gone_is_an_error() {
    let device = ScriptedPf::new(Quirks::default(), legacy_device());
    device.gone.store(true, Ordering::Relaxed);
    let error = start(&device).unwrap_err().to_string();
    assert!(error.contains("the function is gone"), "{error}");
}

#[test]
fn a01_a04_list_is_queried_and_used() {
    let (device, driver) = running(legacy_device());
    assert!(!driver.supports(opcode::LEGACY_COMMON_CFG_READ) && !driver.supports_legacy());
    let negotiated = driver.negotiate_commands(&within(120_000)).unwrap();
    // The device offers 0x3007f; the driver uses what it knows and keeps bits 0 and 1.
    assert_eq!(negotiated, Negotiation::Using(CommandList::from_word(0x7f)));
    assert!(driver.supports_legacy() && driver.supports(opcode::LEGACY_NOTIFY_INFO));
    assert!(!driver.supports(opcode::DEV_PARTS_SET) && !driver.supports(0xffff));
    let seen = device.seen();
    assert_eq!((seen[0].readable.len(), seen[0].writable), (24, 16));
    assert_eq!((seen[1].readable.len(), seen[1].writable), (32, 8));
    assert_eq!(seen[1].readable[24..], 0x7fu64.to_le_bytes());
    assert!(seen.iter().all(|seen| seen.header().group_type == 1 && seen.header().member_id == 0));
    assert_eq!(read_status(&driver), Ok(()));
}

#[test]
fn legacy_commands_are_used_all_or_not_at_all() {
    for (offered, used) in [(0x7b, 0x03), (0x43, 0x03), (0x3f, 0x3f), (0x7f, 0x7f), (0x7d, 0x7d)] {
        let (_, driver) = running(Box::new(move |seen| match seen.header().opcode {
            0 => Answer::Reply(reply(0, 0, &u64::to_le_bytes(offered))),
            _ => Answer::Reply(reply(0, 0, &[])),
        }));
        let negotiated = driver.negotiate_commands(&within(120_000)).unwrap();
        assert_eq!(negotiated, Negotiation::Using(CommandList::from_word(used)), "{offered:#x}");
    }
}

#[test]
fn a03_short_list_is_padded_with_zeros() {
    let (_, driver) = running(Box::new(|seen| match seen.header().opcode {
        0 => Answer::Reply(reply(0, 0, &[0x7f])),
        _ => Answer::Reply(reply(0, 0, &[])),
    }));
    assert!(matches!(driver.negotiate_commands(&within(120_000)), Ok(Negotiation::Using(_))));
    assert!(driver.supports_legacy());
}

#[test]
fn a06_locked_list_stays_in_use() {
    let (device, driver) = running(legacy_device());
    driver.enable_vfs(8).unwrap();
    driver.negotiate_commands(&within(120_000)).unwrap();
    device.set_script(Box::new(|_| Answer::Reply(reply(22, 2, &[]))));
    let kept = driver.negotiate_commands(&within(120_000)).unwrap();
    assert_eq!(kept, Negotiation::Kept(CommandList::from_word(0x7f)));
    assert!(driver.supports_legacy());
}

#[test]
fn a14_early_refusal_is_put_off() {
    // INVALID_GROUP at any time, any refusal while no VF is enabled.
    for qualifier in [4, 5, 1] {
        let (device, driver) = running(Box::new(move |_| Answer::Reply(reply(22, qualifier, &[]))));
        assert_eq!(driver.negotiate_commands(&within(120_000)).unwrap(), Negotiation::Deferred);
        driver.enable_vfs(8).unwrap();
        device.set_script(legacy_device());
        assert!(matches!(driver.negotiate_commands(&within(120_000)), Ok(Negotiation::Using(_))));
    }
}

#[test]
fn a14_no_group_is_put_off_whatever_the_capability_says() {
    let (device, driver) = running(legacy_device());
    driver.enable_vfs(8).unwrap();
    device.set_script(Box::new(|_| Answer::Reply(reply(22, 4, &[]))));
    assert_eq!(driver.negotiate_commands(&within(120_000)).unwrap(), Negotiation::Deferred);
}

#[test]
fn a07_refused_list_is_an_error_once_vfs_exist() {
    let (device, driver) = running(legacy_device());
    driver.enable_vfs(1).unwrap();
    device.set_script(Box::new(|seen| match seen.header().opcode {
        0 => Answer::Reply(reply(0, 0, &u64::to_le_bytes(0x7f))),
        _ => Answer::Reply(reply(22, 3, &[])),
    }));
    let error = driver.negotiate_commands(&within(120_000)).unwrap_err().to_string();
    assert!(error.contains("LIST_USE") && error.contains("status 0x16, qualifier 0x3"), "{error}");
    assert!(!driver.supports_legacy(), "the list is unchanged");
}

#[test]
fn a08_lost_list_is_chosen_again_and_the_command_repeated() {
    let (device, driver) = running(legacy_device());
    driver.negotiate_commands(&within(120_000)).unwrap();
    // As after a reset that the driver did not see: the list is {0, 1} again.
    device.set_script(legacy_device());
    assert!(matches!(read_status(&*driver.channel()), Err(AdminError::Refused { status: 22, qualifier: 2 })));
    assert_eq!(read_status(&driver), Ok(()));
    let opcodes: Vec<_> = device.seen().iter().map(|seen| seen.header().opcode).collect();
    assert_eq!(opcodes, [0, 1, 3, 3, 0, 1, 3]);
}

/// Four threads miss their opcode at the same time: one negotiates, all repeat their command.
#[test]
fn a08_one_negotiation_serves_all_threads() {
    let (device, driver) = running(legacy_device());
    driver.negotiate_commands(&within(120_000)).unwrap();
    device.set_script(Box::new(|_| Answer::Hold(reply(22, 2, &[]))));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| read_status(&driver))).collect();
        while device.held() < 4 {
            std::thread::yield_now();
        }
        device.set_script(legacy_device());
        for _ in 0..4 {
            device.release();
        }
        for thread in threads {
            assert_eq!(thread.join().unwrap(), Ok(()));
        }
    });
    let lists = device.seen().iter().filter(|seen| seen.header().opcode == opcode::LIST_USE).count();
    assert_eq!(lists, 2, "at start, and once for four refusals");
}

#[test]
fn refusals_cannot_make_the_driver_negotiate_all_the_time() {
    let (device, driver) = running(legacy_device());
    driver.negotiate_commands(&within(120_000)).unwrap();
    device.set_script(Box::new(|seen| match seen.header().opcode {
        0 => Answer::Reply(reply(0, 0, &u64::to_le_bytes(0x7f))),
        1 => Answer::Reply(reply(0, 0, &[])),
        _ => Answer::Reply(reply(22, 2, &[])),
    }));
    for _ in 0..50 {
        assert!(matches!(read_status(&driver), Err(AdminError::Refused { status: 22, qualifier: 2 })));
    }
    let lists = device.seen().iter().filter(|seen| seen.header().opcode == opcode::LIST_USE).count();
    assert_eq!(lists, 2, "at start, and once for fifty refusals");
}

fn notify_script(result: Vec<u8>) -> Script {
    let mut lists = legacy_device();
    Box::new(move |seen: &Seen| match seen.header().opcode {
        opcode::LEGACY_NOTIFY_INFO => Answer::Reply(result.clone()),
        _ => lists(seen),
    })
}

/// A VF with a BAR 2 of 1 MiB.
fn vf() -> MockFunction {
    let bar = Region { size: 1 << 20, is_io: false, is_64bit: false, prefetchable: false };
    MockFunction::new("vf").with_bar(2, bar)
}

#[test]
fn c01_c05_notify_info() {
    let good = [2u8, 2, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0];
    let mut whole = good.to_vec();
    whole.resize(64, 0);
    for result in [whole, good.to_vec()] {
        let (device, driver) = running(notify_script(reply(0, 0, &result)));
        driver.negotiate_commands(&within(120_000)).unwrap();
        let found = driver.notify_info(member(3), &vf(), &within(120_000)).unwrap();
        assert_eq!(found, [NotifyAddress::Member { bar: 2, offset: 0x1000 }]);
        let seen = device.seen().pop().unwrap();
        assert_eq!((seen.readable.len(), seen.writable, seen.header().member_id), (24, 72, 3));
    }
}

#[test]
fn c07_no_notify_info_is_no_error() {
    let (_, driver) = running(notify_script(reply(22, 2, &[])));
    driver.negotiate_commands(&within(120_000)).unwrap();
    assert_eq!(driver.notify_info(member(3), &vf(), &within(120_000)).unwrap(), []);
    // Not in the list: not even asked for.
    let (device, driver) = running(legacy_device());
    assert_eq!(driver.notify_info(member(3), &vf(), &within(120_000)).unwrap(), []);
    assert!(device.seen().is_empty());
    // Other refusals are errors.
    let (_, driver) = running(notify_script(reply(22, 5, &[])));
    driver.negotiate_commands(&within(120_000)).unwrap();
    let error = driver.notify_info(member(9), &vf(), &within(120_000)).unwrap_err();
    assert!(error.to_string().contains("LEGACY_NOTIFY_INFO"), "{error}");
}

#[test]
fn vfs() {
    let (device, driver) = running(legacy_device());
    assert_eq!(driver.active_vfs().unwrap(), 0);
    driver.enable_vfs(3).unwrap();
    assert_eq!(driver.active_vfs().unwrap(), 3);
    assert_eq!(device.config_read(0x108, Width::B2).unwrap(), 9, "VF Enable and VF MSE");
    driver.enable_vfs(3).unwrap();
    for wrong in [0, 2, 9] {
        let error = driver.enable_vfs(wrong).unwrap_err().to_string();
        assert!(error.contains("8 are possible and 3 are enabled"), "{error}");
    }
    drop(driver);
    assert_eq!(device.config_read(0x108, Width::B2).unwrap(), 0, "disabled by who enabled them");
}

#[test]
fn read_only_vf_registers_name_the_way() {
    let quirks = Quirks { vf_registers_read_only: true, ..Quirks::default() };
    let device = ScriptedPf::new(quirks, legacy_device());
    let error = start(&device).unwrap().enable_vfs(4).unwrap_err().to_string();
    assert!(error.contains("write 4 to sriov_numvfs"), "{error}");
}

#[test]
fn dropping_the_driver_stops_the_device() {
    let (device, driver) = running(legacy_device());
    let queue = driver.channel();
    drop(driver);
    assert_eq!(device.status(), 0);
    assert!(device.mapped().is_empty());
    assert_eq!(device.config_read(4, Width::B2).unwrap() & 4, 0, "no bus master");
    assert!(matches!(read_status(&*queue), Err(AdminError::Dead(_))));
}

#[test]
fn memory_outlives_a_device_that_does_not_reset() {
    let (device, driver) = running(legacy_device());
    let region = Arc::downgrade(&device.mapped()[0]);
    device.reset_stuck.store(true, Ordering::Relaxed);
    let error = driver.stop().unwrap_err().to_string();
    assert!(error.contains("device_status still reads 0x0f"), "{error}");
    assert_eq!(device.mapped().len(), 1, "still mapped");
    drop(device);
    assert!(region.upgrade().is_some(), "never freed");
    let (device, driver) = running(legacy_device());
    let region = Arc::downgrade(&device.mapped()[0]);
    driver.stop().unwrap();
    assert!(region.upgrade().is_none(), "freed after a good reset");
}
