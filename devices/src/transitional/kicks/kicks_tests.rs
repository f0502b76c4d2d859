// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::bus::Width;
use crate::contract::mock::{Call, MockPorts};
use crate::pci::{Command, PciDevice};
use crate::transitional::DeviceCounter;
use crate::transitional::NotifyMode;
use crate::transitional::tests::bench::{BASE, Below, Bench, Setup, counts};

fn linked() -> Bench {
    Setup { ports: true, ..Setup::net() }.build()
}

fn attached(bench: &Bench) -> Vec<(u16, u16)> {
    bench.ports.places()
}

#[test]
fn h13_ioeventfds_live_from_driver_ok_to_queue_address_0() {
    let bench = linked();
    bench.set_up_queue(0, 0x100);
    bench.set_up_queue(1, 0x200);
    assert!(attached(&bench).is_empty(), "early kicks must be seen");
    bench.w8(18, 7);
    assert_eq!(attached(&bench), [(BASE + 16, 0), (BASE + 16, 1)]);
    bench.w16(14, 0);
    bench.log();
    bench.w32(8, 0);
    assert_eq!(bench.log(), [format!("detach {:x}=0", BASE + 16), "unlink 0".into(), "W C8.4=0".into()]);
    bench.w8(18, 0);
    assert!(attached(&bench).is_empty());
}

#[test]
fn a_queue_set_up_after_driver_ok_is_linked_at_once() {
    let bench = linked();
    bench.w8(18, 7);
    bench.set_up_queue(2, 0x100);
    assert_eq!(attached(&bench), [(BASE + 16, 2)]);
    let log = bench.log();
    let at = |what: &str| log.iter().position(|line| line.starts_with(what)).unwrap();
    assert!(at("W C8.4=100") < at("link 2") && at("link 2") < at("attach"), "{log:?}");
}

#[test]
fn a_reset_ends_links_before_it_is_sent() {
    let bench = linked();
    bench.start_intx();
    bench.w8(18, 0);
    let log = bench.log();
    let last = log.iter().rposition(|line| line.starts_with("detach")).unwrap();
    assert!(last < log.iter().position(|line| line == "W C18.1=0").unwrap());
}

#[test]
fn h12_early_kicks_are_passed_on_and_repeated_once() {
    let bench = linked();
    bench.set_up_queue(0, 0x100);
    bench.set_up_queue(1, 0x200);
    bench.log();
    for queue in [1, 1, 2] {
        bench.w16(16, queue);
    }
    assert_eq!(bench.log(), ["vf store 2+1000.2=1"; 2], "queue 2 is not set up");
    bench.w8(18, 7);
    let log = bench.log();
    let status = log.iter().position(|line| line == "W C18.1=7").unwrap();
    assert_eq!(log[status + 1..].iter().filter(|line| line.contains("store")).count(), 1);
    bench.w8(18, 7);
    assert_eq!(bench.log(), ["W C18.1=7"], "once");
    let kinds = [DeviceCounter::KicksEarly, DeviceCounter::KicksReplayed, DeviceCounter::KicksDropped];
    assert_eq!(counts(&bench.device, kinds), [2, 1, 1]);
}

#[test]
fn early_kicks_are_forgotten_by_a_reset() {
    let bench = linked();
    bench.set_up_queue(0, 0x100);
    bench.w16(16, 0);
    bench.w8(18, 0);
    bench.set_up_queue(0, 0x100);
    bench.log();
    bench.w8(18, 7);
    assert!(!bench.log().iter().any(|line| line.contains("store")));
}

#[test]
fn a_status_write_that_fails_repeats_nothing() {
    let bench = linked();
    bench.set_up_queue(0, 0x100);
    bench.w16(16, 0);
    bench.model.trouble.fail("W C18.1", crate::transitional::tests::bench::refused(1));
    bench.log();
    bench.w8(18, 7);
    assert!(!bench.log().iter().any(|line| line.contains("store")));
    assert!(attached(&bench).is_empty());
}

#[test]
fn without_links_of_the_function_kicks_exit() {
    let bench = linked();
    bench.vf.refuse(Some(Call::Link));
    bench.start_intx();
    assert!(attached(&bench).is_empty());
    bench.w16(16, 1);
    assert_eq!(bench.log(), ["vf store 2+1000.2=1"]);
}

#[test]
fn a_port_that_is_taken_means_exits_for_that_queue() {
    let bench = linked();
    let event = vmm_sys_util::eventfd::EventFd::new(0).unwrap();
    bench.ports.attach(BASE + 16, 0, &event).unwrap();
    bench.start_intx();
    bench.w16(16, 0);
    assert_eq!(bench.log(), ["vf store 2+1000.2=0"]);
    let kinds = [DeviceCounter::KicksStored, DeviceCounter::QueuesByIoeventfd];
    assert_eq!(counts(&bench.device, kinds), [1, 1], "queue 1 has its link");
}

#[test]
fn kicks_by_link_are_counted_across_links() {
    let bench = linked();
    bench.start_intx();
    bench.vf.link_kicks.store(5, Ordering::SeqCst);
    bench.w16(14, 1);
    bench.w32(8, 0);
    bench.vf.link_kicks.store(3, Ordering::SeqCst);
    assert_eq!(bench.device.report().count(DeviceCounter::KicksByIoeventfd), 5 + 3);
}

#[test]
fn a_kick_that_nobody_took_before_the_link_ended_is_made_by_store() {
    let bench = linked();
    bench.start_intx();
    bench.ports.signal(BASE + 16, 1);
    bench.config_write(0x10, Width::B4, 0xd041);
    let stores: Vec<_> = bench.log().into_iter().filter(|line| line.contains("store")).collect();
    assert_eq!(stores, ["vf store 2+1000.2=1"]);
    bench.ports.signal(0xd050, 0);
    bench.w8(18, 0);
    assert!(!bench.log().iter().any(|line| line.contains("store")), "but none after a reset");
}

#[test]
fn mode_exit_makes_no_links() {
    let mut setup = Setup { ports: true, ..Setup::net() };
    setup.config.kicks.notify_mode = NotifyMode::Exit;
    let bench = setup.build();
    bench.start_intx();
    assert!(attached(&bench).is_empty());
}

#[test]
fn a_window_that_the_bus_does_not_decode_has_no_links() {
    let bench = linked();
    bench.start_intx();
    let others: Vec<_> = bench.device.windows().into_iter().filter(|window| window.bar != 0).collect();
    bench.device.placed(&others);
    assert!(attached(&bench).is_empty());
    bench.device.placed(&bench.device.windows());
    assert_eq!(attached(&bench).len(), 2);
    bench.set_command(Command::empty());
    assert!(attached(&bench).is_empty());
    bench.config_write(0x10, Width::B4, 0xffff_fff1);
}

#[test]
fn kicks_that_nobody_counts_are_reported_as_such() {
    let bench = linked();
    bench.vf.link_kicks.store(u64::MAX, std::sync::atomic::Ordering::SeqCst);
    bench.set_up_queue(0, 0x100);
    bench.set_up_queue(1, 0x200);
    bench.w8(18, 7);
    let kinds = [DeviceCounter::KicksByIoeventfd, DeviceCounter::QueuesByIoeventfd, DeviceCounter::UncountedIoeventfds];
    assert_eq!(counts(&bench.device, kinds), [0, 2, 2]);
    let counted = linked();
    counted.set_up_queue(0, 0x100);
    counted.w8(18, 7);
    assert_eq!(counted.device.report().count(DeviceCounter::UncountedIoeventfds), 0);
}

/// The kicks by themselves, over a function.
fn alone(port: bool) -> (Below, Arc<MockPorts>, Kicks) {
    let below = Below::new(&Setup::net());
    let ports = Arc::new(MockPorts::new(&below.log));
    let reach = Reach { vf: below.function(), owner: None };
    let back_end = &below.back_end;
    let kicks = Kicks::new(
        "alone",
        reach,
        back_end.notify_addresses(),
        port.then(|| ports.clone() as Arc<dyn PortEvents>),
        StartAt::Never,
        back_end.faults().clone(),
        back_end.stats().clone(),
    );
    (below, ports, kicks)
}

#[test]
fn h13_without_a_function_around_it_a_kick_is_dropped_stored_or_a_command() {
    let (below, _, kicks) = alone(false);
    assert_eq!(kicks.kick(1), Kick::Done);
    assert!(below.log.take().is_empty(), "not set up");
    kicks.queue_ready(1);
    assert_eq!(kicks.kick(1), Kick::Done);
    assert_eq!(below.log.take(), ["vf store 2+1000.2=1"]);
    below.vf.refuse(Some(Call::BarWrite));
    assert_eq!(kicks.kick(1), Kick::Command);
    kicks.move_to(&[]);
    assert_eq!((kicks.kick(1), kicks.has_doorbell()), (Kick::Command, false));
}

#[test]
fn what_is_saved_goes_on_in_another_with_its_ioeventfds() {
    let (_below, _, kicks) = alone(false);
    kicks.queue_ready(0);
    kicks.queue_ready(1);
    let _ = kicks.kick(1);
    let saved = serde_json::to_string(&kicks.state()).unwrap();
    let (below, ports, other) = alone(true);
    other.set_base(Some(BASE));
    other.set_state(&serde_json::from_str(&saved).unwrap());
    assert_eq!((other.state(), other.configured()), (kicks.state(), vec![0, 1]));
    assert!(ports.places().is_empty(), "not before DRIVER_OK");
    assert_eq!(other.set_started(true).collect::<Vec<_>>(), [1], "kicked before");
    assert_eq!(ports.places(), [(BASE + 16, 0), (BASE + 16, 1)]);
    below.log.take();
    other.set_state(&KickState::default());
    assert!(ports.places().is_empty());
}
