// SPDX-License-Identifier: Apache-2.0
//! Summaries of recorded replays, whose recordings `devices` holds against what is traced now, and of files that are
//! no traces.

use std::io::{Cursor, Read};

use serde_json::Value;

use super::*;
use vmm::trace::line::Sent;

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../../../devices/src/transitional/tests/replay/recorded/", $name, ".jsonl"))
    };
}

fn of(text: &str) -> Summary {
    read(Cursor::new(text)).unwrap()
}

fn lives(text: &str) -> Vec<(Option<&'static str>, bool)> {
    let summary = of(text);
    assert_eq!((summary.devices.len(), summary.lost, summary.cut_off), (1, 0, false));
    summary.devices[0].lives.iter().map(|life| (life.looks_like, life.msix)).collect()
}

#[test]
fn recorded_drivers_look_like_themselves() {
    assert_eq!(lives(recorded!("linux_msix")), [(Some("Linux 2.6.31 or later, with MSI-X"), true)]);
    let either = "Linux 3.1 or later, or FreeBSD 13 or later, on the interrupt line";
    assert_eq!(lives(recorded!("linux_intx")), [(Some(either), false)]);
    let rhel = "Linux before 3.1 on the interrupt line, RHEL 4 and 5 among them";
    assert_eq!(lives(recorded!("rhel5_disk")), [(Some(rhel), false)]);
    assert_eq!(lives(recorded!("ipxe")), [(Some("iPXE before 2026"), false); 2]);
    assert_eq!(lives(recorded!("seabios_then_rhel5")), [(Some("SeaBIOS"), false), (Some(rhel), false)]);
    assert_eq!(lives(recorded!("windows_msix")), [(Some("Windows, NetKVM"), true); 2]);
    assert_eq!(lives(recorded!("freebsd_9_net")), [(Some("FreeBSD before 13, with MSI-X"), true)]);
}

#[test]
fn a_probe_that_differs_in_one_thing_is_not_given_a_name() {
    // The same, but one status is written unseen: no Linux does that.
    let text = recorded!("linux_msix");
    let mut reads = 0;
    let changed: String = text
        .lines()
        .filter(|line| {
            let is_read = line.contains("\"dir\":\"read\"") && line.contains("\"register\":\"device_status\"");
            reads += u64::from(is_read);
            !(is_read && reads == 2)
        })
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(lives(&changed), [(None, true)]);
}

/// The text after the line that `after` is in, once it is put in behind that line.
fn with_line(text: &str, after: impl Fn(&str) -> bool, line: &str) -> String {
    let more = |old: &str| if after(old) { format!("{old}\n{line}\n") } else { format!("{old}\n") };
    text.lines().map(more).collect()
}

fn writes(line: &str, register: &str) -> bool {
    line.contains("\"dir\":\"write\"") && line.contains(&format!("\"register\":\"{register}\""))
}

#[test]
fn old_orders_are_told() {
    let after_probe = "DRIVER_OK after the driver's probe, as Linux before 3.19 and firmware";
    let features = "features after the driver's probe, as Linux before 2.6.31";
    let orders = |text: &str| of(text).devices[0].lives.iter().map(|life| life.old_order).collect::<Vec<_>>();
    // A card whose driver fills its queue in the probe, firmware that does, and a disk that is not used there.
    assert_eq!(orders(recorded!("linux_msix")), [Some(after_probe)]);
    assert_eq!(orders(recorded!("ipxe")), [Some(after_probe); 2]);
    assert_eq!(orders(recorded!("rhel5_disk")), [None]);

    // The same disk, whose probe reads the partition table.
    let disk = recorded!("rhel5_disk");
    let kick = recorded!("linux_msix").lines().find(|line| writes(line, "queue_notify")).unwrap();
    let early = with_line(disk, |line| writes(line, "queue_address"), &kick.replace("\"net\"", "\"block\""));
    let summary = of(&early);
    let lives = &summary.devices.iter().find(|device| device.lives[0].old_order.is_some()).unwrap().lives;
    assert_eq!((lives[0].old_order, lives[0].early_kicks), (Some(after_probe), 1));
    assert!(print::text(&summary).contains(&format!("old order    {after_probe}; 1 kick before DRIVER_OK")));

    // And one that accepts its features after DRIVER_OK.
    let accepts = disk.lines().find(|line| writes(line, "driver_features")).unwrap();
    let without: String = disk.lines().filter(|line| *line != accepts).map(|line| format!("{line}\n")).collect();
    let last = without.lines().rev().find(|line| writes(line, "device_status") && line.contains("\"value\":7"));
    let last = last.unwrap().to_owned();
    let late = with_line(&without, |line| line == last, accepts);
    assert_eq!(orders(&late), [Some(features)]);
    let (looks_like, accepted) = (of(&late).devices[0].lives[0].looks_like, of(&late).devices[0].lives[0].accepted);
    assert_eq!(looks_like, Some("Linux 2.6.26 to 2.6.30, on the interrupt line"));
    assert_eq!(accepted, of(disk).devices[0].lives[0].accepted);
}

#[test]
fn the_probe_of_linux_is_told_in_full() {
    let summary = of(recorded!("linux_msix"));
    let device = &summary.devices[0];
    let life = &device.lives[0];
    let steps: Vec<&str> = life.steps.iter().map(|step| step.what.as_str()).collect();
    let wanted = [
        "reset",
        "status ACKNOWLEDGE",
        "status ACKNOWLEDGE DRIVER",
        "reads the features",
        "accepts features",
        "MSI-X on",
        "queue 0 at 0x100000, 256 entries",
        "queue 1 at 0x110000, 256 entries",
        "queue 2 at 0x120000, 64 entries",
        "kicks queue 0",
        "status ACKNOWLEDGE DRIVER DRIVER_OK",
    ];
    assert_eq!(steps, wanted);
    assert_eq!(life.accepted_names, ["MAC", "STATUS", "CTRL_VQ"]);
    assert!(life.offered_names.iter().any(|name| name == "MRG_RXBUF"));
    assert_eq!(life.queues[&1], life::Queue { size: Some(256), address: 0x11_0000, vector: Some(2) });
    assert_eq!((life.queues.len(), life.queues[&2].vector, life.config_vector), (3, None, Some(0)));
    // docs/traces.md: 36 accesses, 25 commands, of which the kick and DRIVER_OK itself come last.
    assert_eq!((life.early_kicks, life.probe_accesses, life.isr_reads), (1, 35, 0));
    assert_eq!((device.resets, life.ended.map(|(_, by)| by)), (2, Some("reset by the driver")));
    assert_eq!(device.registers["queue_address"].writes, 6);
    assert!(device.latency_ns[&Sent::Admin].percentiles().p99 > 0);
    assert!(device.errors.is_empty());
    let totals = device.totals.as_ref().unwrap();
    assert_eq!((totals.reads, totals.writes, totals.commands >= device.commands), (device.reads, device.writes, true));
}

#[test]
fn the_text_and_the_json_say_the_same() {
    let summary = of(recorded!("seabios_then_rhel5"));
    let text = print::text(&summary);
    let needed =
        ["looks like   SeaBIOS", "queue 0      128 entries at 0x100000", "accepted     not written", "probe 2"];
    for needed in needed {
        assert!(text.contains(needed), "{needed}:\n{text}");
    }
    let json: Value = serde_json::to_value(&summary).unwrap();
    let device = &json["devices"][0];
    assert_eq!(device["kind"], "block");
    assert_eq!(device["lives"][1]["accepted_names"], serde_json::json!(["SEG_MAX", "BLK_SIZE"]));
    assert_eq!(device["latency_ns"]["admin"]["count"].as_u64().unwrap(), 28);
}

/// A picture is XML with balanced elements, and names from a trace are not part of its language.
#[test]
fn the_picture_is_well_formed_whatever_names_there_are() {
    for text in [recorded!("linux_msix"), recorded!("ipxe"), recorded!("windows_msix")] {
        let evil = text.replace("\"stack\"", "\"<script>&'\\\"\\u0001\"");
        let picture = svg::draw(&of(&evil));
        assert!(!picture.contains("<script") && picture.contains("&lt;script&gt;&amp;"));
        assert!(!picture.contains(['\u{1}']) && !picture.contains("NaN") && !picture.contains("inf"));
        let mut open = Vec::new();
        for element in picture.split('<').skip(1) {
            let inside = element.split('>').next().unwrap();
            match inside.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name)),
                None if inside.ends_with('/') => {}
                None => open.push(inside.split_whitespace().next().unwrap()),
            }
        }
        assert!(open.is_empty(), "{open:?}");
        assert!(picture.contains("DRIVER_OK at ") && !picture.contains("href"));
    }
}

fn error(text: &str) -> String {
    read(Cursor::new(text)).unwrap_err().to_string()
}

const START: &str = r#"{"event":"start","format":1,"started":"2026-01-02T03:04:05Z"}"#;
const RESET: &str = r#"{"event":"reset","t":5,"device":"d","what":"machine"}"#;

#[test]
fn what_is_no_trace_is_refused_with_the_number_of_the_line() {
    assert_eq!(error(""), "the file is empty: no trace was recorded");
    assert!(error("# heirloom legacy accesses; seconds since x\n").contains("--trace-format json"));
    assert!(error("ELF\n").starts_with("line 1 is not a line of a trace: "));
    assert!(error(&format!("{RESET}\n")).contains("line 1 is not a line of a trace: a trace begins with"));
    assert!(error(&format!("{START}\n{RESET}\n{{}}\n")).starts_with("line 3 is not a line of a trace: missing field"));
    assert!(error(&format!("{START}\n{RESET}\n\n{RESET}\n")).starts_with("line 3"));
    assert!(error(&format!("{START}\n{START}\n")).contains("line 2 is not a line of a trace: a second trace"));
    assert!(error(&START.replace(":1,", ":2,")).contains("format 2, and this heirloom reads format 1"));
    assert!(error(&format!("{START}\n{}\n", RESET.replace("\"t\":5", "\"t\":-5"))).starts_with("line 2"));
    assert!(error(&format!("{START}\n{}\n", "x".repeat(100_000))).contains("longer than 65536 bytes"));
    let many: String = (0..65).map(|n| format!("{}\n", RESET.replace("\"d\"", &format!("\"d{n}\"")))).collect();
    assert!(error(&format!("{START}\n{many}")).contains("line 66 is not a line of a trace: device 'd64' is one more"));
}

#[test]
fn a_trace_whose_recorder_was_killed_is_summarized() {
    let whole = recorded!("linux_msix");
    let summary = of(&whole[..whole.len() - 700]);
    assert!(summary.cut_off);
    assert_eq!(summary.devices[0].lives.len(), 1);
    assert!(print::text(&summary).contains("heirloom was killed"));
}

#[test]
fn losses_and_failures_are_told() {
    let lines = [
        START,
        r#"{"event":"device","t":1,"device":"d","kind":"net"}"#,
        r#"{"event":"access","t":10,"vcpu":0,"device":"d","dir":"read","offset":0,"width":4,"register":"device_features","value":4294967295,"sent":"admin","latency_ns":100000000,"command_count":1,"error":"timeout"}"#,
        r#"{"event":"faulted","t":20,"device":"d","reason":"no answer\u001b[31m in time"}"#,
        r#"{"event":"lost","t":30,"count":7}"#,
        r#"{"event":"reset","t":40,"device":"d","what":"function"}"#,
        r#"{"event":"recovered","t":50,"device":"d"}"#,
    ];
    let summary = of(&lines.join("\n"));
    let device = &summary.devices[0];
    assert_eq!((summary.lost, device.faults, device.function_resets, device.errors["timeout"]), (7, 1, 1, 1));
    let text = print::text(&summary);
    assert!(
        text.contains("WARNING: 7 records were lost") && text.contains("timeout 1; out of service 1 times"),
        "{text}"
    );
    assert!(text.contains("records were lost about here") && text.contains("back in service"), "{text}");
    assert!(!text.contains('\u{1b}'), "nothing of a trace controls the terminal");
}

/// Lines without end, each made when it is read.
struct Endless {
    left: u64,
    pending: Cursor<Vec<u8>>,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.pending.read(buffer)?;
        if count != 0 || self.left == 0 {
            return Ok(count);
        }
        self.left -= 1;
        let (t, register) = (
            1_000_000 * (400_000 - self.left),
            if self.left.is_multiple_of(2) { "isr_status" } else { "queue_notify" },
        );
        let (dir, status) =
            (if self.left.is_multiple_of(2) { "read" } else { "write" }, self.left.is_multiple_of(1000));
        // Every thousandth is a reset, a probe and another register's name.
        let line = match status {
            true => format!(
                "{{\"event\":\"access\",\"t\":{t},\"vcpu\":0,\"device\":\"d\",\"dir\":\"write\",\"offset\":18,\"width\":1,\
                 \"register\":\"device_status\",\"value\":{},\"sent\":\"admin\",\"latency_ns\":7}}\n",
                self.left / 1000 % 2
            ),
            false => format!(
                "{{\"event\":\"access\",\"t\":{t},\"vcpu\":0,\"device\":\"d\",\"dir\":\"{dir}\",\"offset\":19,\"width\":1,\
                 \"register\":\"{register}\",\"value\":0,\"sent\":\"isr\",\"latency_ns\":{}}}\n",
                self.left % 5000
            ),
        };
        self.pending = Cursor::new(line.into_bytes());
        self.pending.read(buffer)
    }
}

#[test]
fn a_long_trace_is_read_in_bounded_memory() {
    let input = Endless { left: 400_000, pending: Cursor::new(format!("{START}\n").into_bytes()) };
    let summary = read(BufReader::new(input)).unwrap();
    assert_eq!(summary.lines, 400_001);
    let device = &summary.devices[0];
    assert_eq!((device.reads + device.writes, device.resets), (400_000, 200));
    assert_eq!(device.lives.len(), 16);
    assert!(device.lives_left_out >= 180, "{}", device.lives_left_out);
    assert!(device.timeline.marks.len() <= 1500 && device.registers.len() <= 129);
    assert!(device.lives.iter().all(|life| life.steps.len() <= 48 && life.queues.len() <= 1024));
    let text = print::text(&summary);
    assert!(text.contains("probes are left out here") && text.len() < 100_000, "{}", text.len());
    assert!(svg::draw(&summary).len() < 2_000_000);
}
