// SPDX-License-Identifier: Apache-2.0
//! Tests of the client: against our server, and against servers that lie, stop or say nothing.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use rustix::fs::{MemfdFlags, memfd_create};
use vm_memory::{Bytes, GuestAddress, GuestRegionMmap, MemoryRegionAddress};

use super::super::Server;
use super::super::testing::{PATIENCE, Peer, VECTORS, event, eventually, mock_function, sealed};
use super::super::wire::{
    DeviceInfo, Header, IrqInfo, RegionInfo, SparseArea, command, put_access, put_version, region_flag,
};
use super::*;
use crate::contract::mock::{Call, MockFunction};
use crate::function::fuse::FuseDisk;
use crate::function::shared::shared_region;

fn pair(fake: &Arc<MockFunction>) -> (VfioUserFunction, Server) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = Server::spawn_on(fake.clone(), theirs).unwrap();
    (VfioUserFunction::from_stream("client", ours, PATIENCE).unwrap(), server)
}

#[test]
fn registers_of_all_widths() {
    let fake = mock_function();
    let (function, _server) = pair(&fake);
    assert_eq!(function.config_read(0, Width::B4).unwrap(), 0x1042_1af4);
    function.config_write(0xffe, Width::B2, 0xabcd).unwrap();
    assert_eq!(function.config_read(0xffc, Width::B4).unwrap(), 0xabcd_0000);
    for (offset, width) in [(0, Width::B8), (9, Width::B1), (0x3ffe, Width::B2), (0x14, Width::B4)] {
        let value = width.truncate(0x8877_6655_4433_2211);
        function.region_write(2, offset, width, value).unwrap();
        assert_eq!(function.region_read(2, offset, width).unwrap(), value);
        assert_eq!(fake.take_log().pop(), Some(format!("read 2+{offset:x}.{}", width.bytes())));
    }
    fake.take_log();
    let outside = |result: Result<u64>| matches!(result, Err(FunctionError::OutOfRange { .. }));
    assert!(outside(function.region_read(2, 0x4000, Width::B1)) && outside(function.region_read(0, 0, Width::B1)));
    assert!(outside(function.region_read(2, u64::MAX, Width::B8)) && outside(function.region_read(9, 0, Width::B1)));
    assert!(outside(function.config_read(0xffd, Width::B4).map(u64::from)));
    assert!(outside(function.config_read(0, Width::B8).map(u64::from)));
    assert_eq!(fake.take_log(), [""; 0], "not even asked");
    let region = Region { size: 0x4000, is_io: false, is_64bit: false, prefetchable: true };
    assert_eq!((function.region(2), function.region(0), function.region(6)), (Some(region), None, None));
    assert_eq!((function.msix_vectors(), function.msi_vectors(), function.has_intx()), (VECTORS, 4, true));
}

#[test]
fn vectors_in_blocks_of_what_a_message_takes() {
    let fake = mock_function();
    let (function, _server) = pair(&fake);
    let events: Vec<_> = (0..VECTORS).map(|_| event()).collect();
    // Holes at the start, in a block, at a block's border and at the end.
    let holes = [0, 5, 6, 22, 23, 39];
    let set: Vec<_> = (0..).zip(&events).map(|(n, event)| (!holes.contains(&n)).then_some(event)).collect();
    function.set_msix(&set).unwrap();
    for (vector, event) in events.iter().enumerate() {
        fake.interrupt(vector);
        assert_eq!(event.read().is_ok(), !holes.contains(&vector), "{vector}");
    }
    // Fewer: those behind are silent. One of two: the other is silent.
    function.set_msix(&[None, Some(&events[1])]).unwrap();
    let live: Vec<_> = fake.state().msix.as_ref().unwrap().iter().map(Option::is_some).collect();
    assert_eq!(live.iter().filter(|live| **live).count(), 1);
    assert!(live[1]);
    function.set_msix(&[None, None]).unwrap();
    assert!(fake.state().msix.as_ref().unwrap().iter().all(Option::is_none), "enabled, and all silent");
    function.disable_msix().unwrap();
    assert!(fake.state().msix.is_none());
    let many = vec![None; usize::from(VECTORS) + 1];
    assert!(matches!(function.set_msix(&many), Err(FunctionError::Unsupported { .. })));
    function.set_msi(&[Some(&events[0])]).unwrap();
    fake.state().msi[0].as_ref().unwrap().write(1).unwrap();
    assert_eq!(events[0].read().unwrap(), 1);
    let (trigger, unmask) = (event(), event());
    function.set_intx(Some(IntxEvents { trigger: &trigger, unmask: &unmask })).unwrap();
    unmask.write(1).unwrap();
    let intx = fake.state();
    let (their_trigger, their_unmask) = intx.intx.as_ref().unwrap();
    their_trigger.write(1).unwrap();
    assert_eq!((trigger.read().unwrap(), their_unmask.read().unwrap()), (1, 1));
}

#[test]
fn memory_goes_as_a_file() {
    let fake = mock_function();
    let (function, _server) = pair(&fake);
    let region = shared_region(0x10_0000, 0x3000).unwrap();
    function.dma_map(&region).unwrap();
    assert_eq!(fake.mapped(), [(0x10_0000, 0x3000)]);
    fake.state().dma[0].write_slice(b"dma", MemoryRegionAddress(0x2ffd)).unwrap();
    let mut seen = [0; 3];
    region.read_slice(&mut seen, MemoryRegionAddress(0x2ffd)).unwrap();
    assert_eq!(&seen, b"dma");
    assert!(function.dma_map(&region).is_err(), "overlap");
    let private: DmaRegion = Arc::new(GuestRegionMmap::from_range(GuestAddress(0), 4096, None).unwrap());
    let error = function.dma_map(&private).unwrap_err().to_string();
    assert!(error.contains("client: cannot map memory"), "{error}");
    let Err(FunctionError::Io { source, .. }) = function.dma_map(&private) else { panic!("{error}") };
    assert!(source.to_string().contains("shared"), "{source}");
    assert!(function.dma_unmap(0x20_0000).is_err());
    function.dma_unmap(0x10_0000).unwrap();
    assert!(fake.mapped().is_empty());
    fake.refuse(Some(Call::Map(libc::EPERM)));
    let Err(FunctionError::Io { source, .. }) = function.dma_map(&region) else { panic!("a refusal is an error") };
    assert_eq!(source.raw_os_error(), Some(libc::EPERM));
    fake.refuse(None);
    function.dma_map(&region).unwrap();
    function.reset().unwrap();
    assert_eq!(fake.mapped().len(), 1, "mappings stay");
    assert_eq!(fake.state().resets, 1);
}

#[test]
fn what_can_be_mapped_comes_as_a_file() {
    let fake = mock_function();
    let file = Arc::new(sealed(0x8000));
    let area = MappableArea { offset: 0x1000, size: 0x2000, file: file.clone(), file_offset: 0x4000 };
    fake.state().mappable[2] = vec![area];
    // MSI-X table in the BAR's third page: that page must not be mapped.
    let mut config = fake.state();
    config.config[6] = 0x10;
    config.config[0x34] = 0x40;
    config.config[0x40..0x4c].copy_from_slice(&[0x11, 0, 39, 0, 2, 0x20, 0, 0, 2, 0x28, 0, 0]);
    drop(config);
    let (function, _server) = pair(&fake);
    let areas = function.mappable(2).unwrap();
    assert_eq!(areas.len(), 1);
    assert_eq!((areas[0].offset, areas[0].size, areas[0].file_offset), (0x1000, 0x1000, 0x4000));
    let inode = |file: &std::fs::File| std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap());
    assert_eq!(inode(&areas[0].file), inode(&file));
    assert!(function.mappable(0).unwrap().is_empty());
}

/// Whether a client maps BAR 2 if its server offers that as `file`. Each access works in any case.
fn is_mapped(file: File) -> bool {
    let fake = mock_function();
    fake.state().mappable[2] = vec![MappableArea { offset: 0, size: 0x4000, file: Arc::new(file), file_offset: 0 }];
    let (function, _server) = pair(&fake);
    function.region_write(2, 0x10, Width::B4, 0x1234).unwrap();
    assert_eq!(function.region_read(2, 0x10, Width::B4).unwrap(), 0x1234);
    !function.mappable(2).unwrap().is_empty()
}

#[test]
fn b5_only_memory_that_stays_is_mapped() {
    assert!(is_mapped(sealed(0x4000)));
    let unsealed = File::from(memfd_create("bar", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap());
    unsealed.set_len(0x4000).unwrap();
    assert!(!is_mapped(unsealed), "a memfd that its server can make shorter");
    let disk = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    disk.set_len(0x4000).unwrap();
    assert!(!is_mapped(disk), "a file of the disk that this is built on");
}

/// A page of such a BAR would be a processor of the guest that not even SIGKILL ends. To ask the file for its size, or
/// to close it, would hang as well.
#[test]
fn b5_a_bar_in_a_fuse_file_is_reached_by_messages() {
    let fuse = match FuseDisk::silent(1 << 20) {
        Ok(fuse) => fuse,
        Err(why) => return println!("SKIPPED: b5_a_bar_in_a_fuse_file_is_reached_by_messages: {why}"),
    };
    let fake = mock_function();
    let file = Arc::new(fuse.file.try_clone().unwrap());
    fake.state().mappable[2] = vec![MappableArea { offset: 0, size: 0x4000, file, file_offset: 0 }];
    let (ours, theirs) = UnixStream::pair().unwrap();
    let _server = Server::spawn_on(fake.clone(), theirs).unwrap();
    let (told, is_told) = mpsc::channel();
    let client = std::thread::spawn(move || {
        let function = VfioUserFunction::from_stream("client", ours, PATIENCE).unwrap();
        let areas = function.mappable(2).unwrap().len();
        let read = function.region_read(2, 0, Width::B4).unwrap();
        drop(function);
        told.send((areas, read)).unwrap();
    });
    let told = is_told.recv_timeout(PATIENCE);
    // Its end is that of all who wait for it.
    drop(fuse);
    client.join().unwrap();
    assert_eq!(told, Ok((0, 0)));
}

/// A descriptor that comes when none is due is not even taken, though the reply that it comes with is right.
#[test]
fn b5_descriptors_that_nobody_asked_for_end_the_connection() {
    let (peer, ours) = Peer::pair();
    let (raw, file) = (peer.0.try_clone().unwrap(), sealed(0x1000));
    serve(peer, move |header, payload| {
        (header.command == command::REGION_READ && payload.get(8) == Some(&2)).then(|| {
            let reply = [&header.reply(20).encode()[..], &payload[..16], &[1, 2, 3, 4]].concat();
            super::super::channel::send(raw.as_fd(), &reply, &[file.as_fd()], None, PATIENCE).unwrap();
            Vec::new()
        })
    });
    let function = VfioUserFunction::from_stream("client", ours, PATIENCE).unwrap();
    assert!(function.region_read(2, 0, Width::B4).is_err());
    eventually("removal", || function.removal_event().unwrap().read().is_ok());
    assert!(matches!(function.config_read(0, Width::B4), Err(FunctionError::Gone { .. })));
}

/// Many threads at one function: each gets its own answer.
#[test]
fn threads_do_not_get_each_others_answers() {
    let fake = mock_function();
    let (function, _server) = pair(&fake);
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let function = &function;
            scope.spawn(move || {
                for round in 0..300u64 {
                    let (offset, value) = (0x100 * thread, thread << 32 | round);
                    function.region_write(2, offset, Width::B8, value).unwrap();
                    assert_eq!(function.region_read(2, offset, Width::B8).unwrap(), value);
                }
            });
        }
    });
}

#[test]
fn the_end_of_the_server_is_told_and_then_everything_fails_at_once() {
    let fake = mock_function();
    let (function, server) = pair(&fake);
    assert!(function.removal_event().unwrap().read().is_err());
    server.stop();
    eventually("removal", || function.removal_event().unwrap().read().is_ok());
    assert!(matches!(function.config_read(0, Width::B4), Err(FunctionError::Gone { .. })));
    assert!(matches!(function.reset(), Err(FunctionError::Gone { .. })));
    assert!(matches!(function.set_msix(&[Some(&event())]), Err(FunctionError::Gone { .. })));
}

// A server that is driven by hand.

/// Replies as a server of a function with a 16-KiB BAR 2 does, until `odd` says otherwise for a request.
/// What `odd` returns is sent instead, as it is; nothing is sent for `Some(empty)`.
fn serve(mut peer: Peer, odd: impl Fn(&Header, &[u8]) -> Option<Vec<u8>> + Send + 'static) {
    std::thread::spawn(move || {
        let mut config = vec![0u8; 4096];
        config[..4].copy_from_slice(&[1, 2, 3, 4]);
        while let Some((header, payload)) = peer.receive() {
            if let Some(bytes) = odd(&header, &payload) {
                peer.raw(&bytes);
                continue;
            }
            let mut reply = Vec::new();
            match Request::decode(header.command, &payload) {
                Ok(Request::Version { .. }) => put_version(&mut reply, 0, 1, b"{}\0"),
                Ok(Request::GetInfo(_)) => DeviceInfo { argsz: 16, flags: 3, regions: 9, irqs: 3 }.encode(&mut reply),
                Ok(Request::GetRegionInfo { index, .. }) => {
                    let size =
                        [(2, 0x4000), (7, 4096)].iter().find(|(at, _)| *at == index).map_or(0, |(_, size)| *size);
                    RegionInfo { argsz: 32, flags: 3, index, size, ..RegionInfo::default() }.encode(&mut reply);
                }
                Ok(Request::GetIrqInfo { index }) => {
                    IrqInfo { argsz: 16, flags: 1, index, count: 4 * (index / 2) }.encode(&mut reply);
                }
                Ok(Request::RegionRead(access)) => {
                    put_access(&mut reply, &access);
                    reply.extend(config.iter().take(access.count as usize));
                }
                Ok(Request::RegionWrite(access, _)) => put_access(&mut reply, &access),
                _ => {}
            }
            peer.send(&header.reply(reply.len()), &reply, &[]);
        }
    });
}

const SOON: Duration = Duration::from_secs(1);

fn connect(odd: impl Fn(&Header, &[u8]) -> Option<Vec<u8>> + Send + 'static) -> Result<VfioUserFunction> {
    connect_within(PATIENCE, odd)
}

fn connect_within(
    deadline: Duration,
    odd: impl Fn(&Header, &[u8]) -> Option<Vec<u8>> + Send + 'static,
) -> Result<VfioUserFunction> {
    let (peer, ours) = Peer::pair();
    serve(peer, odd);
    VfioUserFunction::from_stream("client", ours, deadline)
}

#[test]
fn a_server_that_says_nothing_is_an_error_within_the_deadline() {
    for silent in [command::VERSION, command::GET_INFO, command::GET_REGION_INFO, command::GET_IRQ_INFO] {
        let error = connect_within(SOON, move |header, _| (header.command == silent).then(Vec::new)).unwrap_err();
        let late = matches!(&error, FunctionError::Io { source, .. } if source.kind() == io::ErrorKind::TimedOut);
        assert!(late && error.to_string().starts_with("client: "), "{error}");
    }
}

#[test]
fn a_server_that_stops_answering_is_given_up() {
    let stopped = Arc::new(AtomicBool::new(false));
    let stop = stopped.clone();
    let function = connect_within(SOON, move |_, _| stop.load(Ordering::SeqCst).then(Vec::new)).unwrap();
    assert_eq!(function.region_read(2, 0, Width::B4).unwrap(), 0x0403_0201);
    stopped.store(true, Ordering::SeqCst);
    let begin = Instant::now();
    let Err(FunctionError::Io { source, .. }) = function.region_read(2, 0, Width::B4) else { panic!("no error") };
    assert_eq!(source.kind(), io::ErrorKind::TimedOut);
    assert!(Instant::now() >= begin + SOON, "not before its time");
    eventually("removal", || function.removal_event().unwrap().read().is_ok());
    let next = function.region_read(2, 0, Width::B4);
    assert!(matches!(next, Err(FunctionError::Gone { .. })), "a guest's accesses do not wait for one deadline each");
}

/// All who wait get an error, not only the one who reads.
#[test]
fn all_threads_are_told_of_a_silent_server() {
    let function = connect_within(SOON, |header, _| (header.command == command::RESET).then(Vec::new)).unwrap();
    std::thread::scope(|scope| {
        (0..40).for_each(|_| drop(scope.spawn(|| assert!(function.reset().is_err()))));
    });
}

/// The header alone, with an errno: some servers answer a refused read like that.
#[test]
fn short_error_replies_are_errors_and_the_connection_goes_on() {
    let refuse = |header: &Header, _: &[u8]| {
        let refused = [command::SET_IRQS, command::DMA_MAP, command::RESET].contains(&header.command);
        refused.then(|| header.failure(libc::EBUSY).encode().to_vec())
    };
    let function = connect(refuse).unwrap();
    let busy = |result: Result<()>| {
        let Err(FunctionError::Io { source, .. }) = result else { panic!("{result:?}") };
        assert_eq!(source.raw_os_error(), Some(libc::EBUSY));
    };
    busy(function.reset());
    busy(function.set_msix(&[Some(&event())]));
    busy(function.dma_map(&shared_region(0, 4096).unwrap()));
    assert_eq!(function.region_read(2, 0, Width::B1).unwrap(), 1);
    assert!(matches!(function.dma_unmap(0), Err(FunctionError::Io { .. })), "a refused map is none");
}

#[test]
fn a_refused_read_is_an_error() {
    let errno = |errno: i32| {
        let reads = AtomicBool::new(false);
        let odd = move |header: &Header, payload: &[u8]| {
            let bar = payload.get(8) == Some(&2) && header.command == command::REGION_READ;
            (bar && !reads.swap(true, Ordering::SeqCst)).then(|| header.failure(errno).encode().to_vec())
        };
        let function = connect(odd).unwrap();
        let error = function.region_read(2, 0, Width::B4).unwrap_err();
        assert_eq!(function.region_read(2, 0, Width::B4).unwrap(), 0x0403_0201, "and the next is right");
        error
    };
    assert!(matches!(errno(libc::ENODEV), FunctionError::Gone { .. }));
    assert!(matches!(errno(0), FunctionError::Io { .. }));
    assert!(matches!(errno(libc::EINVAL), FunctionError::Io { .. }));
}

/// Replies that are cut, too long, of another id, or no replies at all.
#[test]
fn a_server_that_lies_is_an_error_and_never_a_hang() {
    type Lie = fn(&Header) -> Vec<u8>;
    let lies: [(&str, Lie); 7] = [
        ("fewer bytes than asked for", |header| {
            [&header.reply(17).encode()[..], &[0; 12], &[1, 0, 0, 0], &[9]].concat()
        }),
        ("no payload", |header| header.reply(0).encode().to_vec()),
        ("a message that never ends", |header| header.reply(4000).encode().to_vec()),
        ("half a header", |header| header.reply(0).encode()[..7].to_vec()),
        ("garbage", |_| vec![0xa5; 64]),
        ("another's reply", |header| {
            let mut bytes = header.reply(0).encode();
            bytes[0] ^= 0x80;
            bytes.to_vec()
        }),
        ("a size of 4 GiB", |header| {
            let mut bytes = header.reply(0).encode();
            bytes[4..8].fill(0xff);
            bytes.to_vec()
        }),
    ];
    for (what, lie) in lies {
        let odd = move |header: &Header, payload: &[u8]| {
            (header.command == command::REGION_READ && payload.get(8) == Some(&2)).then(|| lie(header))
        };
        let function = connect_within(SOON, odd).unwrap();
        assert!(function.region_read(2, 0, Width::B4).is_err(), "{what}");
    }
}

#[test]
fn servers_that_are_nonsense_are_refused() {
    type Edit = fn(&Header, &[u8]) -> Option<Vec<u8>>;
    fn reply(header: &Header, payload: &[u8]) -> Option<Vec<u8>> {
        Some([&header.reply(payload.len()).encode()[..], payload].concat())
    }
    fn region(header: &Header, payload: &[u8], index: u8, info: RegionInfo, areas: &[SparseArea]) -> Option<Vec<u8>> {
        if header.command != command::GET_REGION_INFO || payload[8] != index {
            return None;
        }
        let mut out = Vec::new();
        info.encode(&mut out);
        RegionInfo::encode_areas(areas, &mut out);
        reply(header, &out)
    }
    let cases: [(&str, Edit); 6] = [
        ("version", |h, _| if h.command == 1 { reply(h, &[1, 0, 0, 0]) } else { None }),
        ("newer minor version", |h, _| if h.command == 1 { reply(h, &[0, 0, 9, 0]) } else { None }),
        ("JSON", |h, _| if h.command == 1 { reply(h, b"\0\0\0\0{") } else { None }),
        ("no PCI device", |h, _| {
            if h.command == 4 { reply(h, &[16, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 3, 0, 0, 0]) } else { None }
        }),
        ("size of a BAR", |h, p| region(h, p, 2, RegionInfo { size: 0x3000, ..RegionInfo::default() }, &[])),
        ("configuration space", |h, p| region(h, p, 7, RegionInfo { size: 1 << 40, ..RegionInfo::default() }, &[])),
    ];
    for (what, edit) in cases {
        assert!(connect(edit).is_err(), "{what}");
    }
}

/// Areas that leave their BAR or its file would be a fault in the guest's memory.
#[test]
fn areas_outside_of_bar_or_file_are_refused() {
    let connect = |areas: &'static [(u64, u64)], offset: u64| {
        let (mut peer, ours) = Peer::pair();
        std::thread::spawn(move || {
            let file = sealed(0x4000);
            while let Some((header, payload)) = peer.receive() {
                let mut reply = Vec::new();
                match Request::decode(header.command, &payload) {
                    Ok(Request::Version { .. }) => put_version(&mut reply, 0, 1, b""),
                    Ok(Request::GetInfo(_)) => {
                        DeviceInfo { argsz: 16, flags: 3, regions: 9, irqs: 0 }.encode(&mut reply);
                    }
                    Ok(Request::GetRegionInfo { index: 2, .. }) => {
                        let flags = region_flag::MMAP | region_flag::CAPS;
                        RegionInfo { argsz: 32, flags, index: 2, cap_offset: 32, size: 0x4000, offset }
                            .encode(&mut reply);
                        let areas: Vec<_> =
                            areas.iter().map(|(offset, size)| SparseArea { offset: *offset, size: *size }).collect();
                        RegionInfo::encode_areas(&areas, &mut reply);
                        peer.send(&header.reply(reply.len()), &reply, &[file.as_fd()]);
                        continue;
                    }
                    Ok(Request::GetRegionInfo { index, .. }) => {
                        RegionInfo { index, size: if index == 7 { 256 } else { 0 }, ..RegionInfo::default() }
                            .encode(&mut reply);
                    }
                    Ok(Request::RegionRead(access)) => {
                        put_access(&mut reply, &access);
                        reply.resize(reply.len() + access.count as usize, 0);
                    }
                    _ => {}
                }
                peer.send(&header.reply(reply.len()), &reply, &[]);
            }
        });
        VfioUserFunction::from_stream("client", ours, PATIENCE)
    };
    assert_eq!(connect(&[(0, 0x1000), (0x2000, 0x2000)], 0).unwrap().mappable(2).unwrap().len(), 2);
    assert!(connect(&[], 0).unwrap().mappable(2).unwrap().is_empty());
    let bad: [(&'static [(u64, u64)], u64); 8] = [
        (&[(0, 0x5000)], 0),
        (&[(0x4000, 0x1000)], 0),
        (&[(0, 0x4000)], 0x1000),
        (&[(0x800, 0x1000)], 0),
        (&[(0x1000, 0x1000), (0, 0x1000)], 0),
        (&[(0, 0x2000), (0x1000, 0x1000)], 0),
        (&[(u64::MAX - 0xfff, 0x1000)], 0),
        (&[(0, 0)], 0),
    ];
    for (areas, offset) in bad {
        assert!(connect(areas, offset).is_err(), "{areas:x?} {offset:#x}");
    }
}

/// A server without mmap reads and writes the memory by messages: what is mapped, and nothing else.
#[test]
fn a_server_reaches_mapped_memory_by_messages() {
    use super::super::wire::DmaAccess;
    let (mut peer, ours) = Peer::pair();
    let hand = peer.0.try_clone().unwrap();
    let (done, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut answers = Vec::new();
        while let Some((header, payload)) = peer.receive() {
            if header.is_reply() {
                answers.push((header, payload));
                if answers.len() == 6 {
                    done.send(std::mem::take(&mut answers)).unwrap();
                }
                continue;
            }
            let mut reply = Vec::new();
            match Request::decode(header.command, &payload) {
                Ok(Request::Version { .. }) => put_version(&mut reply, 0, 0, b"{}"),
                Ok(Request::GetInfo(_)) => DeviceInfo { argsz: 16, flags: 2, regions: 9, irqs: 0 }.encode(&mut reply),
                Ok(Request::GetRegionInfo { index, .. }) => {
                    RegionInfo { index, size: if index == 7 { 256 } else { 0 }, ..RegionInfo::default() }
                        .encode(&mut reply);
                }
                Ok(Request::RegionRead(access)) => {
                    put_access(&mut reply, &access);
                    reply.resize(reply.len() + access.count as usize, 0);
                }
                _ => {}
            }
            peer.send(&header.reply(reply.len()), &reply, &[]);
        }
    });
    let function = VfioUserFunction::from_stream("client", ours, PATIENCE).unwrap();
    let regions = [shared_region(0x1000, 0x1000).unwrap(), shared_region(0x2000, 0x1000).unwrap()];
    regions.iter().for_each(|region| function.dma_map(region).unwrap());
    regions[1].write_slice(b"there", MemoryRegionAddress(0)).unwrap();
    let server = Peer(hand);
    let access = |address, count| DmaAccess { address, count };
    server.request(&Request::DmaWrite(access(0x1ffc, 4), b"half"), &[]);
    server.request(&Request::DmaRead(access(0x1ffc, 9)), &[]);
    for outside in [access(0xfff, 2), access(0x2fff, 2), access(u64::MAX, 2)] {
        server.request(&Request::DmaRead(outside), &[]);
    }
    server.request(&Request::Reset, &[]);
    let answers = wait.recv_timeout(PATIENCE).unwrap();
    let errors: Vec<_> = answers.iter().map(|(header, _)| header.error().map(|errno| errno as i32)).collect();
    let fault = Some(libc::EFAULT);
    assert_eq!(errors, [None, None, fault, fault, fault, Some(libc::EOPNOTSUPP)]);
    assert_eq!(&answers[1].1[16..], b"halfthere");
    function.dma_unmap(0x1000).unwrap();
    (0..6).for_each(|_| server.request(&Request::DmaRead(access(0x1000, 4)), &[]));
    let answers = wait.recv_timeout(PATIENCE).unwrap();
    assert!(answers.iter().all(|(header, _)| header.error().is_some()), "unmapped is out of reach");
}
