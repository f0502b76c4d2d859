// SPDX-License-Identifier: Apache-2.0
//! The registers by themselves: a model of a device below, and a recorder in place of the other owners.
use super::*;
use crate::transitional::layout::identity::DeviceType;
use crate::transitional::tests::bench::{Below, Log, NET_FEATURES, Setup, refused};

/// Notes what the other owners are told, into the log of the registers below.
struct Recorder {
    log: Log,
    started: bool,
}

impl Consequences for Recorder {
    fn queue_address_comes(&mut self, queue: u16) {
        self.log.add(format!("comes {queue}"));
    }
    fn queue_ready(&mut self, queue: u16) {
        self.log.add(format!("ready {queue}"));
    }
    fn queue_address_goes(&mut self, queue: u16, started_early: bool) {
        self.log.add(format!("goes {queue} {started_early}"));
    }
    fn features_written(&mut self) {
        self.log.add("features".into());
    }
    fn status_comes(&mut self, status: u8) {
        self.log.add(format!("status comes {status}"));
    }
    fn is_started(&self) -> bool {
        self.started
    }
    fn status_reached_device(&mut self, status: u8) {
        self.log.add(format!("status {status}"));
    }
}

struct Desk {
    below: Below,
    registers: Registers,
    cache: RegisterCache,
    others: Recorder,
}

fn desk() -> Desk {
    let below = Below::new(&Setup::net());
    let layout = Layout { device: DeviceType::Net, config_len: 40 };
    let registers = Registers::new(layout, 1 << 30, below.back_end.clone());
    let cache = RegisterCache::new(true, DeviceType::Net);
    let others = Recorder { log: below.log.clone(), started: false };
    Desk { below, registers, cache, others }
}

impl Desk {
    fn read(&mut self, offset: u64, width: Width) -> Result<u64, ResetDidNotHold> {
        let target = self.registers.decode(offset, width, Direction::Read, false);
        self.registers.read(&mut self.cache, &target, width)
    }

    fn write(&mut self, offset: u64, width: Width, value: u32) -> Wrote {
        let target = self.registers.decode(offset, width, Direction::Write, false);
        self.registers.write(&mut self.cache, &target, width, value, &mut self.others)
    }

    fn all(&mut self, offset: u64, width: Width, value: u32) {
        assert_eq!(self.write(offset, width, value), Wrote::All);
    }

    fn log(&self) -> Vec<String> {
        self.below.log.take()
    }
}

#[test]
fn h1_vector_and_dma_come_before_the_address_and_kicks_after_it() {
    let mut desk = desk();
    desk.all(14, Width::B2, 1);
    desk.all(8, Width::B4, 0x100);
    desk.all(8, Width::B4, 0);
    let expected = ["W C14.2=1", "R C12.2=100", "comes 1", "W C8.4=100", "ready 1", "goes 1 false", "W C8.4=0"];
    assert_eq!(desk.log(), expected);
}

#[test]
fn an_address_that_the_device_refuses_makes_no_queue() {
    let mut desk = desk();
    desk.all(14, Width::B2, 1);
    desk.below.model.trouble.fail("W C8.4", refused(1));
    desk.all(8, Width::B4, 0x100);
    assert_eq!(desk.log(), ["W C14.2=1", "R C12.2=100", "comes 1", "W C8.4=100!"]);
    assert_eq!(desk.cache.configured().count(), 0);
    desk.all(14, Width::B2, 700);
    desk.all(8, Width::B4, 0x100);
    assert_eq!(desk.log(), ["W C14.2=2bc"], "no such queue");
}

#[test]
fn h32_features_that_were_not_offered_are_not_accepted() {
    let mut desk = desk();
    desk.all(4, Width::B4, u32::MAX);
    let offered = format!("{NET_FEATURES:x}");
    assert_eq!(desk.log(), [format!("R C0.4={offered}"), format!("W C4.4={offered}"), "features".into()]);
}

#[test]
fn status_0_is_a_reset_that_others_carry_out() {
    let mut desk = desk();
    assert_eq!(desk.write(18, Width::B1, 0), Wrote::Reset);
    desk.all(18, Width::B1, 0x48);
    assert!(desk.log().is_empty(), "and bits that legacy does not have are no reset");
    desk.all(18, Width::B1, 0x4b);
    assert_eq!(desk.log(), ["status comes 3", "W C18.1=3", "status 3"]);
}

#[test]
fn h12_a_start_in_the_drivers_place_is_kept_and_not_shown() {
    let mut desk = desk();
    desk.all(18, Width::B1, 3);
    assert_eq!(desk.registers.start_early(&mut desk.cache), Some(7));
    desk.others.started = true;
    desk.log();
    desk.cache.apply(Event::ModernUse);
    assert_eq!(desk.read(18, Width::B1), Ok(3));
    desk.all(18, Width::B1, 0x83);
    assert_eq!(desk.log(), ["R C18.1=7", "status comes 131", "W C18.1=87", "status 135"]);
    desk.others.started = false;
    desk.all(18, Width::B1, 0x83);
    assert_eq!(desk.log(), ["status comes 131", "W C18.1=83", "status 131"], "it lost that start");
}

#[test]
fn h6_a_status_after_a_reset_that_had_ended_is_told() {
    let mut desk = desk();
    desk.cache.apply(Event::ResetUnconfirmed);
    assert_eq!(desk.read(18, Width::B1), Ok(0));
    desk.below.model.status_after_reset.store(7, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(desk.read(18, Width::B1), Err(ResetDidNotHold(7)));
}

#[test]
fn f25_a_dead_device_still_has_the_status_that_was_written() {
    let mut desk = desk();
    desk.all(18, Width::B1, 3);
    desk.below.back_end.faults().fault("gone".into());
    desk.registers.begin_access(&mut desk.cache, 0);
    assert_eq!((desk.read(18, Width::B1), desk.read(0, Width::B4)), (Ok(3), Ok(u64::from(u32::MAX))));
}
