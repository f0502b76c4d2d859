// SPDX-License-Identifier: Apache-2.0
//! Tests of a server's session, by a client that is driven by hand.

use std::os::fd::AsFd;
use std::time::Duration;

use super::super::Server;
use super::super::testing::{Peer, VECTORS, event, eventually, mock_function};
use super::super::wire::{DmaMap, DmaUnmap, SetIrqs, command, dma_flag, irq_flag, set_irqs_flag as flag};
use super::*;
use crate::contract::mock::{Call, MockFunction};
use crate::function::eventfds;
use crate::function::shared::shared_region;
use vm_memory::{Bytes, GuestMemoryRegion, MemoryRegionAddress};
use vmm_sys_util::eventfd::EventFd;

struct Bench {
    fake: Arc<MockFunction>,
    peer: Peer,
    _server: Server,
}

fn bench() -> Bench {
    let (fake, (mut peer, theirs)) = (mock_function(), Peer::pair());
    let server = Server::spawn_on(fake.clone(), theirs).unwrap();
    peer.negotiate();
    Bench { fake, peer, _server: server }
}

fn access(region: u32, offset: u64, count: u32) -> RegionAccess {
    RegionAccess { offset, region, count }
}

impl Bench {
    fn read(&mut self, region: u32, offset: u64, count: u32) -> Result<Vec<u8>, u32> {
        let reply = self.peer.ask(&Request::RegionRead(access(region, offset, count)), &[])?;
        assert_eq!(reply.len(), RegionAccess::LEN + count as usize);
        Ok(reply[RegionAccess::LEN..].to_vec())
    }

    fn write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<Vec<u8>, u32> {
        self.peer.ask(&Request::RegionWrite(access(region, offset, data.len() as u32), data), &[])
    }

    fn irqs(&mut self, index: u32, flags: u32, start: u32, count: u32, fds: &[&EventFd]) -> Result<(), u32> {
        let fds: Vec<_> = fds.iter().map(|event| eventfds::borrow(event)).collect();
        self.irqs_with(SetIrqs { flags, index, start, count, data: &[] }, &fds)
    }

    fn irqs_with(&mut self, set: SetIrqs<'_>, fds: &[BorrowedFd<'_>]) -> Result<(), u32> {
        self.peer.ask(&Request::SetIrqs(set), fds).map(|reply| assert!(reply.is_empty()))
    }
}

#[test]
fn registers_keep_their_width_and_long_accesses_are_cut() {
    let mut b = bench();
    b.write(2, 0x10, &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    b.write(2, 0x21, &[9, 9]).unwrap();
    b.write(2, 0x31, &[1, 2, 3, 4, 5, 6, 7]).unwrap();
    assert_eq!(b.read(2, 0x12, 4).unwrap(), [3, 4, 5, 6]);
    let cut = ["store 2+31.1=1", "store 2+32.2=302", "store 2+34.4=7060504"];
    let all = [&["store 2+10.8=807060504030201", "store 2+21.2=909"][..], &cut, &["read 2+12.4"]].concat();
    assert_eq!(b.fake.take_log(), all);
    assert_eq!(b.read(2, 0x30, 8).unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(b.read(7, 0, 4096).unwrap(), b.fake.state().config.clone());
    assert!(b.read(7, 0, 0).unwrap().is_empty());
    b.write(7, 0xffc, &[1, 2, 3, 4]).unwrap();
    assert_eq!(b.fake.state().config[0xffc..], [1, 2, 3, 4]);
}

#[test]
fn accesses_outside_are_refused_and_the_connection_goes_on() {
    let mut b = bench();
    let inval = libc::EINVAL as u32;
    for (region, offset, count) in [
        (2, 0x4000, 1),
        (2, 0x3fff, 2),
        (2, u64::MAX, 2),
        (2, 1 << 63, 8),
        (0, 0, 1),
        (6, 0, 1),
        (8, 0, 1),
        (7, 4095, 2),
        (7, 4096, 1),
        (9, 0, 1),
        (u32::MAX, 0, 1),
    ] {
        assert_eq!(b.read(region, offset, count), Err(inval), "{region} {offset:#x} {count}");
        assert_eq!(b.write(region, offset, &vec![0; count as usize]), Err(inval));
    }
    assert_eq!(b.fake.take_log(), [""; 0]);
    assert_eq!(b.read(2, 0x3ffc, 4).unwrap().len(), 4);
}

#[test]
fn what_the_device_is() {
    let mut b = bench();
    let info = DeviceInfo::decode(&b.peer.ask(&Request::GetInfo(16), &[]).unwrap()).unwrap();
    assert_eq!(info, DeviceInfo { argsz: 16, flags: 3, regions: 9, irqs: 5 });
    for (index, size) in [(0, 0), (1, 0), (2, 0x4000), (6, 0), (7, 4096), (8, 0)] {
        let reply = b.peer.ask(&Request::GetRegionInfo { argsz: 32, index }, &[]).unwrap();
        let info = RegionInfo::decode(&reply).unwrap();
        assert_eq!((reply.len(), info.index, info.size, info.argsz), (32, index, size, 32));
        assert_eq!(info.flags, if size == 0 { 0 } else { 3 });
    }
    for (index, count) in [(0, 1), (1, 4), (2, VECTORS.into()), (3, 0), (4, 0)] {
        let reply = b.peer.ask(&Request::GetIrqInfo { index }, &[]).unwrap();
        let info = super::super::wire::IrqInfo::decode(&reply).unwrap();
        assert_eq!((info.index, info.count), (index, count));
        assert_ne!(info.flags & irq_flag::EVENTFD, 0);
    }
    assert!(b.peer.ask(&Request::GetRegionInfo { argsz: 32, index: 9 }, &[]).is_err());
    assert!(b.peer.ask(&Request::GetRegionInfo { argsz: 31, index: 2 }, &[]).is_err());
    assert!(b.peer.ask(&Request::GetIrqInfo { index: 5 }, &[]).is_err());
    let unsupported = Err(libc::EOPNOTSUPP as u32);
    assert_eq!(b.peer.ask(&Request::GetRegionIoFds { argsz: 64, index: 2 }, &[]), unsupported);
}

/// As QEMU asks: with room for the fixed part, then with as much room as the reply said.
#[test]
fn parts_that_can_be_mapped_are_told_when_there_is_room() {
    let mut b = bench();
    let file = Arc::new(tempfile::tempfile().unwrap());
    file.set_len(0x10000).unwrap();
    let area = |offset| MappableArea { offset, size: 0x1000, file: file.clone(), file_offset: 0x8000 + offset };
    b.fake.state().mappable[2] = vec![area(0x1000), area(0x3000)];
    let short = b.peer.ask(&Request::GetRegionInfo { argsz: 32, index: 2 }, &[]).unwrap();
    let info = RegionInfo::decode(&short).unwrap();
    assert_eq!((short.len(), info.argsz, info.flags, info.cap_offset), (32, 32 + 16 + 32, 15, 0));
    let full = b.peer.ask(&Request::GetRegionInfo { argsz: info.argsz, index: 2 }, &[]).unwrap();
    let info = RegionInfo::decode(&full).unwrap();
    assert_eq!((full.len(), info.offset, info.flags, info.cap_offset), (80, 0x8000, 15, 32));
    let sparse = |offset| SparseArea { offset, size: 0x1000 };
    assert_eq!(info.decode_areas(&full), Ok(Some(vec![sparse(0x1000), sparse(0x3000)])));
}

#[test]
fn vectors_come_in_blocks_with_holes_and_go() {
    let mut b = bench();
    let events: Vec<_> = (0..20).map(|_| event()).collect();
    let assign = flag::EVENTFD | flag::TRIGGER;
    let refs: Vec<_> = events.iter().collect();
    b.irqs(2, assign, 0, 16, &refs[..16]).unwrap();
    b.irqs(2, assign, 18, 2, &refs[16..18]).unwrap();
    let set: Vec<_> = b.fake.state().msix.as_ref().unwrap().iter().map(Option::is_some).collect();
    assert_eq!(set, [&[true; 16][..], &[false; 2], &[true; 2]].concat());
    b.fake.interrupt(19);
    assert_eq!(events[17].read().unwrap(), 1);
    b.irqs(2, assign, 3, 2, &[]).unwrap();
    let holes: Vec<_> = b.fake.state().msix.as_ref().unwrap().iter().map(Option::is_none).collect();
    assert_eq!((holes[2], holes[3], holes[4], holes[5]), (false, true, true, false));
    b.irqs(2, flag::NONE | flag::TRIGGER, 5, 1, &[]).unwrap();
    assert_eq!(events[5].read().unwrap(), 1, "the client may signal one itself");
    b.irqs_with(SetIrqs { flags: flag::BOOL | flag::TRIGGER, index: 2, start: 0, count: 3, data: &[0, 1, 0] }, &[])
        .unwrap();
    assert!(events[0].read().is_err() && events[2].read().is_err());
    assert_eq!(events[1].read().unwrap(), 1);
    b.irqs(2, flag::NONE | flag::TRIGGER, 0, 0, &[]).unwrap();
    assert!(b.fake.state().msix.is_none());
}

#[test]
fn a_masked_vector_is_pending_until_it_is_unmasked() {
    let mut b = bench();
    let (first, second) = (event(), event());
    b.irqs(2, flag::EVENTFD | flag::TRIGGER, 0, 2, &[&first, &second]).unwrap();
    b.irqs(2, flag::NONE | flag::MASK, 1, 1, &[]).unwrap();
    b.fake.interrupt(0);
    b.fake.interrupt(1);
    assert_eq!(first.read().unwrap(), 1);
    assert!(second.read().is_err());
    b.irqs(2, flag::NONE | flag::UNMASK, 0, 2, &[]).unwrap();
    assert_eq!(second.read().unwrap(), 1);
    assert!(first.read().is_err());
    b.fake.interrupt(1);
    assert_eq!(second.read().unwrap(), 1);
}

#[test]
fn msi_and_intx() {
    let mut b = bench();
    let (trigger, unmask) = (event(), event());
    b.irqs(1, flag::EVENTFD | flag::TRIGGER, 1, 1, &[&trigger]).unwrap();
    b.fake.state().msi[1].as_ref().unwrap().write(1).unwrap();
    assert_eq!(trigger.read().unwrap(), 1);
    b.irqs(0, flag::EVENTFD | flag::UNMASK, 0, 1, &[&unmask]).unwrap();
    b.irqs(0, flag::EVENTFD | flag::TRIGGER, 0, 1, &[&trigger]).unwrap();
    b.fake.state().intx.as_ref().unwrap().0.write(1).unwrap();
    assert_eq!(trigger.read().unwrap(), 1);
    b.irqs(0, flag::NONE | flag::UNMASK, 0, 1, &[]).unwrap();
    assert_eq!(unmask.read().unwrap(), 1, "an unmask without an eventfd reaches the function, too");
    b.irqs(0, flag::NONE | flag::TRIGGER, 0, 0, &[]).unwrap();
    assert!(b.fake.state().intx.is_none());
}

#[test]
fn bad_interrupt_requests_change_nothing() {
    let mut b = bench();
    let e = event();
    let assign = flag::EVENTFD | flag::TRIGGER;
    let (vectors, inval) = (u32::from(VECTORS), Err(libc::EINVAL as u32));
    for (index, flags, start, count) in [
        (2, assign, vectors, 1),
        (2, assign, u32::MAX, 2),
        (2, assign, 0, vectors + 1),
        (5, assign, 0, 1),
        (3, assign, 0, 1),
        (2, assign | flag::BOOL, 0, 1),
        (2, flag::EVENTFD | flag::MASK, 0, 1),
        (2, assign, 0, 2),
        (2, 1 << 9, 0, 1),
        (2, 0, 0, 1),
        (2, flag::NONE, 0, 1),
    ] {
        assert_eq!(b.irqs(index, flags, start, count, &[&e]), inval, "{index} {flags:#x} {start} {count}");
    }
    let set = SetIrqs { flags: flag::BOOL | flag::MASK, index: 2, start: 0, count: 3, data: &[1, 1] };
    assert_eq!(b.irqs_with(set, &[]), inval, "two bytes for three");
    let (pipe, _other) = std::io::pipe().unwrap();
    let set = SetIrqs { flags: assign, index: 2, start: 0, count: 1, data: &[] };
    assert_eq!(b.irqs_with(set, &[pipe.as_fd()]), inval, "a pipe would make the device wait");
    assert!(b.fake.state().msix.as_ref().is_none_or(|events| events.iter().all(Option::is_none)));
}

#[test]
fn memory_is_mapped_and_a_new_client_begins_with_nothing() {
    let mut b = bench();
    let ram = shared_region(0, 0x4000).unwrap();
    let fd = ram.file_offset().unwrap().file();
    let map = DmaMap { flags: 3, offset: 0x1000, address: 0x10_0000, size: 0x2000 };
    b.peer.ask(&Request::DmaMap(map), &[fd.as_fd()]).unwrap();
    let theirs = b.fake.state().dma[0].clone();
    theirs.write_slice(b"device", MemoryRegionAddress(4)).unwrap();
    drop(theirs);
    let mut seen = [0; 6];
    ram.read_slice(&mut seen, MemoryRegionAddress(0x1004)).unwrap();
    assert_eq!(&seen, b"device");
    b.irqs(2, flag::EVENTFD | flag::TRIGGER, 0, 1, &[&event()]).unwrap();
    let unmap = DmaUnmap { argsz: 24, flags: 0, address: 0x99_0000, size: 0x1000 };
    assert_eq!(b.peer.ask(&Request::DmaUnmap(unmap), &[]).unwrap().len(), 24, "unknown, and no error");
    drop(b.peer);
    eventually("the function is left", || b.fake.mapped().is_empty());
    assert_eq!(b.fake.state().resets, 1);
    assert!(b.fake.state().msix.is_none());
}

#[test]
fn a_refusal_of_the_function_reaches_the_client() {
    let mut b = bench();
    b.fake.refuse(Some(Call::Map(libc::ENOSPC)));
    let ram = shared_region(0, 0x1000).unwrap();
    let map = DmaMap { flags: dma_flag::READ | dma_flag::WRITE, offset: 0, address: 0, size: 0x1000 };
    let fd = ram.file_offset().unwrap().file();
    assert_eq!(b.peer.ask(&Request::DmaMap(map), &[fd.as_fd()]), Err(libc::ENOSPC as u32));
    assert_eq!(b.peer.ask(&Request::DmaMap(map), &[fd.as_fd(), fd.as_fd()]), Err(libc::EINVAL as u32));
}

/// The function's thread touches the memory, the session ends the connection, the next client finds all well.
#[test]
fn a_client_that_takes_its_memory_away_is_cut_off() {
    let mut b = bench();
    let file = std::fs::File::from(rustix::fs::memfd_create("ram", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
    file.set_len(0x4000).unwrap();
    let map = DmaMap { flags: 3, offset: 0, address: 0, size: 0x4000 };
    b.peer.ask(&Request::DmaMap(map), &[file.as_fd()]).unwrap();
    let device = b.fake.state().dma[0].clone();
    file.set_len(0).unwrap();
    device.write_obj(1_u64, MemoryRegionAddress(0x3000)).unwrap();
    drop(device);
    b.peer.request(&Request::RegionRead(access(2, 0, 4)), &[]);
    assert!(b.peer.receive().is_none(), "the connection ends");
    eventually("the function is left", || b.fake.mapped().is_empty() && b.fake.state().resets == 1);
}

/// `O_NONBLOCK` belongs to the open file, which the client has, too.
#[test]
fn an_interrupt_whose_counter_is_full_and_blocks_holds_nobody_up() {
    let mut b = bench();
    let trap = event();
    b.irqs(2, flag::EVENTFD | flag::TRIGGER, 0, 1, &[&trap]).unwrap();
    b.irqs(0, flag::EVENTFD | flag::UNMASK, 0, 1, &[&trap]).unwrap();
    let flags = rustix::fs::fcntl_getfl(eventfds::borrow(&trap)).unwrap();
    rustix::fs::fcntl_setfl(eventfds::borrow(&trap), flags - rustix::fs::OFlags::NONBLOCK).unwrap();
    trap.write(u64::MAX - 1).unwrap();
    b.irqs(2, flag::NONE | flag::TRIGGER, 0, 1, &[]).unwrap();
    b.irqs(0, flag::NONE | flag::UNMASK, 0, 1, &[]).unwrap();
    assert_eq!(b.read(2, 0, 1).unwrap().len(), 1);
}

/// Descriptors that nobody asked for are closed, or the connection would outlive its client.
#[test]
fn a_client_that_passes_its_own_end_does_not_stay() {
    let mut b = bench();
    let own = b.peer.0.try_clone().unwrap();
    let map = DmaMap { flags: 3, offset: 0, address: 0, size: 0x1000 };
    assert_eq!(b.peer.ask(&Request::DmaMap(map), &[own.as_fd()]), Err(libc::EINVAL as u32));
    b.peer.ask(&Request::RegionRead(access(2, 0, 4)), &[own.as_fd()]).unwrap();
    let set = SetIrqs { flags: flag::EVENTFD | flag::TRIGGER, index: 2, start: 0, count: 1, data: &[] };
    assert_eq!(b.irqs_with(set, &[own.as_fd()]), Err(libc::EINVAL as u32));
    b.peer.send(&Header::request(9, command::GET_INFO, 1), &[0], &[own.as_fd()]);
    drop((own, b.peer));
    eventually("the function is left", || b.fake.state().resets == 1);
}

/// The connection ends, the server does not hang, and nothing is left of the client.
fn hangs_up(what: &str, begin: bool, bytes: &[u8]) {
    let (fake, (mut peer, theirs)) = (mock_function(), Peer::pair());
    let _server = Server::spawn_on(fake.clone(), theirs).unwrap();
    if begin {
        peer.negotiate();
    }
    peer.raw(bytes);
    while peer.receive().is_some() {}
    eventually(what, || fake.state().resets == 1);
}

#[test]
fn what_is_no_message_ends_the_connection() {
    let header = |command, size: u32, flags: u32| {
        let mut bytes = Header::request(1, command, 0).encode();
        bytes[4..8].copy_from_slice(&size.to_le_bytes());
        bytes[8..12].copy_from_slice(&flags.to_le_bytes());
        bytes
    };
    for size in [0, 15, u32::MAX, 1 << 20] {
        hangs_up("size", true, &header(command::RESET, size, 0));
    }
    hangs_up("kind", true, &header(command::RESET, 16, 2));
    hangs_up("no version", false, &header(command::RESET, 16, 0));
    hangs_up("garbage", false, &[0xa5; 4096]);
    hangs_up("garbage", true, &[0x5a; 100_000]);
    let mut version = Header::request(1, command::VERSION, 4).encode().to_vec();
    version.extend_from_slice(&[1, 0, 0, 0]);
    hangs_up("major version 1", false, &version);
}

#[test]
fn unknown_commands_and_short_messages_are_refused() {
    let mut b = bench();
    for number in [0, 14, 16, 17, 18, 999] {
        b.peer.send(&Header::request(3, number, 0), &[], &[]);
        assert_eq!(b.peer.receive().unwrap().0.error(), Some(libc::EOPNOTSUPP as u32), "{number}");
    }
    for number in [1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 15] {
        b.peer.send(&Header::request(3, number, 1), &[0], &[]);
        assert_eq!(b.peer.receive().unwrap().0.error(), Some(libc::EINVAL as u32), "{number}");
    }
    b.peer.send(&Header::request(3, command::RESET, 0).reply(0), &[], &[]);
    b.peer.ask(&Request::Reset, &[]).unwrap();
    assert_eq!(b.fake.state().resets, 1);
}

/// More descriptors than one message may bring, on a message that brings none.
#[test]
fn a_flood_of_descriptors_ends_the_connection() {
    let mut b = bench();
    let e = event();
    let fds = [eventfds::borrow(&e); 32];
    let half = Header::request(1, command::RESET, 8).encode();
    for byte in half {
        if channel::send(b.peer.0.as_fd(), &[byte], &fds, None, Duration::from_secs(5)).is_err() {
            break;
        }
    }
    while b.peer.receive().is_some() {}
    eventually("left", || b.fake.state().resets == 1);
}

/// A client that never reads its replies is held against its own socket, and `stop` does not wait for it.
#[test]
fn a_client_that_does_not_read_does_not_keep_the_server_from_stopping() {
    let (fake, (mut peer, theirs), stop) = (mock_function(), Peer::pair(), event());
    let ended = std::thread::scope(|scope| {
        let served = scope.spawn(|| Session::new(fake.as_ref()).serve(theirs.as_fd(), eventfds::borrow(&stop)));
        peer.negotiate();
        let mut payload = Vec::new();
        Request::RegionRead(access(7, 0, 4096)).encode(&mut payload);
        let header = Header::request(7, command::REGION_READ, payload.len());
        let message = [&header.encode()[..], &payload].concat();
        for _ in 0..2000 {
            if channel::send(peer.0.as_fd(), &message, &[], None, Duration::from_millis(50)).is_err() {
                break;
            }
        }
        stop.write(1).unwrap();
        served.join().unwrap()
    });
    assert!(matches!(ended, Err(End::Stopped)), "and not its patience with the client: {ended:?}");
}

#[test]
fn commands_without_a_reply_get_none() {
    let mut b = bench();
    let mut payload = Vec::new();
    Request::RegionWrite(access(2, 8, 1), &[5]).encode(&mut payload);
    let mut bytes = [&Header::request(1, command::REGION_WRITE, payload.len()).encode()[..], &payload].concat();
    bytes[8] = 0x10;
    b.peer.raw(&bytes);
    assert_eq!(b.read(2, 8, 1).unwrap(), [5], "the next reply is the next command's");
}
