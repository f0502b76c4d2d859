// SPDX-License-Identifier: Apache-2.0
//! Tests of `version`.

use proptest::prelude::*;

use super::*;

#[test]
fn what_is_said_is_understood() {
    let ours = Capabilities::ours();
    assert_eq!(Capabilities::decode(&ours.encode(true)).unwrap(), ours);
    let without = Capabilities { write_multiple: false, ..ours };
    assert_eq!(Capabilities::decode(&ours.encode(false)).unwrap(), without, "not named if not proposed");
    assert_eq!(ours.encode(true).last(), Some(&0), "the NUL is part of it");
}

/// What QEMU 11 proposes, with a capability that nobody knows.
#[test]
fn a_proposal_like_qemus() {
    let text = br#"{"capabilities": {"max_msg_fds": 8, "max_data_xfer_size": 1048576, "pgsizes": 4096,
        "max_dma_maps": 65535, "migration": {"pgsize": 4096}, "write_multiple": true, "twin": {}}}"#;
    let found = Capabilities::decode(text).unwrap();
    let wanted = Capabilities { max_fds: 8, max_data: 1 << 20, write_multiple: true, ..Capabilities::default() };
    assert_eq!(found, wanted);
}

#[test]
fn silence_means_the_defaults() {
    for text in [&b""[..], b"\0", b"{}", b"{}\0", br#"{"capabilities":{}}"#] {
        assert_eq!(Capabilities::decode(text).unwrap(), Capabilities::default());
    }
    assert_eq!(Capabilities::decode(br#"{"capabilities":{"max_msg_fds":0}}"#).unwrap().max_fds, 1);
}

#[test]
fn nonsense_is_refused() {
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_TEXT));
    let deep = "[".repeat(MAX_TEXT);
    for text in [
        "[]",
        "{",
        "{\"capabilities\":3}",
        "{\"capabilities\":{\"max_msg_fds\":-1}}",
        "\0\0",
        &long,
        &deep,
        "{\"capabilities\":{\"write_multiple\":1}}",
        "{\"capabilities\":{\"pgsizes\":\"4096\"}}",
    ] {
        assert!(Capabilities::decode(text.as_bytes()).is_err(), "{}", &text[..text.len().min(60)]);
    }
}

proptest! {
    #[test]
    fn any_text_is_understood_or_refused(text in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = Capabilities::decode(&text);
    }
}
