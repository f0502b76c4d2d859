// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use super::testing::{Bench, Model, PATIENCE, patient, read_answer, wait_until};
use super::{Limits, Server, Times};
use crate::client::{Client, ClientError};
use crate::routes::{Lane, Method};
use crate::service::{TABLE, routes};
use crate::{Code, Fault, VmState};

/// A body that the route takes, if it takes one.
fn body_of(route: &crate::routes::Route) -> &'static str {
    match route.name() {
        "vm.remove-device" => r#"{"id": "net0"}"#,
        // The examples with descriptors need those.
        _ => route.input.body.map_or("", |body| body.examples[0].1),
    }
}

#[test]
fn every_route_in_every_state() {
    let bench = Bench::new(patient());
    let (mut cells, mut refused) = (0, 0);
    for route in routes().filter(|route| !matches!(route.name(), "vmm.shutdown" | "vmm.events" | "vm.trace")) {
        for state in VmState::ALL {
            bench.model.put(state);
            bench.model.calls();
            let answer = bench.ask(route.method.name(), route.path, body_of(route));
            let cell = format!("{} when {state}: {answer:?}", route.path);
            cells += 1;
            if route.states().contains(state) {
                assert!(route.output.successes.iter().any(|success| success.status == answer.status), "{cell}");
                assert_eq!(bench.model.calls().len(), usize::from(route.lane() != Lane::Inline), "{cell}");
            } else {
                let expected = match (state, route.name()) {
                    (VmState::NotCreated, _) => Code::VmNotCreated,
                    (_, "vm.create") => Code::VmAlreadyCreated,
                    _ => Code::WrongState,
                };
                assert_eq!((answer.fault().code, answer.status), (expected, expected.status()), "{cell}");
                assert!(route.codes().contains(&expected), "{cell}");
                assert_eq!(bench.model.calls(), Vec::<String>::new(), "the monitor was called: {cell}");
                assert_eq!(bench.model.inner.lock().unwrap().state, state, "{cell}");
                refused += 1;
            }
        }
    }
    assert_eq!((cells, refused), (90, 41));
}

#[test]
fn other_methods_and_paths() {
    let bench = Bench::new(patient());
    let paths: BTreeSet<_> = routes().map(|route| route.path).collect();
    for path in paths {
        let known: Vec<_> = routes().filter(|route| route.path == path).map(|route| route.method.name()).collect();
        for method in ["GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "BREW"] {
            if known.contains(&method) {
                continue;
            }
            let answer = bench.ask(method, path, "");
            assert_eq!((answer.status, answer.fault().code), (405, Code::MethodNotAllowed), "{method} {path}");
            assert!(answer.head.contains(&format!("\r\nAllow: {}\r\n", known.join(", "))), "{answer:?}");
        }
    }
    for path in ["/", "/api", "/api/v1/", "/api/v1/vm.boot/", "/api/v2/vm.boot", "/api/v1/vm.resize", "//metrics"] {
        let answer = bench.ask("GET", path, "");
        assert_eq!((answer.status, answer.fault().code), (404, Code::NotFound), "{path}");
    }
    assert_eq!(bench.model.calls(), Vec::<String>::new());
}

#[test]
fn faults_name_the_field() {
    let bench = Bench::new(patient());
    for (body, code, field) in [
        ("", Code::MalformedJson, None),
        ("{\"payload\": ", Code::MalformedJson, None),
        ("[]", Code::InvalidField, None),
        ("{}", Code::InvalidField, None),
        (r#"{"payload": {"kernel": 1}}"#, Code::InvalidField, Some("payload.kernel")),
        (r#"{"payload": {"kernel": "k"}, "memroy": {}}"#, Code::InvalidField, Some("memroy")),
        (r#"{"payload": {"kernel": "k"}, "cpus": {"boot_vcpus": 65}}"#, Code::InvalidField, Some("cpus.boot_vcpus")),
        (r#"{"payload": {"kernel": "k"}, "memory": {"size": 1}}"#, Code::InvalidField, Some("memory.size")),
        (
            r#"{"payload": {"kernel": "k"}, "memory": {"mergeable": true}}"#,
            Code::UnsupportedField,
            Some("memory.mergeable"),
        ),
        (r#"{"payload": {"kernel": "k"}, "disks": [{"path": "d"}]}"#, Code::UnsupportedField, Some("disks")),
        (
            r#"{"payload": {"kernel": "k"}, "legacy_virtio": [{"soft": {"net": {"backend": "loopback", "mac": "zz"}}}]}"#,
            Code::InvalidField,
            Some("legacy_virtio[0].soft.net.mac"),
        ),
        (
            r#"{"payload": {"kernel": "k"}, "legacy_virtio": [{"soft": {"net": {"backend": {"fd": 0}}}}]}"#,
            Code::InvalidDescriptors,
            Some("legacy_virtio[0].soft.net.backend.fd"),
        ),
    ] {
        let answer = bench.ask("PUT", "/api/v1/vm.create", body);
        let fault = answer.fault();
        assert_eq!((fault.code, fault.field.as_deref(), answer.status), (code, field, 400), "{body}: {fault:?}");
    }
    bench.model.put(VmState::Running);
    let answer = bench.ask("GET", "/api/v1/vm.legacy?id=net9", "");
    assert_eq!((answer.status, answer.fault().code), (404, Code::DeviceNotFound));
    for query in ["id=a&id=b", "name=net0", "id=%zz", "id=%ff"] {
        let answer = bench.ask("GET", &format!("/api/v1/vm.legacy?{query}"), "");
        assert_eq!((answer.status, answer.fault().code), (400, Code::InvalidField), "{query}");
    }
    assert_eq!(bench.ask("PUT", "/api/v1/vm.pause", "[1]").fault().code, Code::MalformedRequest);
    assert_eq!(bench.ask("PUT", "/api/v1/vm.pause", " {} ").status, 204);
}

#[test]
fn faults_of_the_monitor_go_out_as_they_are() {
    let bench = Bench::new(patient());
    bench.model.put(VmState::Created);
    for code in [Code::SetupFailed, Code::PfUnavailable, Code::DeadlineExceeded, Code::FileUnusable, Code::Busy] {
        let mut fault = Fault::new(code, "the guest did not start").at("payload.kernel");
        fault.causes = vec!["nearer".to_owned(), "farther".to_owned()];
        *bench.model.next_fault.lock().unwrap() = Some(fault.clone());
        let answer = bench.ask("PUT", "/api/v1/vm.boot", "");
        assert_eq!((answer.status, answer.fault()), (code.status(), fault));
    }
    bench.model.panics.store(true, Ordering::SeqCst);
    let answer = bench.ask("PUT", "/api/v1/vm.boot", "");
    assert_eq!((answer.status, answer.fault().code), (500, Code::Internal));
    bench.model.panics.store(false, Ordering::SeqCst);
    assert_eq!(bench.ask("GET", "/api/v1/vm.info", "").status, 200, "the server lives on");
}

#[test]
fn operations_take_turns_and_nobody_else_waits() {
    let bench = Arc::new(Bench::new(Limits { waiting: 3, ..patient() }));
    bench.model.put(VmState::Running);
    bench.model.held.store(true, Ordering::SeqCst);
    let (send, answers) = mpsc::channel();
    for _ in 0..8 {
        let (bench, send) = (Arc::clone(&bench), send.clone());
        thread::spawn(move || send.send(bench.ask("PUT", "/api/v1/vm.power-button", "").status).unwrap());
    }
    drop(send);
    // One at once; three wait; the rest is turned away.
    let next = || answers.recv_timeout(PATIENCE).unwrap();
    assert_eq!([next(), next(), next(), next()], [429; 4]);
    for target in ["/api/v1/vmm.ping", "/api/v1/vm.info", "/metrics"] {
        assert_eq!(bench.ask("GET", target, "").status, 200);
    }
    wait_until("the first is carried out", || bench.model.busy.load(Ordering::SeqCst) == 1);
    assert!(answers.try_recv().is_err(), "and has not ended");
    bench.model.held.store(false, Ordering::SeqCst);
    assert_eq!(answers.iter().collect::<Vec<_>>(), [204; 4]);
}

#[test]
fn a_client_whose_time_is_over_is_told_and_what_was_not_begun_is_never_done() {
    let times = Times { operation: Duration::from_millis(200), ..patient().times };
    let bench = Bench::new(Limits { times, ..patient() });
    bench.model.put(VmState::Running);
    bench.model.held.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let answer = bench.ask("PUT", "/api/v1/vm.power-button", "");
        assert_eq!((answer.status, answer.fault().code), (504, Code::DeadlineExceeded));
    }
    bench.model.held.store(false, Ordering::SeqCst);
    wait_until("the first ends", || !bench.model.inner.lock().unwrap().calls.is_empty());
    assert_eq!(bench.model.calls(), ["power-button"]);
}

#[test]
fn shutdown_answers_and_then_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let (send, ended) = mpsc::channel();
    let server = Server::start(&path, Model::new(), patient(), move || send.send(()).unwrap()).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    let client = Client::new(&path).unwrap();
    assert_eq!(client.request("PUT", "/api/v1/vmm.shutdown", None).unwrap(), b"");
    ended.recv_timeout(PATIENCE).unwrap();
    assert!(!path.exists());
    assert!(matches!(client.request("GET", "/api/v1/vmm.ping", None), Err(ClientError::Connect { .. })));
    drop(server);
}

#[test]
fn a_dropped_server_is_gone() {
    let mut bench = Bench::new(patient());
    let mut idle = bench.connect();
    let mut stream = bench.connect();
    stream.write_all(b"GET /api/v1/vmm.events HTTP/1.1\r\nHost: l\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 64]).unwrap();
    bench.server.take();
    assert!(!bench.path.exists());
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
}

#[test]
fn keep_alive_and_pipelining() {
    let bench = Bench::new(patient());
    bench.model.put(VmState::Running);
    let mut stream = bench.connect();
    let requests = "PUT /api/v1/vm.pause HTTP/1.1\r\nHost: l\r\n\r\n\
                    GET /api/v1/vm.info HTTP/1.1\r\nHost: l\r\n\r\n\
                    PUT /api/v1/vm.resume HTTP/1.1\r\nHost: l\r\nContent-Length: 2\r\n\r\n{}\
                    GET /nothing HTTP/1.1\r\nHost: l\r\n\r\n\
                    GET /api/v1/vm.info HTTP/1.1\r\nHost: l\r\n\r\n";
    stream.write_all(requests.as_bytes()).unwrap();
    let answers: Vec<_> = (0..5).map(|_| read_answer(&mut stream)).collect();
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [204, 200, 204, 404, 200]);
    assert!(answers[1].body.contains("Paused") && answers[4].body.contains("Running"), "in order: {answers:?}");
    stream.write_all(b"GET /api/v1/vmm.ping HTTP/1.1\r\nHost: l\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut stream).status, 200, "the connection is still good");
}

#[test]
fn streams_send_lines_until_the_client_leaves() {
    let bench = Bench::new(Limits { streams: 2, ..patient() });
    let client = Client::new(&bench.path).unwrap();
    let mut text = String::new();
    client
        .stream("/api/v1/vmm.events", |bytes| {
            text.push_str(std::str::from_utf8(bytes).unwrap());
            text.lines().count() < 1000
        })
        .unwrap();
    let first: Vec<_> = text.lines().take(3).collect();
    assert_eq!(first, [r#"{"seq":1}"#, r#"{"seq":2}"#, r#"{"seq":3}"#]);
    drop(client);
    // Two silent streams are all there is room for, and a client that leaves makes room.
    bench.model.put(VmState::Running);
    let open = || {
        let mut stream = bench.connect();
        stream.write_all(b"GET /api/v1/vm.trace HTTP/1.1\r\nHost: l\r\n\r\n").unwrap();
        stream
    };
    let opened_with = |wanted: u16| {
        let mut opened = None;
        wait_until("a stream is opened, or refused", || {
            let mut stream = open();
            let mut status = [0; 12];
            stream.read_exact(&mut status).unwrap();
            opened = (String::from_utf8_lossy(&status[9..]) == wanted.to_string()).then_some(stream);
            opened.is_some()
        });
        opened
    };
    let one = opened_with(200);
    let _two = opened_with(200);
    let three = opened_with(429);
    drop((one, three));
    let _four = opened_with(200);
}

#[test]
fn methods_of_the_table_are_http_methods() {
    assert!(routes().all(|route| matches!(route.method, Method::Get | Method::Put)));
    let mut seen = BTreeSet::new();
    assert!(routes().all(|route| seen.insert((route.method.name(), route.path))), "a route twice");
    let operations: BTreeSet<_> = routes().map(|route| route.words.operation).collect();
    assert_eq!(operations.len(), TABLE.len());
}

/// What is to be probed comes by one parameter of three.
#[test]
fn what_is_probed() {
    use crate::service::ProbeWhat;
    let bench = Bench::new(patient());
    for (query, what) in [
        ("", ProbeWhat::Host),
        ("?vf=", ProbeWhat::Host),
        ("?path=%2Fsys%2Fx", ProbeWhat::Path("/sys/x".to_owned())),
        ("?vf=0000:41:00.3", ProbeWhat::Vf("0000:41:00.3".to_owned())),
        ("?pf=0000:41:00.0&vf=", ProbeWhat::Pf("0000:41:00.0".to_owned())),
    ] {
        assert_eq!(bench.ask("GET", &format!("/api/v1/host.probe{query}"), "").status, 200, "{query}");
        assert_eq!(bench.model.inner.lock().unwrap().probed, what, "{query}");
    }
    let answer = bench.ask("GET", "/api/v1/host.probe?vf=a&pf=b", "");
    assert_eq!(
        (answer.status, answer.fault().code, answer.fault().field.as_deref()),
        (400, Code::InvalidField, Some("pf"))
    );
}

/// Devices of both kinds go to the monitor as what they are.
#[test]
fn both_kinds_of_device() {
    let bench = Bench::new(patient());
    let config = r#"{"payload": {"kernel": "k"}, "devices": [{"path": "/sys/bus/pci/devices/0000:41:00.3"}]}"#;
    assert_eq!(bench.ask("PUT", "/api/v1/vm.create", config).status, 204);
    for body in [
        r#"{"vf": {"address": "0000:41:00.4"}, "path": null}"#,
        r#"{"vfio_user": "/s", "irq": "auto"}"#,
        r#"{"path": "/sys/bus/pci/devices/0000:41:00.4", "iommu": true}"#,
        r#"{"path": "/dev/vfio/1"}"#,
        r#"{"vfio": {"address": "0000:41:00.3"}, "colour": 1}"#,
    ] {
        assert_eq!(bench.ask("PUT", "/api/v1/vm.add-device", body).status, 400, "{body}");
    }
    for body in [
        r#"{"vf": {"address": "0000:41:00.4"}}"#,
        r#"{"vfio_user": {"socket": "/s", "pf_socket": "/p", "member": 1}}"#,
        r#"{"vfio_user": "/s"}"#,
        r#"{"path": "/sys/bus/pci/devices/0000:41:00.5", "iommu": false, "id": "n"}"#,
    ] {
        assert_eq!(bench.ask("PUT", "/api/v1/vm.add-device", body).status, 204, "{body}");
    }
    let config = bench.model.inner.lock().unwrap().config.clone().unwrap();
    assert_eq!((config.legacy_virtio.len(), config.devices.len()), (2, 3));
    let crate::FunctionOrigin::Host(vfio) = &config.devices[2].origin else { panic!("no function of the host") };
    assert_eq!(vfio.address, "0000:41:00.5");
}
