// SPDX-License-Identifier: Apache-2.0
//! Clients that are slow, huge, half-open, malformed or killed.

use std::fs;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::time::Duration;

use proptest::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::testing::{Bench, PATIENCE, patient, quick, read_answer, try_read_answer, wait_until};
use super::{Limits, Times};
use crate::{Code, VmState};

/// Tests that count descriptors and threads of this process run one at a time.
static COUNTS: Mutex<()> = Mutex::new(());

const PING: &[u8] = b"GET /api/v1/vmm.ping HTTP/1.1\r\nHost: l\r\n\r\n";

fn a_ping_is_answered(bench: &Bench) {
    assert_eq!(bench.ask("GET", "/api/v1/vmm.ping", "").status, 200);
}

#[test]
fn half_a_request_holds_nobody_up_and_is_cut_off() {
    let bench = Bench::new(quick());
    let halves: [&[u8]; 5] = [
        b"",
        b"G",
        b"PUT /api/v1/vm.create HTTP/1.1\r\nHost: l\r\n",
        b"PUT /api/v1/vm.create HTTP/1.1\r\nHost: l\r\nContent-Length: 100\r\n\r\n",
        b"PUT /api/v1/vm.create HTTP/1.1\r\nHost: l\r\nContent-Length: 100\r\n\r\n{\"payload\"",
    ];
    let mut clients: Vec<_> = halves
        .iter()
        .map(|half| {
            let mut stream = bench.connect();
            stream.write_all(half).unwrap();
            stream
        })
        .collect();
    a_ping_is_answered(&bench);
    for (stream, half) in clients.iter_mut().zip(halves) {
        // That it ends is what is tested.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        if half.ends_with(b"\r\n\r\n") {
            let rest = String::from_utf8(rest).unwrap();
            assert!(rest.starts_with("HTTP/1.1 408") && rest.contains("request_timeout"), "{rest}");
        }
    }
    assert!(bench.model.calls().is_empty());
}

#[test]
fn a_byte_at_a_time_is_cut_off_too() {
    let bench = Bench::new(quick());
    let mut stream = bench.connect();
    wait_until("it is cut off", || stream.write_all(b"x").is_err());
    a_ping_is_answered(&bench);
}

#[test]
fn a_client_that_closes_its_sending_half_gets_its_reply() {
    let bench = Bench::new(patient());
    let mut stream = bench.connect();
    stream.write_all(PING).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_answer(&mut stream).status, 200);
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "and then the end");
}

#[test]
fn limits_of_size() {
    let bench = Bench::new(patient());
    let large = "x".repeat((1 << 20) + 1);
    let announced = {
        let mut stream = bench.connect();
        let head = format!("PUT /api/v1/vm.create HTTP/1.1\r\nHost: l\r\nContent-Length: {}\r\n\r\n", 1u64 << 62);
        stream.write_all(head.as_bytes()).unwrap();
        read_answer(&mut stream)
    };
    assert_eq!((announced.status, announced.fault().code), (413, Code::BodyTooLarge), "without reading it");
    let chunked = {
        let mut stream = bench.connect();
        let head = "PUT /api/v1/vm.create HTTP/1.1\r\nHost: l\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        // It may be cut off before it has all been written.
        let _ = stream.write_all(format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len()).as_bytes());
        read_answer(&mut stream)
    };
    assert_eq!((chunked.status, chunked.fault().code), (413, Code::BodyTooLarge));
    let head = {
        let mut stream = bench.connect();
        let _ =
            stream.write_all(format!("GET /api/v1/vmm.ping HTTP/1.1\r\nX: {}\r\n\r\n", &large[..40_000]).as_bytes());
        read_answer(&mut stream)
    };
    assert_eq!((head.status, head.fault().code), (431, Code::HeadTooLarge));
    let many = {
        let mut stream = bench.connect();
        let _ = stream.write_all(format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200)).as_bytes());
        read_answer(&mut stream)
    };
    assert_eq!((many.status, many.fault().code), (431, Code::HeadTooLarge));
    let depth = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(bench.ask("PUT", "/api/v1/vm.create", &depth).fault().code, Code::MalformedJson);
    a_ping_is_answered(&bench);
}

#[test]
fn what_is_not_http_is_answered_by_an_error_object() {
    let bench = Bench::new(patient());
    for text in [
        "\r\n\r\nHELLO\r\n\r\n",
        "GET\r\n\r\n",
        "GET /api/v1/vmm.ping HTTP/9.9\r\n\r\n",
        "GET /api/v1/vmm.ping HTTP/1.1\r\nno colon\r\n\r\n",
        "PUT /api/v1/vm.create HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "PUT /api/v1/vm.create HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        "PUT /api/v1/vm.create HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n{}",
        "\u{0}\u{1}\u{2}\u{3}\r\n\r\n",
    ] {
        let mut stream = bench.connect();
        stream.write_all(text.as_bytes()).unwrap();
        let answer = try_read_answer(&mut stream).unwrap_or_else(|| panic!("no reply to {text:?}"));
        assert_eq!((answer.status, answer.fault().code), (400, Code::MalformedRequest), "{text:?}");
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "closed: {text:?}");
    }
    assert!(bench.model.calls().is_empty());
    a_ping_is_answered(&bench);
}

#[test]
fn too_many_clients_are_turned_away() {
    let bench = Bench::new(Limits { connections: 4, streams: 4, ..Limits::default() });
    // Each with a reply that goes on: none is idle.
    let mut clients: Vec<_> = (0..4).map(|_| bench.connect()).collect();
    for stream in &mut clients {
        stream.write_all(b"GET /api/v1/vmm.events HTTP/1.1\r\nHost: l\r\n\r\n").unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert!(status.ends_with(b"200"));
    }
    let mut fifth = bench.connect();
    let answer = read_answer(&mut fifth);
    assert_eq!((answer.status, answer.fault().code), (429, Code::Busy));
    drop(clients);
    wait_until("nobody is here any more", || is_served(&bench));
}

#[test]
fn a_client_that_never_reads_is_cut_off() {
    let bench = Bench::new(quick());
    let mut stream = bench.connect();
    stream.write_all(b"GET /api/v1/vmm.events HTTP/1.1\r\nHost: l\r\n\r\n").unwrap();
    a_ping_is_answered(&bench);
    // The other end is closed while nothing is read.
    let mut hung_up = [PollFd::new(&stream, PollFlags::empty())];
    let safety = Timespec::try_from(PATIENCE).unwrap();
    assert_eq!(poll(&mut hung_up, Some(&safety)).unwrap(), 1, "still connected");
    // What was sent by then is there, and then the end.
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    assert!(!all.is_empty());
}

fn send_with(stream: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(20))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
    sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
}

fn create_with(bench: &Bench, body: &str, count: usize) -> super::testing::Answer {
    let mut stream = bench.connect();
    let (ours, _) = UnixStream::pair().unwrap();
    let head = "PUT /api/v1/vm.create HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n";
    send_with(&stream, head.as_bytes(), &vec![ours.as_fd(); count]);
    stream.write_all(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    read_answer(&mut stream)
}

#[test]
fn descriptors_arrive_with_the_request() {
    let _alone = COUNTS.lock().unwrap_or_else(|e| e.into_inner());
    let bench = Bench::new(patient());
    let net = |index: u32| format!(r#"{{"soft": {{"net": {{"backend": {{"fd": {index}}}}}}}}}"#);
    let config =
        |devices: &[String]| format!(r#"{{"payload": {{"kernel": "k"}}, "legacy_virtio": [{}]}}"#, devices.join(","));
    assert_eq!(create_with(&bench, &config(&[net(1), net(0)]), 2).status, 204);
    assert_eq!(bench.model.inner.lock().unwrap().descriptors.len(), 2);
    for (devices, count) in
        [(vec![net(0)], 2), (vec![net(0), net(0)], 1), (vec![net(1)], 1), (vec![], 1), (vec![net(0)], 17)]
    {
        bench.model.put(VmState::NotCreated);
        let answer = create_with(&bench, &config(&devices), count);
        assert_eq!(answer.fault().code, Code::InvalidDescriptors, "{devices:?} {count}");
    }
    let before = open_descriptors();
    for _ in 0..50 {
        create_with(&bench, "{}", 16);
    }
    wait_until("descriptors of refused requests are closed", || open_descriptors() <= before);
    let mut stream = bench.connect();
    send_with(&stream, PING, &[stream.as_fd()]);
    assert_eq!(read_answer(&mut stream).fault().code, Code::InvalidDescriptors, "a ping takes none");
}

/// Whether a ping is answered, and not turned away.
fn is_served(bench: &Bench) -> bool {
    let mut stream = bench.connect();
    // Who is turned away may see the connection end before all is written.
    stream.write_all(PING).is_ok() && try_read_answer(&mut stream).is_some_and(|answer| answer.status == 200)
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// Clients that die at every point of a request. Other tests of this process come and go meanwhile, so
/// what is compared is what a child process with this test alone has.
#[test]
fn a_thousand_killed_clients_leave_nothing_behind() {
    const ALONE: &str = "HEIRLOOM_KILLED_CLIENTS";
    if std::env::var_os(ALONE).is_none() {
        let me = std::env::current_exe().unwrap();
        let name = "server::hostile_tests::a_thousand_killed_clients_leave_nothing_behind";
        let output =
            std::process::Command::new(me).args([name, "--exact", "--nocapture"]).env(ALONE, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    let bench = Bench::new(Limits {
        times: Times { patience: Duration::from_secs(5), ..Limits::default().times },
        ..Limits::default()
    });
    bench.model.put(VmState::Running);
    let body = r#"{"soft": {"net": {"backend": "loopback"}}}"#;
    let request =
        format!("PUT /api/v1/vm.add-device HTTP/1.1\r\nHost: l\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let streaming = "GET /api/v1/vmm.events HTTP/1.1\r\nHost: l\r\n\r\n";
    let passed = fs::File::open("/dev/null").unwrap();
    let kill = |round: usize| {
        let mut stream = bench.connect();
        match round % 4 {
            0 => stream.write_all(streaming.as_bytes()).unwrap(),
            1 => send_with(&stream, &request.as_bytes()[..=round % request.len()], &[passed.as_fd()]),
            2 => stream.write_all(PING).unwrap(),
            _ => stream.write_all(&request.as_bytes()[..=round % request.len()]).unwrap(),
        }
        // Dropped: the kernel closes the socket as it does when the process is killed.
    };
    // Worker threads are kept for the next operation for some seconds; there are five at most.
    assert_eq!(bench.ask("GET", "/api/v1/vm.info", "").status, 200);
    let before = (open_descriptors(), threads());
    for round in 0..1000 {
        kill(round);
        if round % 50 == 0 {
            // Others are served all the while; a burst of more than 64 is turned away for a moment.
            wait_until("others are served", || is_served(&bench));
        }
    }
    // Streams notice within a moment that nobody is there.
    wait_until("descriptors and threads of 1000 killed clients are gone", || {
        open_descriptors() <= before.0 && threads() <= before.1 + 5
    });
    a_ping_is_answered(&bench);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever bytes come, there is a reply of 4xx or an end, and the next client is served.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600), as_body in any::<bool>()) {
        static BENCH: std::sync::OnceLock<Bench> = std::sync::OnceLock::new();
        let bench = BENCH.get_or_init(|| Bench::new(patient()));
        let mut stream = bench.connect();
        if as_body {
            let head = format!("PUT /api/v1/vm.create HTTP/1.1\r\nHost: l\r\nContent-Length: {}\r\n\r\n", bytes.len());
            stream.write_all(head.as_bytes()).unwrap();
        }
        let _ = stream.write_all(&bytes);
        stream.shutdown(Shutdown::Write).unwrap();
        if let Some(answer) = try_read_answer(&mut stream) {
            prop_assert!((400..500).contains(&answer.status), "{answer:?}");
            answer.fault();
        } else {
            prop_assert!(!as_body, "a whole request has a reply");
        }
        a_ping_is_answered(bench);
    }
}

/// A client that passes its own end keeps the connection open beyond its death; the server's patience ends it.
#[test]
fn a_client_that_passes_its_own_end() {
    let _alone = COUNTS.lock().unwrap_or_else(|e| e.into_inner());
    let bench = Bench::new(Limits { connections: 2, ..quick() });
    for _ in 0..2 {
        let stream = bench.connect();
        send_with(&stream, b"GET /", &[stream.as_fd()]);
    }
    wait_until("the server's patience ends", || is_served(&bench));
}

/// The same during a stream, which nobody's patience ends as long as there is nothing to send.
#[test]
fn a_client_of_a_stream_that_passes_its_own_end() {
    let _alone = COUNTS.lock().unwrap_or_else(|e| e.into_inner());
    let bench = Bench::new(Limits { streams: 1, ..quick() });
    let open = || {
        let mut stream = bench.connect();
        stream.write_all(b"GET /api/v1/vm.trace HTTP/1.1\r\nHost: l\r\n\r\n").unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        (stream, status.ends_with(b"200"))
    };
    bench.model.put(VmState::Running);
    let (stream, opened) = open();
    assert!(opened);
    send_with(&stream, b"G", &[stream.as_fd()]);
    drop(stream);
    wait_until("the stream ends", || open().1);
}

/// Whatever they have sent of a request, as long as it is not whole. Nobody waits for the server's patience with them.
#[test]
fn f23_idle_clients_lock_nobody_out() {
    let patient = Duration::from_secs(3600);
    let bench = Bench::new(Limits {
        connections: 4,
        times: Times { patience: patient, ..Limits::default().times },
        ..Limits::default()
    });
    let parts: [&[u8]; 4] = [
        b"",
        b"GET /api/v1/vmm.ping HT",
        b"PUT /api/v1/vm.create HTTP/1.1\r\nHost: l\r\nContent-Length: 100\r\n\r\n{",
        b"GET /api/v1/vmm.ping HTTP/1.1\r\nHost: l\r\n\r\n",
    ];
    let mut idle = Vec::new();
    for round in 0..5 {
        for part in parts {
            let mut stream = bench.connect();
            stream.write_all(part).unwrap();
            idle.push(stream);
        }
        assert_eq!(bench.ask("GET", "/api/v1/vmm.ping", "").status, 200, "{round}");
    }
    // Those that made way have been told: their connection is at its end.
    let mut rest = Vec::new();
    idle[0].read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
}

#[test]
fn f23_a_key_twice_is_refused() {
    let bench = Bench::new(patient());
    let body = r#"{"payload": {"kernel": "a", "kernel": "b"}}"#;
    let fault = bench.ask("PUT", "/api/v1/vm.create", body).fault();
    assert_eq!(fault.code, Code::MalformedJson);
    assert!(fault.message.contains(r#"the key "kernel" is given twice"#), "{}", fault.message);
}
