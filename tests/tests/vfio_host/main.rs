// SPDX-License-Identifier: Apache-2.0
//! `VfioFunction` on the real kernel interfaces, with devices that are not ours: QEMU's modern virtio
//! functions in the host VM. `scripts/lib/vfio-in-host-vm.sh` brings it there, binds the functions and
//! names them in the environment. Without `/dev/vfio` nothing here can run, and each test says so.

mod disk;
mod kernel_back_end;
mod opening;
mod running;
mod user_space_pf;

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tests::trials;

use devices::function::vfio::{Bdf, DmaSpace, Mode, OpenError, OpenOptions, VfToken, VfioFunction};

/// What a test and its parts return; the text says what went wrong.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// Set in a process that opens the named function and keeps it until it is killed.
const HOLD: &str = "HEIRLOOM_VFIO_HOLD";

/// What a test needs of the machine.
#[derive(Clone, Copy)]
enum Needs {
    Group,
    Cdev,
    /// A VF on `virtio_vfio_pci`.
    KernelBackEnd,
    /// The software PF and a VF of it on vfio-pci.
    SoftPf,
    /// Two functions in one group.
    Neighbours,
    /// A machine whose IOMMU is off: the variable's value says how it is tested.
    IommuOff(&'static str),
}

type Test = (&'static str, Needs, fn() -> Outcome);

const TESTS: &[Test] = &[
    ("disk_by_group", Needs::Group, || running::disk(Mode::Group)),
    ("disk_by_cdev", Needs::Cdev, || running::disk(Mode::Cdev)),
    ("kvm_knows_the_device_by_group", Needs::Group, || running::with_kvm(Mode::Group)),
    ("kvm_knows_the_device_by_cdev", Needs::Cdev, || running::with_kvm(Mode::Cdev)),
    ("kicks_by_ioeventfd", Needs::Group, running::ioeventfd),
    ("vectors_with_holes_and_late", Needs::Group, running::vectors),
    ("intx_is_masked_until_unmasked", Needs::Group, running::intx),
    ("msi_and_intx_where_there_are_none", Needs::Group, running::kinds_that_are_missing),
    ("reset_stops_dma", Needs::Group, running::reset),
    ("unmapped_memory_is_out_of_reach_by_group", Needs::Group, || running::unmapped(Mode::Group)),
    ("unmapped_memory_is_out_of_reach_by_cdev", Needs::Cdev, || running::unmapped(Mode::Cdev)),
    ("functions_share_mappings_by_group", Needs::Group, || running::shared(Mode::Group)),
    ("functions_share_mappings_by_cdev", Needs::Cdev, || running::shared(Mode::Cdev)),
    ("mappings_that_cannot_be_by_group", Needs::Group, || running::impossible_mappings(Mode::Group)),
    ("mappings_that_cannot_be_by_cdev", Needs::Cdev, || running::impossible_mappings(Mode::Cdev)),
    ("long_mappings_show_progress", Needs::Group, running::progress),
    ("registers_and_regions", Needs::Group, running::regions),
    ("removal_is_announced", Needs::Group, running::removal),
    ("tokens_by_group", Needs::Group, || opening::tokens(Mode::Group)),
    ("tokens_by_cdev", Needs::Cdev, || opening::tokens(Mode::Cdev)),
    ("a_token_where_none_can_be", Needs::Group, opening::unexpected_token),
    ("in_use_by_this_process_by_group", Needs::Group, || opening::busy(Mode::Group)),
    ("in_use_by_this_process_by_cdev", Needs::Cdev, || opening::busy(Mode::Cdev)),
    ("killed_users_leave_the_device_usable_by_group", Needs::Group, || opening::killed(Mode::Group)),
    ("killed_users_leave_the_device_usable_by_cdev", Needs::Cdev, || opening::killed(Mode::Cdev)),
    ("users_without_privileges_by_group", Needs::Group, || opening::unprivileged(Mode::Group)),
    ("users_without_privileges_by_cdev", Needs::Cdev, || opening::unprivileged(Mode::Cdev)),
    ("another_driver_has_it", Needs::Group, opening::other_driver),
    ("one_way_for_all_functions_of_a_space", Needs::Cdev, opening::mixed),
    ("failed_opening_leaves_nothing", Needs::Group, opening::nothing_left),
    ("no_iommu_no_driver", Needs::IommuOff("no driver"), opening::iommu_off),
    ("no_iommu_unsafe_mode", Needs::IommuOff("unsafe mode"), opening::unsafe_mode),
    ("a_group_that_the_host_uses", Needs::Neighbours, opening::not_viable),
    ("two_functions_of_one_group", Needs::Neighbours, opening::one_group),
    ("pf_from_user_space_by_group", Needs::SoftPf, || user_space_pf::registers(Mode::Group)),
    ("pf_from_user_space_by_any_way", Needs::SoftPf, || user_space_pf::registers(Mode::Auto)),
    ("kernel_back_end_by_group", Needs::KernelBackEnd, || kernel_back_end::registers(Mode::Group)),
    ("kernel_back_end_by_any_way", Needs::KernelBackEnd, || kernel_back_end::registers(Mode::Auto)),
    ("kernel_back_end_refusals", Needs::KernelBackEnd, kernel_back_end::refusals),
    ("kernel_back_end_wants_its_region", Needs::Group, opening::no_legacy_region),
];

/// A function of the host VM: `disk`, `net`, `pf`, `vf0`, `vf1`, `legacy` (bound to
/// virtio_vfio_pci), `other` (bound to virtio-pci), `soft_pf` and `soft_vf`, `neighbour` and
/// `neighbour2` (in one group, bound to vfio-pci and virtio-pci).
pub(crate) fn address(which: &str) -> Outcome<Bdf> {
    let name = format!("HEIRLOOM_VFIO_{}", which.to_uppercase());
    env::var(&name).map_err(|_| format!("{name} is not set"))?.parse().map_err(disk::text)
}

pub(crate) fn options(which: &str, mode: Mode) -> Outcome<OpenOptions> {
    Ok(OpenOptions { mode, ..OpenOptions::new(address(which)?) })
}

pub(crate) fn with_token(which: &str, mode: Mode, token: &str) -> Outcome<OpenOptions> {
    let token: VfToken = token.parse().map_err(disk::text)?;
    Ok(OpenOptions { token: Some(token), ..options(which, mode)? })
}

pub(crate) fn open(space: &Arc<DmaSpace>, options: &OpenOptions) -> Outcome<VfioFunction> {
    VfioFunction::open(space, options).map_err(|error| disk::chain(&error))
}

/// An opening that has to fail, and to leave the space as it was.
pub(crate) fn refused(space: &Arc<DmaSpace>, options: &OpenOptions) -> Outcome<OpenError> {
    let before = (space.mode(), space.mapped());
    match VfioFunction::open(space, options) {
        Ok(function) => Err(format!("{} was opened", function.bdf())),
        Err(_) if (space.mode(), space.mapped()) != before => Err("a failed opening changed the space".into()),
        Err(error) => Ok(error),
    }
}

pub(crate) fn check(holds: bool, what: impl std::fmt::Display) -> Outcome {
    if holds { Ok(()) } else { Err(what.to_string()) }
}

fn lack(needs: Needs) -> Option<&'static str> {
    let off = env::var("HEIRLOOM_VFIO_IOMMU_OFF").ok();
    match (needs, off.as_deref()) {
        (Needs::IommuOff(wanted), Some(off)) if wanted == off => return None,
        (Needs::IommuOff(_), _) => return Some("the IOMMU of this machine is on, or its kernel has no mode without"),
        (_, Some(_)) => return Some("the IOMMU of this machine is off"),
        _ => {}
    }
    if !Path::new("/dev/vfio/vfio").exists() || env::var_os("HEIRLOOM_VFIO_DISK").is_none() {
        return Some("no /dev/vfio, or no functions named to test with: scripts/lib/vfio-in-host-vm.sh has both");
    }
    match needs {
        Needs::Cdev if !Path::new("/dev/iommu").exists() => Some("this kernel has no iommufd"),
        Needs::KernelBackEnd if env::var_os("HEIRLOOM_VFIO_LEGACY").is_none() => {
            Some("no VF on virtio_vfio_pci: heirloom soft-pf beside the VM makes one")
        }
        Needs::SoftPf if env::var_os("HEIRLOOM_VFIO_SOFT_PF").is_none() => {
            Some("no software PF on vfio-pci: heirloom soft-pf beside the VM makes one")
        }
        Needs::Neighbours if env::var_os("HEIRLOOM_VFIO_NEIGHBOUR").is_none() => {
            Some("no functions that share a group")
        }
        _ => None,
    }
}

fn main() -> ExitCode {
    if let Some(mode) = env::var_os(HOLD) {
        return opening::hold(mode == "cdev");
    }
    let tests = TESTS.iter().map(|&(name, needs, test)| trials::trial(name, test, lack(needs)));
    // They share the devices.
    trials::run_one_by_one(tests.collect())
}
