// SPDX-License-Identifier: Apache-2.0
//! `heirloom pf` and `heirloom probe` on the real interfaces of a kernel: sysfs, drivers, SR-IOV, VFIO. The PFs are the
//! software PF behind vfio-user and QEMU's own; `scripts/lib/pf-in-host-vm.sh` brings this into the host VM and names
//! them in the environment. Elsewhere nothing here can run, and each test says so.

mod host;
mod prepare;
mod probe;
mod refusals;

use std::env;
use std::fmt::Display;
use std::process::ExitCode;
use tests::trials;

/// What a test and its parts return; the text says what went wrong.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// Addresses of the software PF and of QEMU's, in the host VM.
const SOFT: &str = "HEIRLOOM_PF_SOFT";
const QEMU: &str = "HEIRLOOM_PF_QEMU";

/// A software PF that is a disk, on a kernel that can swap to one.
const DISK: &str = "HEIRLOOM_PF_DISK";

type Test = (&'static str, fn() -> Outcome);

/// In this order, on the same PFs; each leaves them as it found them.
const TESTS: &[Test] = &[
    ("soft_pf_there_and_back", || prepare::there_and_back(&soft()?)),
    ("qemu_pf_there_and_back", || prepare::there_and_back(&qemu()?)),
    ("both_pfs_share_the_parameter", prepare::both),
    ("twice_is_once", prepare::twice),
    ("dry_run_changes_nothing", prepare::dry_run),
    ("kernel_variant", prepare::kernel),
    ("failure_half_way_is_undone", prepare::half_way),
    ("killed_half_way_and_released", prepare::killed),
    ("released_without_its_state", prepare::without_state),
    ("interface_that_is_up", refusals::interface),
    ("open_nodes", refusals::open_nodes),
    ("another_number_of_vfs", refusals::other_number),
    ("what_is_no_pf", refusals::no_pf),
    ("not_root", refusals::not_root),
    ("another_one_at_work", refusals::locked),
    ("probe_before_and_after", probe::before_and_after),
    ("probe_deep", probe::deep),
    ("probe_deep_without_admin_queue", probe::no_admin_queue),
    ("probe_of_functions_in_use", probe::in_use),
    ("probe_of_the_kernel_variant", probe::kernel),
    ("probe_by_another_user", probe::other_user),
    ("disk_that_is_used", || refusals::disk(&env::var(DISK).map_err(text)?)),
];

pub(crate) fn soft() -> Outcome<String> {
    env::var(SOFT).map_err(text)
}

pub(crate) fn qemu() -> Outcome<String> {
    env::var(QEMU).map_err(text)
}

/// An error as text.
pub(crate) fn text(error: impl Display) -> String {
    error.to_string()
}

/// Fails with `what` unless `holds`.
pub(crate) fn check(holds: bool, what: impl Display) -> Outcome {
    if holds { Ok(()) } else { Err(what.to_string()) }
}

fn main() -> ExitCode {
    let are_set = |names: &[&str]| names.iter().all(|name| env::var_os(name).is_some());
    let tests = TESTS.iter().map(|&(name, test)| {
        let needs = if name.starts_with("disk_") { &[DISK][..] } else { &[SOFT, QEMU] };
        let why = || format!("{} not set; scripts/lib/pf-in-host-vm.sh does that", needs.join(" and "));
        trials::trial(name, test, (!are_set(needs)).then(why))
    });
    // They share the PFs.
    trials::run_one_by_one(tests.collect())
}
