// SPDX-License-Identifier: Apache-2.0
//! What probes cost in admin commands, with and without the shadow. `docs/traces.md` has the table;
//! the test fails if a number in it is not the one counted.

use super::{Guest, firmware, linux};
use crate::transitional::DeviceCounter;

const DOCUMENT: &str = include_str!("../../../../../docs/traces.md");

/// Commands that `device` needed so far, and reads it answered by itself.
fn counted(guest: &Guest) -> (u64, u64) {
    let accesses = guest.device().report();
    assert_eq!(
        accesses.count(DeviceCounter::Commands),
        guest.stack.commands(),
        "what was sent is what the PF answered"
    );
    (accesses.count(DeviceCounter::Commands), accesses.count(DeviceCounter::ShadowReads))
}

/// A line of the table: guest accesses, commands without and with the shadow, and those of a second
/// probe after the device was reset and left.
fn row(name: &str, make: fn(bool) -> Guest, probe: &[&str]) -> String {
    let [without, with] = [false, true].map(|shadow| {
        let mut guest = make(shadow);
        let mut costs = Vec::new();
        for _ in 0..2 {
            let (before, _) = counted(&guest);
            probe.iter().for_each(|trace| guest.run(trace));
            costs.push(counted(&guest).0 - before);
            guest.run("W8[18]=0 -msix");
        }
        costs
    });
    let text = probe.concat();
    let accesses = text.lines().flat_map(|line| line.split('#').next().unwrap().split_whitespace());
    let accesses = accesses.filter(|word| word.contains('[')).count();
    format!("| {name} | {accesses} | {} | {} | {} | {} |", without[0], with[0], without[1], with[1])
}

#[test]
fn the_table_in_docs_traces_is_what_is_counted() {
    let rows = [
        row("Linux 2.6.31 to 3.4, network, MSI-X", Guest::net, &["bm", linux::NET_START, linux::NET_MSIX]),
        row("Linux 2.6.31 to 3.4, network, INTx", Guest::net, &["bm", linux::NET_START, linux::NET_INTX]),
        row("RHEL 4 and 5, network", Guest::net, &[linux::NET_START, linux::NET_INTX]),
        row("RHEL 4 and 5, disk", Guest::disk, &[linux::RHEL_DISK]),
        row("iPXE before 2026, network, probe and open", Guest::net, &[firmware::IPXE_PROBE, firmware::IPXE_OPEN]),
        row("SeaBIOS, disk", Guest::disk, &[firmware::SEABIOS_DISK]),
    ];
    let missing: Vec<_> = rows.iter().filter(|row| !DOCUMENT.lines().any(|line| line == row.as_str())).collect();
    assert!(missing.is_empty(), "docs/traces.md lacks or contradicts:\n{}", rows.join("\n"));
}

#[test]
fn polling_costs_nothing_either_way() {
    for shadow in [false, true] {
        let mut guest = Guest::net(shadow);
        guest.run(firmware::IPXE_PROBE);
        guest.run(firmware::IPXE_OPEN);
        let (before, _) = counted(&guest);
        (0..1000).for_each(|_| guest.run("R8[19]=0"));
        assert_eq!(counted(&guest).0, before);
    }
}
