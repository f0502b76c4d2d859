// SPDX-License-Identifier: Apache-2.0
//! The page of a real machine, read by a parser that accepts nothing but the format.
use std::collections::BTreeMap;

use api::operations::{Counters, Metrics, Pause};

use super::super::test_engine::*;
use super::*;

/// Name, sorted labels, value.
type Sample = (String, BTreeMap<String, String>, f64);

/// What a page says: kinds of families, and samples in order.
#[derive(Debug, Default)]
struct Parsed {
    kinds: BTreeMap<String, String>,
    samples: Vec<Sample>,
}

fn is_name(text: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    text.starts_with(first) && text.chars().all(|c| first(c) || c.is_ascii_digit())
}

/// The labels at the start of `text`, after the brace, and what follows the closing one.
fn labels(mut text: &str) -> (BTreeMap<String, String>, &str) {
    let mut found = BTreeMap::new();
    loop {
        let (name, rest) = text.split_once("=\"").expect("label=\"");
        assert!(is_name(name) && !name.contains(':'), "{name}");
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next().expect("an open quote") {
                (at, '"') => break at,
                (_, '\\') => match chars.next().expect("an escape").1 {
                    'n' => value.push('\n'),
                    c @ ('\\' | '"') => value.push(c),
                    c => panic!("\\{c}"),
                },
                (_, c) => value.push(c),
            }
        };
        assert!(found.insert(name.to_owned(), value).is_none(), "{name} twice");
        match rest[end + 1..].split_at(1) {
            (",", rest) => text = rest,
            ("}", rest) => return (found, rest),
            (other, _) => panic!("{other} after a label"),
        }
    }
}

fn parse(page: &str) -> Parsed {
    assert!(page.ends_with('\n'));
    let mut parsed = Parsed::default();
    let mut helped = String::new();
    let mut family = String::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(is_name(name) && !help.is_empty() && !parsed.kinds.contains_key(name), "{line}");
            name.clone_into(&mut helped);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, helped, "HELP comes right before TYPE");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(kind != "counter" || name.ends_with("_total"), "{line}");
            parsed.kinds.insert(name.to_owned(), kind.to_owned());
            name.clone_into(&mut family);
        } else {
            let split = line.find(['{', ' ']).unwrap();
            let (name, rest) = line.split_at(split);
            let (labels, rest) = match rest.strip_prefix('{') {
                Some(rest) => labels(rest),
                None => (BTreeMap::new(), rest),
            };
            let value: f64 = rest.strip_prefix(' ').unwrap().parse().unwrap();
            let base = match parsed.kinds[&family].as_str() {
                "histogram" => ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap(),
                _ => name,
            };
            assert_eq!(base, family, "a sample belongs to the family above it");
            parsed.samples.push((name.to_owned(), labels, value));
        }
    }
    let mut series: Vec<_> = parsed.samples.iter().map(|(name, labels, _)| (name, labels)).collect();
    series.sort();
    series.dedup();
    assert_eq!(series.len(), parsed.samples.len(), "a series is there twice");
    parsed
}

impl Parsed {
    fn sum(&self, name: &str, wanted: &[(&str, &str)]) -> f64 {
        assert!(self.samples.iter().any(|(n, ..)| n == name), "no {name}");
        let fits = |labels: &BTreeMap<String, String>| {
            wanted.iter().all(|(label, value)| labels.get(*label).is_some_and(|v| v == value))
        };
        self.samples.iter().filter(|(n, labels, _)| n == name && fits(labels)).map(|(_, _, value)| value).sum()
    }
}

#[test]
fn the_page_of_a_machine_at_work_agrees_with_its_counters() {
    let Some(engine) = TestEngine::start() else { return };
    let idle = parse(&engine.control.ask(Metrics).unwrap().0);
    assert_eq!(idle.sum("heirloom_vm_state", &[("state", "NotCreated")]), 1.0);
    assert_eq!(idle.sum("heirloom_vm_state", &[]), 1.0);
    engine.create_and_boot(READ_STATUS);
    wait_until(|| engine.reads() > 500);
    engine.control.ask(Pause::default()).unwrap();
    let page = parse(&engine.control.ask(Metrics).unwrap().0);
    let counters = engine.control.ask(Counters).unwrap().0;
    let (net, vcpu) = (&counters["net0"], &counters["vcpu0"]);
    assert_eq!(page.sum("heirloom_vm_state", &[("state", "Paused")]), 1.0);
    assert_eq!(page.sum("heirloom_boots_total", &[]), 1.0);
    assert_eq!(page.sum("heirloom_vcpu_exits_total", &[("vcpu", "0")]), vcpu.values().sum::<u64>() as f64);
    assert_eq!(page.sum("heirloom_vcpu_exits_total", &[("kind", "port_in")]), vcpu["port_in"] as f64);
    let reads = net["reads"] as f64;
    let net0 = ("device", "net0");
    assert_eq!(page.sum("heirloom_legacy_accesses_total", &[net0, ("direction", "read")]), reads);
    assert_eq!(page.sum("heirloom_legacy_accesses_total", &[net0, ("register", "device_status")]), reads);
    let status = [net0, ("register", "device_status"), ("direction", "read")];
    assert_eq!(page.sum("heirloom_legacy_register_commands_total", &status), reads);
    let read_opcode = [("opcode", "LEGACY_COMMON_CFG_READ"), ("status", "ok")];
    assert_eq!(page.sum("heirloom_admin_commands_total", &read_opcode), reads);
    assert_eq!(page.sum("heirloom_admin_command_seconds_count", &read_opcode[..1]), reads);
    assert!(page.sum("heirloom_admin_command_seconds_sum", &read_opcode[..1]) > 0.0);
    assert_eq!(page.sum("heirloom_device_faulted", &[net0]), 0.0);
}

#[test]
fn histograms_grow_and_end_with_their_count() {
    let mut device_page = Page::default();
    device_page.family("h", "histogram", "x");
    let mut command = OpcodeStats { command: "READ", latency_sum_ns: 1_500_000_001, ..OpcodeStats::default() };
    command.latency_buckets[0] = 3;
    command.latency_buckets[2] = 2;
    command.latency_buckets[LATENCY_BOUNDS.len()] = 1;
    latency(&mut device_page, "h", "a\"b\\c\n", &command);
    let page = parse(&device_page.text);
    let buckets: Vec<_> = page.samples.iter().filter(|(name, ..)| name == "h_bucket").collect();
    let bound = |sample: &Sample| sample.1["le"].replace("+Inf", "inf").parse::<f64>().unwrap();
    assert!(buckets.windows(2).all(|pair| bound(pair[0]) < bound(pair[1]) && pair[0].2 <= pair[1].2));
    assert_eq!(buckets.iter().map(|b| b.2).collect::<Vec<_>>()[..4], [3.0, 3.0, 5.0, 5.0]);
    assert_eq!((bound(buckets[0]), buckets.last().unwrap().1["le"].as_str()), (2.5e-7, "+Inf"));
    assert_eq!((page.sum("h_count", &[]), buckets.last().unwrap().2), (6.0, 6.0));
    assert_eq!(page.sum("h_sum", &[]), 1.500000001);
    assert_eq!(page.samples[0].1["device"], "a\"b\\c\n", "labels are escaped");
}
