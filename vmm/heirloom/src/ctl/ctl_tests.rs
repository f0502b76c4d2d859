// SPDX-License-Identifier: Apache-2.0
use api::{Code, Fault};
use serde_json::json;

use super::*;

#[test]
fn parameters_are_encoded() {
    assert_eq!(with_parameter("vm.legacy", "id", None), "vm.legacy");
    assert_eq!(with_parameter("vm.legacy", "id", Some("net0")), "vm.legacy?id=net0");
    assert_eq!(with_parameter("vm.legacy", "id", Some("a b&c%")), "vm.legacy?id=a%20b%26c%25");
    let (_, query) = with_parameter("host.probe", "path", Some("/sys/\u{e9}+=?#"))
        .split_once('?')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    assert_eq!(api::decode::query(&query, &["path"]).unwrap(), [("path", "/sys/\u{e9}+=?#".to_owned())]);
}

#[test]
fn exit_codes() {
    let fault = |code| CtlError::Client(ClientError::Fault(Box::new(Fault::new(code, "no"))));
    let foreign = |status| CtlError::Client(ClientError::Foreign { status, body: String::new() });
    for (error, code) in [
        (fault(Code::WrongState), 4),
        (fault(Code::InvalidField), 4),
        (fault(Code::Internal), 1),
        (fault(Code::PfUnavailable), 1),
        (foreign(418), 4),
        (foreign(502), 1),
        (CtlError::Client(ClientError::Timeout), 1),
        (CtlError::Config(ConfigError::Usage(String::new())), 2),
        (CtlError::Client(ClientError::Connect { path: "s".into(), source: io::ErrorKind::NotFound.into() }), 3),
    ] {
        assert_eq!(error.code(), code, "{error:?}");
    }
}

/// The examples of the API's own table, as people see them.
#[test]
fn tables_of_the_documented_replies() {
    let example = |name: &str| {
        let route = api::service::routes().find(|route| route.name() == name).unwrap();
        let api::routes::Content::Json(body) = route.output.successes[0].content else { panic!("{name}") };
        serde_json::from_str::<Value>(body.examples[0].1).unwrap()
    };
    let info = table::info(&example("vm.info"));
    assert!(info.contains("state        Running\n") && info.contains("memory       512M\n"), "{info}");
    assert!(info.contains("net0    0000:00:01.0  net   loopback\n"), "{info}");
    let legacy = table::legacy(&example("vm.legacy"));
    for line in [
        "disk",
        "kicks           ioeventfd 20\n",
        "status          ACKNOWLEDGE DRIVER DRIVER_OK\n",
        "errors          none\n",
    ] {
        assert!(legacy.contains(line), "{legacy}");
    }
    assert!(table::counters(&example("vm.counters")).contains("net0    reads     49\n"));
    let probe = table::probe(&example("host.probe"));
    assert!(probe.contains("fail  kvm      /dev/kvm does not exist\n") && probe.ends_with("NOT usable\n"), "{probe}");
    assert!(probe.contains("pass  vf_bar0  0000:41:00.3: absent\n"), "{probe}");
    assert_eq!(table::ping(&example("vmm.ping")), "heirloom 0.1.0, process 4711\n");
}

#[test]
fn tables_of_replies_that_are_none_of_ours() {
    for value in [json!(null), json!([]), json!({}), json!("x"), json!([1, {}]), json!({"checks": 1, "config": []})] {
        for show in [table::info, table::counters, table::legacy, table::probe, table::ping, table::device] {
            show(&value);
        }
    }
}

/// An operation that has no words here is a verb all the same: with these two, which have some, in its place.
#[test]
fn operations_of_the_table_are_verbs_with_their_parameters_body_and_reply() {
    let asked = |route: &'static Route, words: &[&str]| {
        let command = RouteVerb::command("verb", route).no_binary_name(true);
        command.try_get_matches_from(words).map(|matches| of_the_table(&RouteVerb::of(route, &matches)))
    };
    let request = asked(&Screen::ROUTE, &["--attributes", "a b"]).unwrap();
    assert_eq!((request.method, request.target.as_str()), ("GET", "/api/v1/vm.screen?attributes=a%20b"));
    assert_eq!(request.body, None);
    assert_eq!((request.show)(&json!({"lines": ["a", "b"], "rows": 25})), "lines  a b\nrows   25\n");
    assert_eq!(asked(&Screen::ROUTE, &[]).unwrap().target, "/api/v1/vm.screen");
    assert!(asked(&Screen::ROUTE, &["--other", "1"]).is_err());
    let request = asked(&RemoveDevice::ROUTE, &[r#"{"id":"net0"}"#]).unwrap();
    assert_eq!((request.method, request.body.as_deref()), ("PUT", Some(r#"{"id":"net0"}"#)));
    assert!(asked(&RemoveDevice::ROUTE, &[]).is_err(), "it needs its body");
}
