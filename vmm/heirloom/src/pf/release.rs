// SPDX-License-Identifier: Apache-2.0
//! `heirloom pf release`.

use super::binding::Binding;
use super::checks::{self, Pf};
use super::state::{self, Before};
use super::steps::{Journal, Step};
use super::{Host, ManageError, Outcome, ReleaseRequest, VFIO_PCI};

/// Disables the VFs of a PF and gives it back to the driver that it had. A PF that was prepared by somebody else is
/// given to the driver that the kernel chooses. When it fails half-way, what was done is undone.
///
/// # Errors
/// When the PF or one of its VFs is in use, or the kernel refuses.
pub(crate) fn release(host: &Host, request: &ReleaseRequest) -> Result<Outcome, ManageError> {
    if !host.is_root && !request.dry_run {
        return Err(ManageError::NotRoot);
    }
    let _lock = if request.dry_run { None } else { Some(state::lock(host)?) };
    let pf = Pf::find(host, request.pf)?;
    let before = state::load(host, request.pf)?;
    for vf in pf.vfs()? {
        checks::not_in_use(host, vf)?;
    }
    let target = target(&pf, before.as_ref());
    if target.as_ref().is_some_and(|target| target.driver != pf.binding.driver) {
        checks::not_in_use(host, request.pf)?;
    }
    let mut journal = Journal::new(host, request.dry_run);
    if let Err(cause) = change(host, &pf, before.as_ref(), target, &mut journal) {
        return Err(journal.undo(&cause));
    }
    let actions = journal.actions();
    if !request.dry_run {
        hand_over(host, &pf, before.as_ref())?;
        state::remove(host, request.pf)?;
    }
    let notes = match &before {
        None if !actions.is_empty() => {
            vec!["this program has not prepared it since the host started".to_owned()]
        }
        _ => Vec::new(),
    };
    Ok(Outcome {
        pf: request.pf.to_string(),
        dry_run: request.dry_run,
        actions,
        notes,
        legacy_virtio: Vec::new(),
        undo: None,
    })
}

/// What the PF is to be bound to; none if it may stay as it is.
fn target(pf: &Pf, before: Option<&Before>) -> Option<Binding> {
    let target = match before {
        Some(before) => Binding { driver: before.driver.clone(), driver_override: before.driver_override.clone() },
        None if pf.binding.driver.as_deref() == Some(VFIO_PCI) => Binding::default(),
        None => return None,
    };
    (target != pf.binding).then_some(target)
}

fn change(
    host: &Host,
    pf: &Pf,
    before: Option<&Before>,
    target: Option<Binding>,
    journal: &mut Journal<'_>,
) -> Result<(), ManageError> {
    let bdf = pf.bdf();
    // Bindings of VFs end with the VFs; as steps of their own they can be undone.
    for vf in pf.vfs()? {
        journal.run(Step::Bind { bdf: vf, to: Binding::default(), from: Binding::of(host, vf)? })?;
    }
    if pf.counts.enabled != 0 {
        journal.run(Step::Vfs { pf: bdf, to: 0, from: pf.counts.enabled })?;
    }
    if let Some(to) = target {
        let from = pf.binding.clone();
        let step = if before.is_some() { Step::Bind { bdf, to, from } } else { Step::Free { bdf, from } };
        journal.run(step)?;
    }
    let probes = before.and_then(|before| before.autoprobe);
    if let Some(to) =
        probes.filter(|probes| pf.function.sriov_drivers_autoprobe().is_ok_and(|now| now != Some(*probes)))
    {
        // Whoever prepared it was killed at the wrong moment.
        journal.run(Step::Autoprobe { pf: bdf, to })?;
    }
    let was_off = before.is_some_and(|before| before.enabled_sriov);
    // The parameter is one for all PFs: the last one switches it off.
    if was_off && checks::sriov_enabled(host) == Some(true) && state::other(host, bdf).is_none() {
        journal.run(Step::EnableSriov(false))?;
    }
    Ok(())
}

/// Another PF needs the parameter that was switched on for this one, and is to switch it off.
fn hand_over(host: &Host, pf: &Pf, before: Option<&Before>) -> Result<(), ManageError> {
    let Some(other) = state::other(host, pf.bdf()).filter(|_| before.is_some_and(|before| before.enabled_sriov)) else {
        return Ok(());
    };
    match state::load(host, other)? {
        Some(heir) => state::store(host, other, &Before { enabled_sriov: true, ..heir }),
        None => Ok(()),
    }
}
