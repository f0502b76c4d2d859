// SPDX-License-Identifier: Apache-2.0
//! Both ends of a vfio-user socket against a peer that says anything: the bytes of messages, a server of
//! the software PF, and a client.
//!
//! The server answers or hangs up, and leaves the PF as after a reset, with no memory mapped. The client
//! is there or an error soon after its deadline.
#![no_main]

use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::LazyLock;
use std::time::Duration;

use devices::bus::Width;
use devices::function::shared::shared_region;
use devices::function::vfio_user::wire::{HEADER_LEN, Header, RegionInfo, Request};
use devices::function::vfio_user::{Server, VfioUserFunction};
use devices::function::{Bars, Configuration, Dma, Interrupts, Lifetime};
use devices::soft_pf::{SoftPf, VfSpec};
use fuzz::script::Script;
use libfuzzer_sys::fuzz_target;
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::sock_ctrl_msg::ScmSocket;

/// A client's deadline, and how long the end of a server may take.
const DEADLINE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(15);
const VERSION: &[u8] = &[1, 0, 1, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];

/// What may come along with a message.
struct Descriptors {
    memory: File,
    read_only: File,
    event: EventFd,
}

static DESCRIPTORS: LazyLock<Descriptors> = LazyLock::new(|| {
    let memory = tempfile::tempfile().expect("a file");
    memory.set_len(0x10_0000).expect("a length");
    let event = EventFd::new(0).expect("an eventfd");
    Descriptors { memory, read_only: File::open("/dev/null").expect("/dev/null"), event }
});

fn descriptors(kind: u8) -> Vec<RawFd> {
    let all = &*DESCRIPTORS;
    match kind % 6 {
        1 => vec![all.memory.as_raw_fd()],
        2 => vec![all.event.as_raw_fd()],
        3 => vec![all.event.as_raw_fd(); 3],
        4 => vec![all.read_only.as_raw_fd()],
        5 => vec![all.event.as_raw_fd(); 33],
        _ => Vec::new(),
    }
}

/// The next message of the script: `command, descriptors, length, payload`; command 255 is bytes as they are.
fn message(script: &mut Script<'_>, reply_to: Option<Header>) -> (Vec<u8>, Vec<RawFd>) {
    let (command, kind, len) = (script.u8(), script.u8(), usize::from(script.u16() % 1024));
    let payload = script.take(len);
    if command == 255 {
        return (payload.to_vec(), descriptors(kind));
    }
    let header = match reply_to {
        Some(to) if command & 0x80 != 0 => to.failure(i32::from(command & 0x7f)),
        Some(to) => to.reply(payload.len()),
        None => Header::request(1, command.into(), payload.len()),
    };
    let payload = if header.error().is_some() { &[][..] } else { payload };
    ([&header.encode()[..], payload].concat(), descriptors(kind))
}

/// What a peer sends means the same after it was encoded here.
fn codec(script: &mut Script<'_>) {
    let command = script.u8().into();
    let payload = script.rest();
    if let Ok(request) = Request::decode(command, payload) {
        let mut again = Vec::new();
        request.encode(&mut again);
        assert_eq!(Request::decode(command, &again).as_ref(), Ok(&request));
    }
    if let Ok(info) = RegionInfo::decode(payload) {
        let _ = info.decode_areas(payload);
    }
}

fn server(script: &mut Script<'_>) {
    let disk = tempfile::tempfile().expect("a file");
    disk.set_len(4096).expect("a length");
    let soft = SoftPf::new("soft", vec![VfSpec::Blk { size: None, file: disk, read_only: true, id: String::new() }]);
    let soft = soft.expect("a software PF");
    let pf = soft.pf();
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let server = Server::spawn_on(pf.clone(), theirs).expect("a server");
    let mut scratch = [0; 4096];
    (&ours).write_all(VERSION).expect("room for the first message");
    ours.set_nonblocking(true).expect("an open socket");
    while !script.is_empty() {
        let (bytes, fds) = message(script, None);
        if bytes.is_empty() || ours.send_with_fds(&[&bytes[..]], &fds).is_err() {
            continue;
        }
        while (&ours).read(&mut scratch).is_ok_and(|count| count != 0) {}
    }
    ours.set_nonblocking(false).expect("an open socket");
    ours.set_read_timeout(Some(PATIENCE)).expect("an open socket");
    let _ = ours.shutdown(Shutdown::Write);
    loop {
        match (&ours).read(&mut scratch) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("the server hangs"),
            Err(_) => break,
        }
    }
    server.stop();
    assert_eq!(pf.config_read(4, Width::B2).expect("the PF is there"), 0, "the PF was not reset");
    // Overlaps whatever was left.
    for base in [0, 0x1000, 0x10_0000, 0x8000_0000] {
        let region = shared_region(base, 0x1000).expect("memory");
        pf.dma_map(&region).expect("memory of the client before is still mapped");
        pf.dma_unmap(base).expect("just mapped");
    }
}

/// Answers the client's requests from the script, in order.
fn client(script: &mut Script<'_>) {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let mut answers = Vec::new();
    let bytes = script.rest().to_vec();
    let peer = std::thread::spawn(move || {
        let mut script = Script::new(&bytes);
        let mut header = [0; HEADER_LEN];
        let mut payload = vec![0; 1 << 17];
        while (&theirs).read_exact(&mut header).is_ok() {
            let Ok(header) = Header::decode(&header) else { break };
            if (&theirs).read_exact(&mut payload[..header.payload()]).is_err() || script.is_empty() {
                break;
            }
            let (bytes, fds) = message(&mut script, Some(header));
            if !bytes.is_empty() && theirs.send_with_fds(&[&bytes[..]], &fds).is_err() {
                break;
            }
        }
    });
    if let Ok(function) = VfioUserFunction::from_stream("fuzz", ours, DEADLINE) {
        answers.push(function.config_read(0, Width::B4).map(u64::from));
        answers.push(function.region_read(2, 0, Width::B2));
        let region = shared_region(0, 0x1000).expect("memory");
        let _ = function.dma_map(&region);
        let _ = function.set_msix(&[None, Some(&DESCRIPTORS.event)]);
        let _ = (function.mappable(2), function.reset(), function.dma_unmap(0));
        drop(function);
    }
    for value in answers.into_iter().flatten() {
        assert!(value <= u32::MAX.into(), "wider than what was asked for");
    }
    assert!(peer.join().is_ok());
}

fuzz_target!(|data: &[u8]| {
    let mut script = Script::new(data);
    match script.u8() % 4 {
        0 => codec(&mut script),
        1 => client(&mut script),
        _ => server(&mut script),
    }
});
