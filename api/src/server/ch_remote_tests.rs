// SPDX-License-Identifier: Apache-2.0
//! The bytes that Cloud Hypervisor's `ch-remote` sends, piece by piece, and its rules for replies (crate
//! `api_client` there). It was not run itself; this is what it does on the socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::testing::{Bench, patient};
use crate::VmState;

/// Status, and the body if the reply has a length.
fn ch_remote(stream: &mut UnixStream, method: &str, command: &str, body: Option<&str>) -> (u16, Option<String>) {
    // One write with the start of the head (descriptors would come with it), one each for length, end and body.
    stream
        .write_all(format!("{method} /api/v1/{command} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n").as_bytes())
        .unwrap();
    if let Some(body) = body {
        stream.write_all(format!("Content-Length: {}\r\n", body.len()).as_bytes()).unwrap();
    }
    stream.write_all(b"\r\n").unwrap();
    if let Some(body) = body {
        stream.write_all(body.as_bytes()).unwrap();
    }
    let mut text = String::new();
    let mut length: Option<usize> = None;
    loop {
        let mut piece = [0; 256];
        let count = stream.read(&mut piece).unwrap();
        if count == 0 {
            break;
        }
        text.push_str(std::str::from_utf8(&piece[..count]).unwrap());
        // The end of the head is looked for again after each piece, and so is the length: by its exact name.
        let Some(end) = text.find("\r\n\r\n") else { continue };
        let found = text.find("Content-Length: ").map(|at| at + "Content-Length: ".len());
        length = found.map(|at| text[at..at + text[at..].find('\r').unwrap()].trim().parse().unwrap());
        match length {
            None => break,
            Some(length) if text.len() >= end + 4 + length => break,
            Some(_) => {}
        }
    }
    let status_at = text.find("HTTP/1.1").expect("a status line") + "HTTP/1.1 ".len();
    let status = text[status_at..text.find('\r').unwrap()].trim();
    // It takes the whole rest of the line for the number: "200 OK" would be an error.
    let status = status.parse().unwrap_or_else(|error| panic!("{error}: {status:?}"));
    let body = length.map(|_| text[text.find("\r\n\r\n").unwrap() + 4..].to_owned());
    (status, body)
}

#[test]
fn every_command_of_the_common_subset() {
    let bench = Bench::new(patient());
    let config = crate::operations::CONFIG_EXAMPLES[3].1;
    let run = |method: &str, command: &str, body: Option<&str>| {
        // A connection for each command, as the program makes it.
        let mut stream = bench.connect();
        ch_remote(&mut stream, method, command, body)
    };
    let (status, ping) = run("GET", "vmm.ping", None);
    assert_eq!(status, 200);
    let ping: serde_json::Value = serde_json::from_str(&ping.unwrap()).unwrap();
    assert!(ping["version"].is_string() && ping["build_version"].is_string() && ping["pid"].is_i64(), "{ping}");
    assert_eq!(run("PUT", "vm.create", Some(config)), (204, None));
    assert_eq!(
        run("PUT", "vm.add-device", Some(r#"{"id": "d0", "soft": {"net": {"backend": "loopback"}}}"#)),
        (204, None)
    );
    assert_eq!(run("PUT", "vm.remove-device", Some(r#"{"id":"d0"}"#)), (204, None));
    // `ch-remote add-device path=/sys/bus/pci/devices/0000:41:00.3` with every field that it writes.
    let path = r#"{"path":"/sys/bus/pci/devices/0000:41:00.3","iommu":false,"id":null,"pci_segment":0,"x_nv_gpudirect_clique":null}"#;
    assert_eq!(run("PUT", "vm.add-device", Some(path)), (204, None));
    for (command, state) in [
        ("vm.boot", VmState::Running),
        ("vm.pause", VmState::Paused),
        ("vm.resume", VmState::Running),
        ("vm.power-button", VmState::Running),
        ("vm.reboot", VmState::Running),
        ("vm.shutdown", VmState::Shutdown),
        ("vm.boot", VmState::Running),
    ] {
        assert_eq!(run("PUT", command, None), (204, None), "{command}");
        let (status, info) = run("GET", "vm.info", None);
        let info: serde_json::Value = serde_json::from_str(&info.unwrap()).unwrap();
        assert_eq!((status, info["state"].as_str().unwrap()), (200, state.to_string().as_str()), "{command}");
        assert!(info["config"]["payload"]["kernel"].is_string() && info["memory_actual_size"].is_u64(), "{info}");
    }
    let (status, counters) = run("GET", "vm.counters", None);
    assert_eq!((status, counters.unwrap().as_str()), (200, r#"{"net0":{"reads":7}}"#));
    assert_eq!(run("PUT", "vm.delete", None), (204, None));
    let (status, body) = run("GET", "vm.info", None);
    assert_eq!(status, 404);
    // What it prints then, after a line of its own: the object as it is.
    assert!(body.unwrap().contains("vm_not_created"));
    assert_eq!(run("PUT", "vmm.shutdown", None), (204, None));
}
