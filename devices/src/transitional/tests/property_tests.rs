// SPDX-License-Identifier: Apache-2.0
//! Random guests: whatever they do to BAR0, configuration space and the vector table, nothing panics,
//! no access below crosses a field, and no kick is made for a queue that is not set up.
use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::bus::{Access, Width};
use crate::pci::PciDevice;
use crate::transitional::tests::bench::{Bench, Setup};

#[derive(Clone, Debug)]
enum Op {
    Read(u64, Width),
    Write(u64, Width, u32),
    Config(u16, Width, u32),
    Msix(bool),
    Table(u64, Width, u64),
    Signal(usize),
}

fn width() -> impl Strategy<Value = Width> {
    prop_oneof![Just(Width::B1), Just(Width::B2), Just(Width::B4)]
}

fn value() -> impl Strategy<Value = u32> {
    prop_oneof![0..8_u32, Just(0), any::<u32>(), Just(7), Just(3)]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..140_u64, width()).prop_map(|(o, w)| Op::Read(o, w)),
        2 => (0..140_u64, width(), value()).prop_map(|(o, w, v)| Op::Write(o, w, v)),
        8 => (prop_oneof![Just((14, Width::B2)), Just((8, Width::B4)), Just((16, Width::B2)), Just((18, Width::B1))], value())
            .prop_map(|((o, w), v)| Op::Write(o, w, v)),
        1 => (0..64_u16, width(), any::<u32>()).prop_map(|(o, w, v)| Op::Config(o * 4, w, v)),
        1 => any::<bool>().prop_map(Op::Msix),
        1 => (0..0x900_u64, width(), any::<u64>()).prop_map(|(o, w, v)| Op::Table(o, w, v)),
        1 => (0..5_usize).prop_map(Op::Signal),
    ]
}

fn run(bench: &Bench, op: &Op) {
    match *op {
        Op::Read(offset, width) => drop(bench.read(offset, width)),
        Op::Write(offset, width, value) => bench.write(offset, width, value),
        Op::Config(offset, width, value) => bench.config_write(offset, width, value),
        Op::Msix(on) => bench.set_msix(on),
        Op::Table(offset, width, value) => {
            let access = Access { offset, width, vcpu: 0 };
            let _ = bench.device.bar_write(4, access, width.truncate(value));
        }
        Op::Signal(vector) => {
            bench.vf.signal(vector);
            bench.pump();
        }
    }
}

/// Follows the log: a doorbell may only ring for a queue whose last address was not 0.
fn kicks_are_for_queues_that_are_set_up(log: &[String], select: &mut u64, ready: &mut BTreeSet<u64>) {
    for line in log {
        let value = line.split('=').nth(1).and_then(|v| u64::from_str_radix(v, 16).ok());
        match line.split('=').next() {
            Some("W C14.2") => *select = value.unwrap(),
            Some("W C8.4") if value == Some(0) => drop(ready.remove(select)),
            Some("W C8.4") => drop(ready.insert(*select)),
            Some("W C18.1") if value == Some(0) => {
                ready.clear();
                *select = 0;
            }
            Some("vf store 2+1000.2") => assert!(ready.contains(&value.unwrap()), "{log:?}"),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_guests_do_no_harm(ops in prop::collection::vec(op(), 1..120), blk in any::<bool>(), ports in any::<bool>()) {
        let setup = if blk { Setup::blk() } else { Setup::net() };
        let bench = Setup { ports, ..setup }.build();
        let (mut select, mut ready) = (0, BTreeSet::new());
        for op in &ops {
            run(&bench, op);
            kicks_are_for_queues_that_are_set_up(&bench.log(), &mut select, &mut ready);
            prop_assert_eq!(bench.violations(), 0, "after {:?}", op);
        }
        let report = bench.device.report();
        prop_assert_eq!(report.faulted, None);
        prop_assert_eq!(report.errors, crate::contract::RegisterFailures::default());
        bench.device.shutdown();
        prop_assert!(!bench.line.is_high());
        prop_assert!(bench.ports.places().is_empty());
    }
}
