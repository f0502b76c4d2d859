// SPDX-License-Identifier: Apache-2.0
//! Clients that die at every point of a request, against the program itself: it has the same descriptors and
//! threads afterwards.

use std::fs;
use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::json;
use tests::Heirloom;

use super::{Bench, expect, wait_until};

const CLIENTS: usize = 1000;

/// What the server has: where its descriptors lead, without the numbers of sockets, and the names of its threads.
fn possessions(pid: u32) -> Result<(Vec<String>, Vec<String>), String> {
    let list = |folder: &str| fs::read_dir(format!("/proc/{pid}/{folder}")).map_err(|e| e.to_string());
    // One may go between the list and the look at it.
    let targets = list("fd")?.flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    let kind = |path: &str| path.split(":[").next().unwrap_or(path).to_owned();
    let mut files: Vec<_> = targets.map(|path| kind(&path.to_string_lossy())).collect();
    let names = list("task")?.flatten().filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    let mut threads: Vec<_> = names.map(|name| name.trim().to_owned()).collect();
    files.sort();
    threads.sort();
    Ok((files, threads))
}

/// The same, once no thread works for a client: those are kept for ten seconds.
fn at_rest(pid: u32) -> Result<(Vec<String>, Vec<String>), String> {
    let works = |name: &String| name.starts_with("tokio");
    wait_until("no client is served", || Ok(!possessions(pid)?.1.iter().any(works)))?;
    possessions(pid)
}

fn kill(bench: &Bench, round: usize) -> Result<(), String> {
    let io = |e: std::io::Error| format!("client {round}: {e}");
    let body = r#"{"soft": {"net": {"backend": {"fd": 0}}}}"#;
    let head = format!("PUT /api/v1/vm.add-device HTTP/1.1\r\nHost: l\r\nContent-Length: {}\r\n\r\n", body.len());
    let put = format!("{head}{body}");
    let get = |name: &str| format!("GET /api/v1/{name} HTTP/1.1\r\nHost: l\r\n\r\n");
    let mut stream = UnixStream::connect(bench.socket()).map_err(io)?;
    let part = |text: &str| text.as_bytes()[..=round % text.len()].to_vec();
    match round % 6 {
        // A stream that is read by nobody.
        0 => stream.write_all(get("vmm.events").as_bytes()).map_err(io)?,
        1 => stream.write_all(get("vm.trace").as_bytes()).map_err(io)?,
        // A descriptor comes with the part that arrives.
        2 => {
            let passed = fs::File::open("/dev/null").map_err(io)?;
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let fds = [passed.as_fd()];
            control.push(SendAncillaryMessage::ScmRights(&fds));
            sendmsg(&stream, &[IoSlice::new(&part(&put))], &mut control, SendFlags::empty())
                .map_err(|e| io(e.into()))?;
        }
        // The reply has nobody to go to.
        3 => stream.write_all(get("vm.legacy").as_bytes()).map_err(io)?,
        4 => stream.write_all(&part(&get("vm.info"))).map_err(io)?,
        _ => stream.write_all(&part(&put)).map_err(io)?,
    }
    // Dropped: the kernel closes the socket as it does when a process is killed. Some are processes.
    if round.is_multiple_of(100) {
        let mut client = Heirloom::plain(&["ctl", "--api-socket", &bench.socket(), "events"]).start()?;
        thread::sleep(Duration::from_millis(50)); // Clock: any moment will do.
        client.kill().and_then(|()| client.wait()).map_err(io)?;
    }
    Ok(())
}

/// A thousand of them, while a guest runs and others are served.
pub(crate) fn leave_nothing() -> Result<(), String> {
    let bench = Bench::serve()?;
    let path = bench.config("test=spin", &json!([{"id": "lan", "soft": {"net": {"backend": "loopback"}}}]))?;
    bench.ctl(&["create", &path])?.expect_code(0)?;
    bench.ctl(&["boot"])?.expect_code(0)?;
    let pid = bench.server.id();
    let before = at_rest(pid)?;
    for round in 0..CLIENTS {
        kill(&bench, round)?;
        if round % 50 == 49 {
            // A burst of more than the server takes at once is turned away for a moment.
            wait_until("others are served", || Ok(bench.ctl(&["info"])?.code == Some(0)))?;
        }
    }
    let mut after = possessions(pid)?;
    let all = wait_until("it has what it had before", || {
        after = possessions(pid)?;
        Ok(after == before)
    });
    println!("descriptors {} and {}, threads {} and {}", before.0.len(), after.0.len(), before.1.len(), after.1.len());
    all.map_err(|error| format!("{error}: {before:?}, {after:?}"))?;
    expect("state", bench.state()?, "Running".to_owned())?;
    bench.ctl(&["delete"])?.expect_code(0)?;
    bench.end()
}
