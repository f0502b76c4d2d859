// SPDX-License-Identifier: Apache-2.0
//! Starting over: what comes back, what must not, and what else goes on meanwhile.
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Instant;

use super::*;
use crate::admin::faulty::{Fault, FaultyPf, Rule};
use crate::admin::scripted_pf::{Quirks, ScriptedPf};
use crate::admin::scripts::{Answer, legacy_device};
use crate::admin::{AdminChannel, Command, QueueCounter};
use crate::bus::Width;
use crate::contract::NotifyAddress;
use crate::soft_pf::{NetBackend, SoftPf, VfSpec};

static NEVER: AtomicBool = AtomicBool::new(false);

fn within(milliseconds: u64) -> Wait<'static> {
    Wait { deadline: Instant::now() + Duration::from_millis(milliseconds), cancelled: &NEVER }
}

fn read_status(channel: &dyn AdminChannel) -> Result<u8, AdminError> {
    let mut value = [0xee];
    let command = Command { opcode: 3, group_type: 1, member_id: 1, data: &[18] };
    channel.execute(&command, &mut value, &within(120_000))?;
    Ok(value[0])
}

struct Bench {
    driver: PfDriver,
    pf: Arc<FaultyPf>,
    soft: SoftPf,
}

/// A PF with two VFs, which the driver enables, or the host.
fn bench(by_driver: bool) -> Bench {
    let spec = |n| VfSpec::Net { backend: NetBackend::Loopback, mac: [2, 0, 0, 0, 0, n] };
    let soft = SoftPf::new("soft", vec![spec(1), spec(2)]).unwrap();
    let pf = FaultyPf::new(soft.pf()).unwrap();
    if !by_driver {
        soft.enable_vfs(2).unwrap();
    }
    let driver = PfDriver::start(pf.clone(), Instant::now() + Duration::from_secs(120)).unwrap();
    if by_driver {
        driver.enable_vfs(2).unwrap();
    }
    driver.negotiate_commands(&within(120_000)).unwrap();
    pf.seen();
    Bench { driver, pf, soft }
}

#[test]
fn f13_after_a_device_reset_list_and_commands_are_back() {
    let Bench { driver, pf, soft } = bench(true);
    let old = driver.channel();
    soft.pf().region_write(2, 20, Width::B1, 0).unwrap();
    assert!(matches!(driver.check(), Err(AdminError::Dead(why)) if why.contains("reset behind")));
    assert!(matches!(read_status(&driver), Err(AdminError::Dead(_))));
    driver.restart(&within(120_000)).unwrap();
    let opcodes: Vec<u16> = pf.seen().iter().map(|seen| seen.opcode).collect();
    assert_eq!(opcodes, [opcode::LIST_QUERY, opcode::LIST_USE], "chosen before anybody can send more");
    assert_eq!((driver.check(), read_status(&driver)), (Ok(()), Ok(0)));
    assert!(matches!(read_status(&*old), Err(AdminError::Dead(_))), "the queue of before is dead for good");
    assert_eq!((driver.active_vfs().unwrap(), pf.violations()), (2, 0));
}

#[test]
fn f13_after_a_function_reset_the_drivers_own_vfs_are_back() {
    let Bench { driver, soft, .. } = bench(true);
    soft.pf().reset().unwrap();
    assert_eq!(driver.active_vfs().unwrap(), 0);
    assert!(driver.check().is_err());
    driver.restart(&within(120_000)).unwrap();
    assert_eq!((driver.active_vfs().unwrap(), read_status(&driver)), (2, Ok(0)));
}

#[test]
fn the_hosts_vfs_are_left_to_the_host() {
    let Bench { driver, soft, .. } = bench(false);
    soft.pf().reset().unwrap();
    let error = driver.restart(&within(120_000)).unwrap_err();
    assert!(error.to_string().contains("sriov_numvfs"), "{error}");
    assert!(driver.check().is_err() && driver.active_vfs().unwrap() == 0);
    soft.enable_vfs(2).unwrap();
    driver.restart(&within(120_000)).unwrap();
    assert_eq!(read_status(&driver), Ok(0));
}

#[test]
fn h28_disabled_vfs_are_noticed() {
    let Bench { driver, soft, .. } = bench(true);
    assert_eq!(driver.check(), Ok(()));
    soft.enable_vfs(0).unwrap();
    assert!(matches!(driver.check(), Err(AdminError::Dead(VFS_GONE))));
    driver.restart(&within(120_000)).unwrap();
    assert_eq!((driver.check(), read_status(&driver)), (Ok(()), Ok(0)));
}

#[test]
fn a_restart_that_fails_can_be_repeated() {
    let faults = [
        Fault::Lose,
        Fault::Duplicate,
        Fault::Status(22, 1),
        Fault::UsedLength(0),
        Fault::ResetDevice,
        Fault::ResetFunction,
        Fault::RemoveGone,
        Fault::RemoveAllOnes,
    ];
    for fault in faults {
        for opcode in [opcode::LIST_QUERY, opcode::LIST_USE] {
            let Bench { driver, pf, soft } = bench(true);
            soft.pf().reset().unwrap();
            pf.add(Rule { opcode: Some(opcode), ..Rule::nth(0, fault.clone()) });
            driver.restart(&within(200)).unwrap_err();
            assert!(matches!(read_status(&driver), Err(AdminError::Dead(_))), "{fault:?}: nothing half done is used");
            pf.put_back();
            driver.restart(&within(120_000)).unwrap();
            assert_eq!((read_status(&driver), pf.violations()), (Ok(0), 0), "{fault:?}");
        }
    }
}

#[test]
fn memory_of_a_device_that_does_not_reset_stays_until_it_does() {
    let device = ScriptedPf::new(Quirks::default(), legacy_device());
    let driver = PfDriver::start(device.clone(), Instant::now() + Duration::from_secs(120)).unwrap();
    let before = device.mapped();
    device.reset_stuck.store(true, Ordering::Relaxed);
    let error = driver.restart(&within(30)).unwrap_err();
    assert!(error.to_string().contains("after a reset"), "{error}");
    let same = device.mapped().len() == 1 && Arc::ptr_eq(&device.mapped()[0], &before[0]);
    assert!(same, "the device may still write there");
    device.reset_stuck.store(false, Ordering::Relaxed);
    driver.restart(&within(120_000)).unwrap();
    assert_eq!(device.mapped().len(), 1);
}

/// A restart that hangs: others are answered at once, and it ends when it is told to.
#[test]
fn nothing_waits_for_a_restart() {
    let device = ScriptedPf::new(Quirks::default(), legacy_device());
    let driver = PfDriver::start(device.clone(), Instant::now() + Duration::from_secs(120)).unwrap();
    device.reset_stuck.store(true, Ordering::Relaxed);
    let cancelled = AtomicBool::new(false);
    let wait = Wait { deadline: Instant::now() + Duration::from_secs(600), cancelled: &cancelled };
    let outcome = thread::scope(|scope| {
        let restart = scope.spawn(|| driver.restart(&wait));
        while driver.channel().dead().is_none() {
            thread::yield_now();
        }
        assert!(matches!(read_status(&driver), Err(AdminError::Dead(_))));
        assert!(driver.check().is_err());
        let second = driver.restart(&within(120_000)).unwrap_err();
        assert!(matches!(second.cause, PfCause::Restarting));
        assert!(!restart.is_finished());
        cancelled.store(true, Ordering::Relaxed);
        restart.join().unwrap()
    });
    assert!(matches!(outcome.unwrap_err().cause, PfCause::Admin(AdminError::Cancelled)));
    device.reset_stuck.store(false, Ordering::Relaxed);
    driver.restart(&within(120_000)).unwrap();
}

#[test]
fn a_restart_ends_commands_under_way() {
    let device = ScriptedPf::new(Quirks::default(), Box::new(|_| Answer::Hold(Vec::new())));
    let driver = PfDriver::start(device.clone(), Instant::now() + Duration::from_secs(120)).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| read_status(&driver));
        while device.held() == 0 {
            thread::yield_now();
        }
        device.set_script(legacy_device());
        driver.restart(&within(120_000)).unwrap();
        assert_eq!(waiting.join().unwrap(), Err(AdminError::Dead(RESTARTED)));
    });
    assert_eq!(read_status(&driver), Ok(0));
}

/// Opcode 6 of the fault matrix: the command that is sent once for each VF, at start and after a
/// restart. It fails or tells no address; what it tells lies inside a BAR.
#[test]
fn notify_info_meets_each_fault() {
    let faults = [
        (Fault::Lose, false),
        (Fault::NeverReply, false),
        (Fault::Hold, false),
        (Fault::Delay(Duration::from_millis(5)), true),
        (Fault::Duplicate, false),
        (Fault::UsedId(9), false),
        (Fault::UsedIndex(2), false),
        (Fault::UsedLength(0), false),
        (Fault::UsedLength(8), true),
        (Fault::UsedLength(u32::MAX), true),
        (Fault::Status(22, 2), true),
        (Fault::Status(22, 3), false),
        (Fault::Status(22, 5), false),
        (Fault::Status(11, 7), true),
        (Fault::Status(12, 6), true),
        (Fault::Result, true),
        (Fault::ResetDevice, false),
        (Fault::ResetFunction, false),
        (Fault::DisableVfs, false),
        (Fault::RemoveAllOnes, false),
        (Fault::RemoveGone, false),
    ];
    for (fault, works) in faults {
        let Bench { driver, pf, soft } = bench(true);
        pf.add(Rule { opcode: Some(opcode::LEGACY_NOTIFY_INFO), ..Rule::nth(0, fault.clone()) });
        let vf = soft.vf(1).unwrap();
        let two = NonZeroU16::new(2).unwrap();
        let outcome = driver.notify_info(two, vf.as_ref(), &within(if works { 120_000 } else { 100 }));
        assert!(driver.channel().counts().get(QueueCounter::Abandoned) <= 1, "{fault:?} costs one deadline at most");
        assert_eq!(outcome.is_ok(), works, "{fault:?}: {outcome:?}");
        for address in outcome.unwrap_or_default() {
            assert!(matches!(address, NotifyAddress::Member { bar: 2, offset: 0x3000 }), "{fault:?}: {address:?}");
        }
        pf.put_back();
        pf.release();
        if driver.check().is_err() {
            driver.restart(&within(120_000)).unwrap();
        }
        assert_eq!(driver.notify_info(two, vf.as_ref(), &within(120_000)).unwrap().len(), 1, "{fault:?}");
        assert_eq!(pf.violations(), 0);
    }
}
