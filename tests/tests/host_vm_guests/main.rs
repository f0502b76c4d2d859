// SPDX-License-Identifier: Apache-2.0
//! From end to end on real VFs: `heirloom` with its guests in the host VM, whose VFIO, IOMMU and SR-IOV are the kernel's,
//! and the software PF outside, behind QEMU. `scripts/lib/e2e-in-host-vm.sh` brings this into one VM for each kind of
//! rig, and lets it look at the server's report afterwards. Elsewhere nothing here can run, and each test says so.

mod faults;
mod linux_guests;
mod passed_through;
mod probed;
mod qemu;
mod reach;
mod removal;
mod report;
mod rig;
mod tokens;

use std::env;
use std::process::ExitCode;
use tests::trials;

/// What a test and its parts return; the text says what went wrong.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// The kind of rig: `disks`, `old` (disks that lose kicks before DRIVER_OK), `cards`, `gone` (a server that can be killed), `off` (no IOMMU), or `reports` (outside).
const RIG: &str = "HEIRLOOM_E2E";

/// A test and its rig. They run in this order: they share the functions, and each leaves them usable.
struct Test(&'static str, &'static str, fn() -> Outcome);

const TESTS: &[Test] = &[
    Test("legacy_linux_disk_by_group_intx", "disks", || linux_guests::disk("group", "intx")),
    Test("legacy_linux_disk_by_group_msix", "disks", || linux_guests::disk("group", "msix")),
    Test("legacy_linux_disk_by_cdev_intx", "disks", || linux_guests::disk("cdev", "intx")),
    Test("legacy_linux_disk_by_cdev_msix", "disks", || linux_guests::disk("cdev", "msix")),
    Test("probe_deep_finds_that_early_kicks_are_served", "disks", || probed::early_kicks("a sector was read before")),
    Test("disk_is_refused_by_the_kernels_back_end", "disks", probed::disk_by_the_kernel),
    Test("qemu_shows_a_disk_of_the_kernel_as_a_card", "disks", qemu::disk),
    Test("modern_linux_disk_on_the_transitional_function", "disks", linux_guests::modern),
    Test("plain_passthrough_of_another_vendors_disk_msix", "disks", || passed_through::qemu_disk("msix")),
    Test("plain_passthrough_of_another_vendors_disk_intx", "disks", || passed_through::qemu_disk("intx")),
    Test("plain_passthrough_of_a_vf", "disks", passed_through::vf),
    Test("token_right_wrong_and_missing", "disks", tokens::of_one_vf),
    Test("tokens_of_two_machines_on_one_pf", "disks", tokens::of_two_machines),
    Test("dma_beyond_the_guests_memory", "disks", reach::beyond),
    Test("dma_by_broken_rings", "disks", reach::broken_rings),
    Test("in_use_by_another_machine", "disks", faults::busy),
    Test("killed_machine_leaves_its_vf_usable", "disks", faults::killed),
    Test("vf_without_its_driver", "disks", faults::vf_without_driver),
    Test("function_of_another_driver", "disks", faults::other_driver),
    Test("group_that_the_host_uses", "disks", faults::not_viable),
    Test("pf_without_admin_virtqueue", "disks", faults::no_admin_queue),
    Test("pf_named_as_a_vf", "disks", faults::no_vf),
    Test("vf_taken_away_by_sriov_numvfs", "disks", removal::numvfs),
    Test("vf_unbound_from_vfio_pci", "disks", removal::vf_unbound),
    Test("pf_unbound_from_vfio_pci", "disks", removal::pf_unbound),
    Test("function_removed_by_sysfs", "disks", removal::removed),
    Test("old_order_driver_ok_disk_by_group_msix", "old", || linux_guests::old_disk("group", "msix", 1)),
    Test("old_order_features_disk_by_group_intx", "old", || linux_guests::old_disk("group", "intx", 2)),
    Test("old_order_features_disk_by_cdev_msix", "old", || linux_guests::old_disk("cdev", "msix", 2)),
    Test("old_order_driver_ok_disk_by_cdev_intx", "old", || linux_guests::old_disk("cdev", "intx", 1)),
    Test("probe_deep_finds_that_early_kicks_are_lost", "old", || probed::early_kicks("nothing happens before")),
    Test("pf_of_the_kernel_with_admin_pf", "cards", faults::pf_of_the_kernel),
    Test("legacy_linux_card_by_kernel_group_intx", "cards", || linux_guests::kernel_card("group", "intx")),
    Test("legacy_linux_card_by_kernel_group_msix", "cards", || linux_guests::kernel_card("group", "msix")),
    Test("legacy_linux_card_by_kernel_cdev_intx", "cards", || linux_guests::kernel_card("cdev", "intx")),
    Test("legacy_linux_card_by_kernel_cdev_msix", "cards", || linux_guests::kernel_card("cdev", "msix")),
    Test("qemu_on_a_card_of_the_kernel_msix", "cards", qemu::card_msix),
    Test("qemu_on_a_card_of_the_kernel_has_no_intx", "cards", qemu::card_intx),
    Test("vf_unbound_from_the_kernels_driver", "cards", removal::unbound),
    Test("legacy_linux_card_by_group_intx", "cards", || linux_guests::card("group", "intx")),
    Test("legacy_linux_card_by_group_msix", "cards", || linux_guests::card("group", "msix")),
    Test("legacy_linux_card_by_cdev_intx", "cards", || linux_guests::card("cdev", "intx")),
    Test("legacy_linux_card_by_cdev_msix", "cards", || linux_guests::card("cdev", "msix")),
    Test("old_order_driver_ok_card_by_group_msix", "cards", || linux_guests::old_card("group", "msix", 1)),
    Test("old_order_features_card_by_cdev_intx", "cards", || linux_guests::old_card("cdev", "intx", 2)),
    Test("hardware_that_goes_silent", "gone", removal::server_killed),
    Test("iommu_is_off", "off", faults::iommu_off),
    Test("iommu_is_bypassed", "off", faults::no_iommu),
    Test("report_of_the_disks", "reports", report::disks),
    Test("report_of_the_old", "reports", report::old),
    Test("report_of_the_cards", "reports", report::cards),
];

/// What these rigs cannot have, and where it is shown instead.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "pf_without_legacy_commands",
        "heirloom soft-pf always has the commands; unit test a_pf_without_legacy_commands_is_refused_with_the_fix of vmm",
    ),
    (
        "vf_with_a_bar_0",
        "QEMU's VFs and ours have no BAR 0, and the SR-IOV standard wants all VFs alike; unit test functions_that_cannot_be_used_are_refused_with_a_reason of devices",
    ),
];

fn main() -> ExitCode {
    let rig = env::var(RIG).unwrap_or_default();
    // In a rig its own tests are all there is; elsewhere all are there, and ignored.
    let here = |needs: &str| rig.is_empty() || rig == needs;
    let tests = TESTS.iter().filter(|Test(_, needs, _)| here(needs)).map(|&Test(name, needs, test)| {
        let lack = || format!("{RIG} is not '{needs}'; scripts/lib/e2e-in-host-vm.sh sets it");
        trials::trial(name, test, rig.is_empty().then(lack))
    });
    let elsewhere = ELSEWHERE.iter().filter(|_| here("reports"));
    let elsewhere = elsewhere.map(|(name, reason)| trials::trial(name, || Ok(()), Some(reason)));
    trials::run_one_by_one(tests.chain(elsewhere).collect())
}
