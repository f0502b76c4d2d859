// SPDX-License-Identifier: Apache-2.0
//! Filters, and what lands in a writer.
use std::io::Write;
use std::sync::{Arc, Mutex};

use super::*;

#[derive(Clone, Default)]
pub(super) struct Lines(pub(super) Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(verbosity: u8, text: Option<&str>) -> (String, Vec<String>) {
    let lines = Lines::default();
    let writer = lines.clone();
    let (filter, unknown) = filter(verbosity, text);
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || writer.clone())
        .json()
        .flatten_event(true)
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        tracing::debug!(target: "devices::transitional::fault", device = "net0", "one");
        tracing::info!(target: "devices::admin", "two");
        tracing::warn!(target: "vmm::machine", "three");
    });
    (String::from_utf8(lines.0.lock().unwrap().clone()).unwrap(), unknown)
}

#[test]
fn parts_have_levels_of_their_own() {
    let seen = |verbosity, text| {
        let (lines, unknown) = logged(verbosity, text);
        assert!(unknown.is_empty());
        ["one", "two", "three"].map(|word| lines.contains(word))
    };
    assert_eq!(seen(0, None), [false, false, true]);
    assert_eq!(seen(1, None), [false, true, true]);
    assert_eq!(seen(2, None), [true, true, true]);
    assert_eq!(seen(0, Some("transitional=debug")), [true, false, true]);
    assert_eq!(seen(0, Some("error,admin=info")), [false, true, false]);
    assert_eq!(seen(2, Some("machine=off,devices=info")), [false, true, false]);
    assert_eq!(seen(0, Some("devices::transitional=trace")), [true, false, true]);
}

#[test]
fn what_means_nothing_is_said_and_the_rest_counts() {
    let (lines, unknown) = logged(0, Some("admin=loud, transitional=debug"));
    assert_eq!(unknown, ["admin=loud"]);
    assert!(lines.contains("one"));
}

#[test]
fn json_lines_have_level_target_and_fields() {
    let (lines, _) = logged(0, Some("transitional=debug"));
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first["level"], "DEBUG");
    assert_eq!(first["target"], "devices::transitional::fault");
    assert_eq!((&first["device"], &first["message"]), (&"net0".into(), &"one".into()));
    assert!(first["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn every_part_is_a_module_path() {
    for (part, module) in PARTS {
        assert!(expanded(&format!("{part}=info")).parse::<tracing_subscriber::filter::Directive>().is_ok());
        assert!(module.split("::").next().is_some_and(|krate| ["devices", "vmm", "arch"].contains(&krate)));
    }
}
