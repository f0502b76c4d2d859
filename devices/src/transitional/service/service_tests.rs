// SPDX-License-Identifier: Apache-2.0
//! The service by itself: a model of a device and a function below.
use std::sync::atomic::Ordering;

use super::*;
use crate::contract::mock::Call;
use crate::transitional::tests::bench::{Below, Setup, refused};

struct Desk {
    below: Below,
    service: Service,
    state: DmaState,
}

fn desk() -> Desk {
    let below = Below::new(&Setup::net());
    let service = Service::new(&below.function(), &below.back_end, Duration::from_millis(50));
    Desk { below, service, state: DmaState::default() }
}

#[test]
fn h11_dma_follows_the_policy_and_is_written_once() {
    let mut desk = desk();
    desk.service.expect_dma(&mut desk.state);
    desk.service.expect_dma(&mut desk.state);
    assert!(desk.below.vf.is_bus_master());
    assert_eq!(desk.below.log.take(), ["vf config 4.2=406"]);
    desk.service.stop_dma(&mut desk.state);
    assert!(!desk.below.vf.is_bus_master());
    desk.service.device_was_reset(&mut desk.state);
    assert!(!desk.below.vf.is_bus_master(), "nobody expects it after a reset");
    desk.service.guest_command(&mut desk.state, Command::BUS_MASTER);
    desk.service.device_was_reset(&mut desk.state);
    assert!(desk.below.vf.is_bus_master(), "the guest's bit is the guest's business");
}

#[test]
fn a_vf_that_was_taken_away_gets_no_dma() {
    let mut desk = desk();
    desk.service.take_away("unplugged");
    desk.service.expect_dma(&mut desk.state);
    assert!(desk.service.is_gone() && !desk.below.vf.is_bus_master() && !desk.service.may_reset_function());
    assert_eq!(desk.below.back_end.faults().reason().as_deref(), Some("unplugged"));
}

#[test]
fn a_reset_of_the_device_ends_or_not() {
    let desk = desk();
    desk.below.model.reset_reads.store(3, Ordering::SeqCst);
    assert!(desk.service.reset_device());
    desk.below.model.reset_reads.store(u64::MAX, Ordering::SeqCst);
    assert!(desk.below.back_end.write(Register::Status, 3));
    assert!(!desk.service.reset_device());
    desk.below.log.take();
    assert!(!desk.service.reset_device(), "out of service");
    assert!(desk.below.log.take().is_empty(), "and nothing was sent");
}

#[test]
fn a_function_level_reset_brings_service_back() {
    let mut desk = desk();
    desk.service.fail("for a test".into());
    let begun = desk.service.reset_function(&mut desk.state).unwrap();
    desk.service.look_for_service(begun);
    assert!(!desk.below.back_end.faults().is_faulted());
    assert_eq!(desk.below.log.take(), ["vf reset", "vf config 4.2=402", "R C18.1=0"]);
    desk.service.fail("for a test".into());
    desk.below.model.trouble.fail("R C18", refused(1));
    desk.service.look_for_service(desk.below.back_end.faults().mark());
    assert!(desk.below.back_end.faults().is_faulted());
}

#[test]
fn a_function_that_cannot_be_reset_stays_out_of_service() {
    let mut desk = desk();
    desk.below.vf.refuse(Some(Call::Reset));
    assert!(desk.service.reset_function(&mut desk.state).is_none());
    desk.service.machine_reset(&mut desk.state);
    assert!(desk.below.back_end.faults().reason().unwrap().starts_with("the function cannot be reset"));
}

#[test]
fn h6_a_reset_that_did_not_hold_ends_dma_and_service() {
    let mut desk = desk();
    desk.service.expect_dma(&mut desk.state);
    desk.service.reset_did_not_hold(&mut desk.state, 7);
    assert!(!desk.below.vf.is_bus_master());
    assert_eq!(desk.below.back_end.faults().counts().get(crate::contract::FailureKind::Function), 1);
    assert_eq!(desk.below.back_end.faults().reason().as_deref(), Some("status is 0x7 after a reset that had ended"));
}

#[test]
fn b6_no_dma_while_out_of_service_whatever_the_guest_writes() {
    let mut desk = desk();
    desk.service.guest_command(&mut desk.state, Command::BUS_MASTER);
    desk.service.fail("for a test".into());
    desk.service.guest_command(&mut desk.state, Command::empty());
    assert!(!desk.below.vf.is_bus_master());
    desk.service.guest_command(&mut desk.state, Command::BUS_MASTER);
    desk.service.expect_dma(&mut desk.state);
    assert!(!desk.below.vf.is_bus_master(), "off is off until a reset ended");
    desk.service.begin_reset(&mut desk.state);
    let begun = desk.service.reset_function(&mut desk.state).unwrap();
    desk.service.look_for_service(begun);
    desk.service.device_was_reset(&mut desk.state);
    assert!(desk.below.vf.is_bus_master(), "as the guest wants");
}

#[test]
fn b6_no_dma_between_the_begin_and_the_end_of_a_reset() {
    let mut desk = desk();
    desk.service.guest_command(&mut desk.state, Command::BUS_MASTER);
    desk.service.begin_reset(&mut desk.state);
    desk.service.guest_command(&mut desk.state, Command::empty());
    desk.service.guest_command(&mut desk.state, Command::BUS_MASTER);
    assert!(!desk.below.vf.is_bus_master());
    desk.service.device_was_reset(&mut desk.state);
    assert!(desk.below.vf.is_bus_master());
}

#[test]
fn what_is_saved_goes_on_in_another() {
    let mut desk = desk();
    desk.service.expect_dma(&mut desk.state);
    let saved = serde_json::to_string(&desk.state).unwrap();
    let state: DmaState = serde_json::from_str(&saved).unwrap();
    assert_eq!(state, desk.state);
    assert!(state.is_allowed());
}
