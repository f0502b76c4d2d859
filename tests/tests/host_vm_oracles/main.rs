// SPDX-License-Identifier: Apache-2.0
//! Independent oracles for the software PF: stock Linux drivers own it and its VFs, which `heirloom soft-pf` offers over
//! vfio-user. `scripts/lib/oracles-in-host-vm.sh` brings this into the host VM, behind a server of either kind, and lets it
//! look at the server's report when the VM has ended. Elsewhere nothing here can run, and each test says so.

mod agreement;
// A small driver that is another test's; this one needs a part of it.
#[allow(dead_code, reason = "the other test uses the rest")]
#[path = "../vfio_host/disk.rs"]
mod disk;
mod linux;
mod out_of_reach;
mod report;

use std::env;
use std::fmt::Display;
use std::process::ExitCode;
use tests::trials;

/// What a test and its parts return; the text says what went wrong.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// Address of the PF, in the host VM.
pub(crate) const PF: &str = "HEIRLOOM_ORACLE_PF";
/// The server's report, after the host VM has ended.
pub(crate) const REPORT: &str = "HEIRLOOM_ORACLE_REPORT";

/// A test, and the variable that says it can run. They run in this order, on the same device.
type Test = (&'static str, &'static str, fn() -> Outcome);

const TESTS: &[Test] = &[
    ("net_linux_negotiates_admin_vq_and_sriov", PF, linux::negotiates),
    ("net_vfs_come_and_go_through_sysfs", PF, linux::vfs_come_and_go),
    ("net_pf_is_a_network_card", PF, linux::pf_pings),
    ("net_vfs_are_network_cards", PF, linux::vfs_ping),
    ("net_virtio_vfio_pci_agrees_with_admin_registers", PF, agreement::agrees),
    ("net_report_has_what_linux_asked_for", REPORT, report::net),
    ("blk_linux_negotiates_admin_vq_and_sriov", PF, linux::negotiates),
    ("blk_vfs_come_and_go_through_sysfs", PF, linux::vfs_come_and_go),
    ("blk_pf_is_a_disk", PF, linux::pf_disk),
    ("blk_vfs_are_disks", PF, linux::vf_disks),
    ("blk_memory_taken_back_is_out_of_reach", PF, out_of_reach::memory_taken_back),
    ("blk_report_and_images_have_what_was_written", REPORT, report::blk),
];

/// An error as text.
pub(crate) fn text(error: impl Display) -> String {
    error.to_string()
}

/// Fails with `what` unless `holds`.
pub(crate) fn check(holds: bool, what: impl Display) -> Outcome {
    if holds { Ok(()) } else { Err(what.to_string()) }
}

fn main() -> ExitCode {
    let tests = TESTS.iter().map(|&(name, needs, test)| {
        let lack = || format!("{needs} is not set; scripts/lib/oracles-in-host-vm.sh sets it");
        trials::trial(name, test, env::var_os(needs).is_none().then(lack))
    });
    trials::run_one_by_one(tests.collect())
}
