// SPDX-License-Identifier: Apache-2.0
//! `heirloom pf prepare`.

use devices::function::vfio::Bdf;

use super::binding::Binding;
use super::checks::{self, Pf};
use super::state::{self, Before};
use super::steps::{Journal, Step};
use super::{Host, ManageError, Outcome, Owner, PrepareRequest};

/// Enables VFs of a PF and gives them, and the PF where it is to be driven from user space, to VFIO. What is so already
/// is left alone. When it fails half-way, everything is as before.
///
/// # Errors
/// When something does not hold, or the kernel refuses.
pub(crate) fn prepare(host: &Host, request: &PrepareRequest) -> Result<Outcome, ManageError> {
    if !host.is_root && !request.dry_run {
        return Err(ManageError::NotRoot);
    }
    let _lock = if request.dry_run { None } else { Some(state::lock(host)?) };
    let pf = checks::prepare(host, request)?;
    let notes = load_drivers(host, request)?;
    let (pf_driver, _) = request.owner.drivers();
    let sriov_off = checks::needs_enable_sriov(pf_driver) && checks::sriov_enabled(host) != Some(true);
    let is_new = !request.dry_run && state::load(host, request.pf)?.is_none();
    if is_new {
        let Binding { driver, driver_override } = pf.binding.clone();
        let autoprobe = pf.function.sriov_drivers_autoprobe()?;
        state::store(host, request.pf, &Before { driver, driver_override, enabled_sriov: sriov_off, autoprobe })?;
    }
    let mut journal = Journal::new(host, request.dry_run);
    let vfs = match change(host, request, &pf, &mut journal) {
        Ok(vfs) => vfs,
        Err(cause) => {
            let error = journal.undo(&cause);
            let clean = matches!(&error, ManageError::Undone { left, .. } if left.is_empty());
            if is_new && clean {
                state::remove(host, request.pf)?;
            }
            return Err(error);
        }
    };
    let actions = journal.actions();
    if is_new && actions.is_empty() {
        // All was so before: there is nothing of ours to give back.
        state::remove(host, request.pf)?;
    }
    Ok(Outcome {
        pf: request.pf.to_string(),
        dry_run: request.dry_run,
        actions,
        notes,
        legacy_virtio: vfs.iter().map(|vf| option(request, vf)).collect(),
        undo: Some(format!("heirloom pf release {}", request.pf)),
    })
}

/// The drivers that are needed are there. A module that was loaded for this stays: it does no harm.
fn load_drivers(host: &Host, request: &PrepareRequest) -> Result<Vec<String>, ManageError> {
    let (pf_driver, vf_driver) = request.owner.drivers();
    let mut notes = Vec::new();
    for driver in [pf_driver, vf_driver] {
        if request.dry_run {
            if !host.has_driver(driver) {
                notes.push(format!("the module of {driver} would be loaded"));
            }
        } else if host.load_driver(driver)? {
            notes.push(format!("the module of {driver} was loaded"));
        }
    }
    notes.dedup();
    Ok(notes)
}

/// Makes the changes that are needed; returns the VFs.
fn change(
    host: &Host,
    request: &PrepareRequest,
    pf: &Pf,
    journal: &mut Journal<'_>,
) -> Result<Vec<String>, ManageError> {
    let (pf_driver, vf_driver) = request.owner.drivers();
    if checks::needs_enable_sriov(pf_driver) && checks::sriov_enabled(host) != Some(true) {
        journal.run(Step::EnableSriov(true))?;
    }
    bind(journal, request.pf, pf_driver, pf.binding.clone())?;
    if pf.counts.enabled != request.vfs {
        journal.run(Step::Vfs { pf: request.pf, to: request.vfs, from: pf.counts.enabled })?;
    }
    let vfs = pf.vfs()?;
    if request.dry_run && vfs.is_empty() {
        let vfs = pf.vfs_to_come(request.vfs);
        for vf in &vfs {
            bind(journal, *vf, vf_driver, Binding::default())?;
        }
        return Ok(vfs.iter().map(Bdf::to_string).collect());
    }
    for vf in &vfs {
        let binding = Binding::of(host, *vf)?;
        if binding.driver.as_deref() != Some(vf_driver) {
            checks::not_in_use(host, *vf)?;
        } else if pf.counts.enabled == 0 {
            // vfio-pci reserves VFs of its PFs for itself; that is as good, and is told like the rest.
            journal.note(Step::Bind { bdf: *vf, to: Binding::to(vf_driver), from: Binding::default() });
        }
        bind(journal, *vf, vf_driver, binding)?;
    }
    Ok(vfs.iter().map(Bdf::to_string).collect())
}

/// Gives a function to a driver; nothing is done for one that the driver has, whoever reserved it.
fn bind(journal: &mut Journal<'_>, bdf: Bdf, driver: &str, from: Binding) -> Result<(), ManageError> {
    if from.driver.as_deref() == Some(driver) {
        return Ok(());
    }
    journal.run(Step::Bind { bdf, to: Binding::to(driver), from })
}

fn option(request: &PrepareRequest, vf: &str) -> String {
    let more = match (request.owner, &request.token) {
        (Owner::Kernel, _) => ",admin=kernel".to_owned(),
        (Owner::Heirloom, Some(token)) => format!(",token={token}"),
        (Owner::Heirloom, None) => String::new(),
    };
    format!("--legacy-virtio vf={vf}{more}")
}
