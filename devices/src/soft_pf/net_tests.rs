// SPDX-License-Identifier: Apache-2.0
//! Network VFs on the loopback host. A tap needs an operator; its frames are moved by the same code,
//! and a socket pair stands in for its file here.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socketpair};

use super::super::loopback::{MAC, checksum};
use super::super::testing::{
    Bench, Ram, Vring, device_config, driver_ok, eventually, kick, modern_queue, negotiate, offered, settle,
};
use super::super::wire::MAX_WAITING;
use super::super::{Quirks, VfQuirks, VfSpec};
use super::*;
use crate::bus::Width;
use crate::contract::mock::give_it_time;
use crate::function::PciFunction;
use crate::function::tap::Tap;

const RAM: usize = 0x40_0000;
const RX_BUFFERS_AT: u64 = 0x10_0000;
const TX_AT: u64 = 0x20_0000;
const GUEST: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x50];

struct Nic {
    bench: Bench,
    vf: Arc<dyn PciFunction>,
    ram: Ram,
    rx: Vring,
    tx: Vring,
    header: usize,
}

fn legacy_on(specs: Vec<VfSpec>, features: u32) -> Nic {
    legacy_of(Bench::ready(specs), features)
}

fn legacy_of(mut bench: Bench, features: u32) -> Nic {
    let (vf, ram) = bench.vf(0, RAM);
    bench.legacy_write(1, 4, 4, features);
    let rx = bench.legacy_queue(1, 0, &ram, 0x1000);
    let tx = bench.legacy_queue(1, 1, &ram, 0x10000);
    bench.legacy_write(1, 18, 1, 7);
    let header = if features & F_MRG_RXBUF as u32 == 0 { 10 } else { 12 };
    Nic { bench, vf, ram, rx, tx, header }
}

fn legacy(features: u32) -> Nic {
    legacy_on(Bench::nets(1), features)
}

fn modern(features: u64) -> Nic {
    let bench = Bench::ready(Bench::nets(1));
    let (vf, ram) = bench.vf(0, RAM);
    assert!(negotiate(vf.as_ref(), features | feature::VERSION_1));
    let rx = modern_queue(vf.as_ref(), &ram, 0, 0x1000);
    let tx = modern_queue(vf.as_ref(), &ram, 1, 0x10000);
    driver_ok(vf.as_ref());
    Nic { bench, vf, ram, rx, tx, header: 12 }
}

fn arp_request(target: [u8; 4]) -> Vec<u8> {
    arp_from([10, 0, 0, 2], target)
}

fn arp_from(sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut frame = [&[0xff; 6][..], &GUEST, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &GUEST, &sender].concat();
    frame.extend_from_slice(&[0; 6]);
    frame.extend_from_slice(&target);
    frame
}

fn ping(payload: usize) -> Vec<u8> {
    let total = (28 + payload) as u16;
    let mut packet = vec![0x45, 0, (total >> 8) as u8, total as u8, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1];
    let sum = checksum(&packet).to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
    let mut icmp = vec![8, 0, 0, 0, 1, 2, 3, 4];
    icmp.extend((0..payload).map(|at| at as u8));
    let sum = checksum(&icmp).to_be_bytes();
    icmp[2..4].copy_from_slice(&sum);
    [&MAC[..], &GUEST, &[8, 0], &packet, &icmp].concat()
}

impl Nic {
    fn add_buffers(&mut self, count: u64, len: u32) {
        for index in 0..count {
            self.rx.add(&[(RX_BUFFERS_AT + index * 0x1000, len, true)]);
        }
        kick(self.vf.as_ref(), 0);
    }

    /// Sends a frame with the header in an element of its own.
    fn transmit(&mut self, frame: &[u8]) {
        self.ram.put(TX_AT, &vec![0; self.header]);
        self.ram.put(TX_AT + 0x100, frame);
        self.tx.add(&[(TX_AT, self.header as u32, false), (TX_AT + 0x100, frame.len() as u32, false)]);
        kick(self.vf.as_ref(), 1);
        self.tx.wait();
    }

    /// The next received frame, from buffer `index`.
    fn receive(&mut self, index: u64) -> (Vec<u8>, Vec<u8>) {
        let (_, len) = self.rx.wait();
        let all = self.ram.get(RX_BUFFERS_AT + index * 0x1000, len as usize);
        let (header, frame) = all.split_at(self.header);
        (header.to_vec(), frame.to_vec())
    }

    fn exchanges_frames(&mut self) {
        self.add_buffers(2, 1600);
        self.transmit(&arp_request([10, 0, 0, 1]));
        let (header, reply) = self.receive(0);
        assert_eq!(header, [&[0; 10][..], &[1, 0]].concat()[..self.header]);
        assert_eq!((&reply[0..6], &reply[20..28]), (&GUEST[..], &[&[0, 2][..], &MAC].concat()[..]));
        self.transmit(&ping(56));
        let (_, reply) = self.receive(1);
        assert_eq!((reply[34], checksum(&reply[34..])), (0, 0), "echo reply");
        assert_eq!(reply[42..], ping(56)[42..]);
    }
}

#[test]
fn a_legacy_driver_has_the_10_byte_header() {
    legacy(F_MAC as u32).exchanges_frames();
}

#[test]
fn a_legacy_driver_that_merges_buffers_has_the_12_byte_header() {
    legacy((F_MAC | F_MRG_RXBUF) as u32).exchanges_frames();
}

#[test]
fn a_modern_driver_has_the_12_byte_header() {
    modern(F_MAC).exchanges_frames();
    modern(F_MAC | F_MRG_RXBUF | feature::EVENT_IDX).exchanges_frames();
}

#[test]
fn large_frames_are_spread_over_merged_buffers() {
    let mut nic = legacy(F_MRG_RXBUF as u32);
    nic.add_buffers(4, 500);
    nic.transmit(&ping(1400));
    let (header, mut frame) = nic.receive(0);
    assert_eq!(header[10..], [3, 0], "1442 bytes and 12 in buffers of 500");
    for index in 1..3 {
        let (_, len) = nic.rx.wait();
        frame.extend(nic.ram.get(RX_BUFFERS_AT + index * 0x1000, len as usize));
    }
    assert_eq!(frame.len(), 1442);
    assert_eq!(frame[42..], ping(1400)[42..]);
    assert_eq!(nic.rx.poll(), None);
}

#[test]
fn frames_that_do_not_fit_are_dropped_and_the_buffers_stay() {
    let mut nic = legacy(0);
    nic.add_buffers(2, 200);
    nic.transmit(&ping(1400));
    nic.transmit(&ping(56));
    let (_, reply) = nic.receive(0);
    assert_eq!(reply[42..], ping(56)[42..]);
    assert_eq!(nic.rx.poll(), None);
}

#[test]
fn frames_wait_for_buffers_and_the_oldest_go() {
    let mut nic = legacy(0);
    for len in 0..MAX_WAITING + 10 {
        nic.transmit(&ping(100 + len));
    }
    nic.add_buffers(100, 600);
    for index in 0..MAX_WAITING {
        let (_, reply) = nic.receive(index as u64);
        assert_eq!(reply.len(), 42 + 100 + 10 + index);
    }
    settle();
    assert_eq!(nic.rx.poll(), None);
}

#[test]
fn the_mac_address_is_writable_by_legacy_drivers_until_reset() {
    let mut nic = legacy(0);
    assert_eq!(nic.bench.legacy_read(1, true, 0, 4), Ok(0x1200_5452));
    assert_eq!(nic.bench.legacy_read(1, true, 6, 2), Ok(1), "link up");
    let before = nic.vf.region_read(2, 21, Width::B1).unwrap();
    let reply = nic.bench.command("04000100 Z12 0100000000000000 00 Z7 02", 8);
    assert_eq!(reply, "0000000000000000");
    assert_eq!(nic.bench.command("04000100 Z12 0100000000000000 06 Z7 0000", 8), "0000000000000000");
    assert_eq!(nic.bench.legacy_read(1, true, 0, 4), Ok(0x1200_5402));
    assert_eq!(nic.bench.legacy_read(1, true, 6, 2), Ok(1), "not writable");
    assert_eq!(device_config(nic.vf.as_ref(), 0, Width::B4), 0x1200_5402);
    assert_ne!(nic.vf.region_read(2, 21, Width::B1).unwrap(), before, "configuration generation");
    nic.bench.legacy_write(1, 18, 1, 0);
    assert_eq!(nic.bench.legacy_read(1, true, 0, 4), Ok(0x1200_5452));
}

#[test]
fn early_kicks_are_served_unless_the_quirk_says_otherwise() {
    for honoured in [true, false] {
        let mut nic = legacy(0);
        if !honoured {
            nic.bench.soft.set_quirks(Quirks {
                vf: VfQuirks { loses_early_kicks: true, ..VfQuirks::default() },
                ..Quirks::default()
            });
        }
        nic.bench.legacy_write(1, 18, 1, 3);
        nic.tx.add(&[(TX_AT, 10, false)]);
        kick(nic.vf.as_ref(), 1);
        settle();
        assert_eq!(nic.tx.poll().is_some(), honoured);
        nic.bench.legacy_write(1, 18, 1, 7);
        settle();
        assert!(nic.tx.poll().is_none(), "DRIVER_OK alone finds nothing");
        if !honoured {
            kick(nic.vf.as_ref(), 1);
            nic.tx.wait();
        }
    }
}

#[test]
fn the_control_queue_takes_receive_modes() {
    let mut nic = legacy((F_CTRL_VQ | F_CTRL_RX) as u32);
    let mut control = nic.bench.legacy_queue(1, 2, &nic.ram, 0x18000);
    let commands = [([0, 0, 1], 0), ([0, 1, 0], 0), ([0, 7, 1], 1), ([4, 0, 1], 1), ([2, 0, 5], 1)];
    for (command, ack) in commands {
        nic.ram.put(TX_AT, &command);
        control.add(&[(TX_AT, 2, false), (TX_AT + 2, 1, false), (TX_AT + 8, 1, true)]);
        kick(nic.vf.as_ref(), 2);
        assert_eq!(control.wait().1, 1);
        assert_eq!(nic.ram.get(TX_AT + 8, 1), [ack], "{command:?}");
    }
}

#[test]
fn a_command_longer_than_any_is_refused() {
    let mut nic = legacy((F_CTRL_VQ | F_CTRL_RX) as u32);
    let mut control = nic.bench.legacy_queue(1, 2, &nic.ram, 0x18000);
    for (len, ack) in [(net_filter::MAX_COMMAND as u32, 0), (net_filter::MAX_COMMAND as u32 + 1, 1)] {
        let lists = [&[1, 0][..], &4096_u32.to_le_bytes(), &[2; 4096 * 6], &4096_u32.to_le_bytes()].concat();
        nic.ram.put(TX_AT, &lists);
        control.add(&[(TX_AT, len, false), (0x8, 1, true)]);
        kick(nic.vf.as_ref(), 2);
        assert_eq!((control.wait().1, nic.ram.get(8, 1)), (1, vec![ack]));
    }
}

#[test]
fn an_ioeventfd_kicks_and_is_counted() {
    let mut nic = legacy(0);
    let event = vmm_sys_util::eventfd::EventFd::new(libc::EFD_NONBLOCK).unwrap();
    assert!(nic.vf.link_ioeventfd(2, 0x2000, 1, &event).is_err(), "no doorbell there");
    let link = nic.vf.link_ioeventfd(2, 0x3000, 1, &event).unwrap();
    nic.tx.add(&[(TX_AT, 10, false)]);
    event.write(1).unwrap();
    nic.tx.wait();
    assert_eq!(link.count(), Some(1));
    event.write(3).unwrap();
    eventually("count", || (link.count() == Some(4)).then_some(()));
    drop(link);
    nic.tx.add(&[(TX_AT, 10, false)]);
    event.write(1).unwrap();
    settle();
    assert_eq!(nic.tx.poll(), None);
    assert_eq!(event.read().unwrap(), 1, "nobody else reads it any more");
}

fn tap_pair(vnet_hdr: bool) -> (Vec<VfSpec>, UnixDatagram) {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_read_timeout(Some(super::super::testing::PATIENCE)).unwrap();
    let tap = Tap { file: File::from(OwnedFd::from(ours)), vnet_hdr };
    (vec![VfSpec::Net { backend: NetBackend::Tap(tap), mac: GUEST }], theirs)
}

#[test]
fn frames_go_to_and_come_from_a_tap() {
    for vnet_hdr in [false, true] {
        let (specs, peer) = tap_pair(vnet_hdr);
        let mut nic = legacy_on(specs, F_CSUM as u32);
        let with_header = |frame: &[u8]| if vnet_hdr { [&[0; 10][..], frame].concat() } else { frame.to_vec() };
        nic.transmit(&ping(10));
        let mut got = [0; 2000];
        let len = peer.recv(&mut got).unwrap();
        assert_eq!(got[..len], with_header(&ping(10)));

        // A frame that comes before there is a buffer waits in the tap.
        peer.send(&with_header(&ping(20))).unwrap();
        settle();
        nic.add_buffers(2, 1600);
        let (header, frame) = nic.receive(0);
        assert_eq!((header, frame), (vec![0; 10], ping(20)));
        peer.send(&with_header(&ping(30))).unwrap();
        assert_eq!(nic.receive(1).1, ping(30));
    }
}

#[test]
fn offload_requests_reach_a_tap_that_takes_them() {
    let (specs, peer) = tap_pair(true);
    let nic = legacy_on(specs, F_CSUM as u32);
    assert_eq!(offered(nic.vf.as_ref()) & 0x1801, 0x1801);
    let mut nic = nic;
    let header = [1, 0, 0, 0, 0, 0, 34, 0, 2, 0];
    nic.ram.put(TX_AT, &header);
    nic.ram.put(TX_AT + 0x100, &ping(10));
    nic.tx.add(&[(TX_AT, 10, false), (TX_AT + 0x100, 52, false)]);
    kick(nic.vf.as_ref(), 1);
    let mut got = [0; 2000];
    assert_eq!(peer.recv(&mut got).unwrap(), 62);
    assert_eq!(got[..10], header);
    assert_eq!(offered(Bench::ready(Bench::nets(1)).vf(0, RAM).0.as_ref()) & 0x1801, 0, "the loopback host does not");
}

#[test]
fn a_card_that_loses_early_kicks_receives_nothing_without_driver_ok() {
    let (specs, peer) = tap_pair(false);
    let mut nic = legacy_on(specs, 0);
    nic.bench
        .soft
        .set_quirks(Quirks { vf: VfQuirks { loses_early_kicks: true, ..VfQuirks::default() }, ..Quirks::default() });
    nic.add_buffers(2, 1600);
    peer.send(&ping(10)).unwrap();
    assert_eq!(nic.receive(0).1, ping(10));
    nic.bench.legacy_write(1, 18, 1, 3);
    peer.send(&ping(20)).unwrap();
    settle();
    assert_eq!(nic.rx.poll(), None);
    nic.bench.legacy_write(1, 18, 1, 7);
    kick(nic.vf.as_ref(), 0);
    assert_eq!(nic.receive(1).1, ping(20));
}

#[test]
fn a_card_that_serves_early_kicks_receives_before_driver_ok() {
    let (specs, peer) = tap_pair(false);
    let mut nic = legacy_on(specs, 0);
    nic.bench.legacy_write(1, 18, 1, 3);
    nic.add_buffers(2, 1600);
    kick(nic.vf.as_ref(), 0);
    for (count, host) in [(0, 10), (1, 20)] {
        peer.send(&ping(host)).unwrap();
        assert_eq!(nic.receive(count).1, ping(host));
    }
}

#[test]
fn a_vf_that_is_disabled_hears_no_kick() {
    let mut nic = legacy(0);
    let event = vmm_sys_util::eventfd::EventFd::new(libc::EFD_NONBLOCK).unwrap();
    let link = nic.vf.link_ioeventfd(2, 0x3000, 1, &event).unwrap();
    nic.bench.soft.enable_vfs(0).unwrap();
    nic.tx.add(&[(TX_AT, 10, false)]);
    event.write(1).unwrap();
    eventually("count", || (link.count() == Some(1)).then_some(()));
    settle();
    assert_eq!(nic.tx.poll(), None);
}

/// Whether the thread with this name has little to do for a while. What counts is the time that it runs, or would if it
/// had a processor: on a busy machine it waits for one.
fn rests(name: &str) -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let named = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    let task = tasks.into_iter().find(named).expect("the VF's thread");
    let busy = || {
        let text = std::fs::read_to_string(task.join("schedstat")).unwrap();
        let times: Vec<u64> = text.split_whitespace().map(|time| time.parse().unwrap()).collect();
        times[0] + times[1]
    };
    let before = busy();
    give_it_time(std::time::Duration::from_millis(400));
    busy() - before < 200_000_000
}

#[test]
fn a_tap_with_frames_that_nobody_takes_costs_no_time() {
    let (specs, peer) = tap_pair(false);
    let mut nic = legacy_of(Bench::ready_as("idle", specs), 0);
    nic.add_buffers(1, 1600);
    peer.send(&ping(10)).unwrap();
    nic.receive(0);
    peer.send(&ping(10)).unwrap();
    settle();
    assert!(rests("idle/vf0"), "the thread spins");
}

/// A socket pair as a back end: ours, and its other end.
fn packets(kind: SocketType) -> (Vec<VfSpec>, OwnedFd, OwnedFd) {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
    let kept = ours.try_clone().unwrap();
    let tap = Tap { file: File::from(ours), vnet_hdr: false };
    (vec![VfSpec::Net { backend: NetBackend::Tap(tap), mac: GUEST }], theirs, kept)
}

#[test]
fn a1_a_client_that_keeps_a_duplicate_and_clears_o_nonblock_hangs_nothing() {
    for kind in [SocketType::DGRAM, SocketType::SEQPACKET] {
        let (specs, peer, kept) = packets(kind);
        let mut nic = legacy_on(specs, 0);
        let flags = rustix::fs::fcntl_getfl(&kept).unwrap();
        rustix::fs::fcntl_setfl(&kept, flags & !OFlags::NONBLOCK).unwrap();
        rustix::net::send(&peer, &ping(10), SendFlags::empty()).unwrap();
        nic.add_buffers(2, 1600);
        assert_eq!(nic.receive(0).1, ping(10));
        // The socket is empty and would block; so would a send to a peer that reads nothing.
        for _ in 0..400 {
            nic.transmit(&ping(1000));
        }
        assert_eq!(nic.bench.legacy_read(1, false, 18, 1), Ok(7), "a register answers");
        rustix::net::send(&peer, &ping(20), SendFlags::empty()).unwrap();
        assert_eq!(nic.receive(1).1, ping(20));
    }
}

#[test]
fn b9_a_back_end_at_its_end_costs_no_time() {
    for (kind, how) in [
        (SocketType::SEQPACKET, "closed"),
        (SocketType::SEQPACKET, "says no more"),
        (SocketType::SEQPACKET, "shut down"),
        (SocketType::DGRAM, "closed"),
        (SocketType::DGRAM, "shut down"),
    ] {
        let (specs, peer, kept) = packets(kind);
        let name = format!("end{}", how.len() + usize::from(kind == SocketType::DGRAM));
        let mut nic = legacy_of(Bench::ready_as(&name, specs), 0);
        nic.add_buffers(3, 1600);
        rustix::net::send(&peer, &ping(10), SendFlags::empty()).unwrap();
        assert_eq!(nic.receive(0).1, ping(10));
        // A datagram without bytes is no end.
        rustix::net::send(&peer, &[], SendFlags::empty()).unwrap();
        rustix::net::send(&peer, &ping(20), SendFlags::empty()).unwrap();
        assert_eq!(nic.receive(1).1, ping(20));
        match how {
            "closed" => drop(peer),
            // It still listens, so this is no hang-up.
            "says no more" => rustix::net::shutdown(&peer, rustix::net::Shutdown::Write).unwrap(),
            _ => rustix::net::shutdown(&kept, rustix::net::Shutdown::Both).unwrap(),
        }
        // The card goes on, and sends into the void.
        nic.transmit(&ping(10));
        assert!(rests(&format!("{name}/vf0")), "{kind:?} {how}: the thread spins");
        assert_eq!(nic.rx.poll(), None);
    }
}

#[test]
#[ignore = "needs a tap device that is up, named by HEIRLOOM_TEST_TAP, with the address 198.51.100.1/24"]
fn the_host_answers_on_a_real_tap() {
    let name = std::env::var("HEIRLOOM_TEST_TAP").unwrap();
    for vnet_hdr in [false, true] {
        let tap = crate::function::tap::open(&name, vnet_hdr).unwrap();
        assert!(crate::function::tap::open(&name, vnet_hdr).is_err(), "busy");
        let spec = VfSpec::Net { backend: NetBackend::Tap(tap), mac: GUEST };
        let mut nic = legacy_on(vec![spec], 0);
        nic.add_buffers(200, 1600);
        // The host's carrier comes up a moment after the open, and it may say other things before.
        let mut seen = 0;
        let reply = eventually("an ARP reply", || {
            nic.transmit(&arp_from([198, 51, 100, 2], [198, 51, 100, 1]));
            settle();
            while let Some((_, len)) = nic.rx.poll() {
                let frame = nic.ram.get(RX_BUFFERS_AT + seen * 0x1000 + 10, len as usize - 10);
                seen += 1;
                if frame[12..14] == [8, 6] {
                    return Some(frame);
                }
            }
            None
        });
        assert_eq!((&reply[0..6], &reply[20..22], &reply[28..32]), (&GUEST[..], &[0, 2][..], &[198, 51, 100, 1][..]));
    }
}
