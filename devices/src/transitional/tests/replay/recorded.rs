// SPDX-License-Identifier: Apache-2.0
//! Traces of replayed drivers, as `--trace-legacy` would write them, are kept in `recorded/` for the tests of
//! `heirloom trace summarize`. Here they are held against what is traced now: all but times has to be the same.
//! `HEIRLOOM_RECORD=1` writes them again.

use std::path::Path;

use super::{Guest, Irq, firmware, linux, windows};
use crate::transitional::layout::decode::Target;
use crate::transitional::telemetry::trace::{Tracer, What, line::Line};

/// The lines of `drive`, with the shadow.
fn record(make: fn(bool) -> Guest, drive: impl Fn(&mut Guest)) -> Vec<Line> {
    let mut guest = make(true);
    let tracer = Tracer::new(100_000);
    guest.device().trace(&tracer);
    tracer.enable(true);
    drive(&mut guest);
    guest.device().shutdown();
    let records: Vec<_> = std::iter::from_fn(|| tracer.take()).collect();
    assert_eq!(tracer.take_lost(), 0);
    // A driver that polls looks as often as the machine is fast; a few of these reads say enough.
    let mut idle = 0;
    let records = records.into_iter().filter(|record| {
        let is_idle =
            matches!(&record.what, What::Access(a) if a.transfer.target == Target::Isr && a.transfer.value == 0);
        idle = if is_idle { idle + 1 } else { 0 };
        idle <= 3
    });
    let records: Vec<_> = records.collect();
    let introduced = Line::device(0, &records[0].device);
    let start = Line::start("2026-01-02T03:04:05.678901234Z".to_owned());
    [start, introduced].into_iter().chain(records.iter().map(Line::from)).collect()
}

/// Without what differs from run to run: times, and how often somebody looks until an interrupt is there.
fn essence(lines: &[Line]) -> Vec<Line> {
    let mut lines = lines.to_vec();
    for line in &mut lines {
        match line {
            Line::Access(access) => (access.t, access.latency_ns) = (0, 0),
            Line::Device { t, .. }
            | Line::Interrupt { t, .. }
            | Line::Reset { t, .. }
            | Line::Msix { t, .. }
            | Line::Faulted { t, .. }
            | Line::Recovered { t, .. }
            | Line::Lost { t, .. } => *t = 0,
            Line::Totals(totals) => totals.t = 0,
            Line::Start { .. } => {}
        }
    }
    // Interrupts are raised by another thread's doing: where they stand among accesses is a matter of luck.
    lines.retain(|line| !matches!(line, Line::Interrupt { .. } | Line::Totals(_)));
    lines.retain(|line| !matches!(line, Line::Access(access) if access.register == "isr_status"));
    lines
}

fn check(name: &str, make: fn(bool) -> Guest, drive: impl Fn(&mut Guest)) {
    let now = record(make, drive);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/transitional/tests/replay/recorded").join(name);
    if std::env::var_os("HEIRLOOM_RECORD").is_some() {
        let text: String = now.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
        std::fs::write(&path, text).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let kept: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(essence(&kept), essence(&now), "{name}: HEIRLOOM_RECORD=1 writes it anew");
}

#[test]
fn linux_msix() {
    check("linux_msix.jsonl", Guest::net, |guest| {
        guest.run("bm");
        guest.run(linux::NET_START);
        guest.run(linux::NET_MSIX);
        guest.ask_the_network(1, Irq::Msix(1));
        guest.ask_again(2, Irq::Msix(1));
        guest.run(linux::UNLOAD_MSIX);
    });
}

#[test]
fn linux_intx() {
    check("linux_intx.jsonl", Guest::net, |guest| {
        guest.run("W8[18]=0 R8[18]=0"); // 3.1 and later read back
        guest.run("W8[18]=0 R8[18]=0");
        guest.run(linux::NET_START.split_once("W8[18]=0").unwrap().1);
        guest.run(linux::NET_INTX);
        guest.ask_the_network(1, Irq::Intx);
        guest.ask_again(2, Irq::Intx);
        guest.run(linux::UNLOAD_INTX);
    });
}

#[test]
fn rhel5_disk() {
    check("rhel5_disk.jsonl", Guest::disk, |guest| {
        guest.run(linux::RHEL_DISK);
        for sector in 0..8 {
            guest.read_sector(sector, sector, Irq::Intx);
        }
        guest.run("W8[18]=0 W16[14]=0 W32[8]=0");
    });
}

#[test]
fn ipxe() {
    check("ipxe.jsonl", Guest::net, |guest| {
        guest.run(firmware::IPXE_PROBE);
        for _ in 0..2 {
            guest.run(firmware::IPXE_OPEN);
            guest.ask_the_network(1, Irq::Poll);
            guest.run(firmware::IPXE_CLOSE);
        }
    });
}

#[test]
fn seabios_then_rhel5() {
    check("seabios_then_rhel5.jsonl", Guest::disk, |guest| {
        guest.run(firmware::SEABIOS_DISK);
        for sector in 0..8 {
            guest.read_sector(sector, sector, Irq::Poll);
        }
        guest.run(linux::RHEL_DISK);
        guest.read_sector(9, 9, Irq::Intx);
        guest.run("W8[18]=0 W16[14]=0 W32[8]=0");
    });
}

#[test]
fn windows_msix() {
    check("windows_msix.jsonl", Guest::net, |guest| {
        for _ in 0..2 {
            windows::probe_with_msix(guest);
        }
    });
}

#[test]
fn freebsd_9_net() {
    check("freebsd_9_net.jsonl", Guest::net, |guest| {
        guest.run(super::freebsd::V9_NET);
        guest.ask_the_network(1, Irq::Msix(1));
        guest.run(super::freebsd::V9_NET_DETACH);
    });
}
