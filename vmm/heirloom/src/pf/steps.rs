// SPDX-License-Identifier: Apache-2.0
//! The changes to a host, one by one. Each can be undone, also when it got half-way, and tells how by hand.

use devices::function::vfio::Bdf;

use super::binding::Binding;
use super::error::chain;
use super::{Action, Host, ManageError, checks};

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Lets VFs be enabled while `vfio-pci` has their PF, or not.
    EnableSriov(bool),
    /// Gives a function to a driver, by `driver_override`.
    Bind { bdf: Bdf, to: Binding, from: Binding },
    /// Gives a function to whatever driver the kernel chooses.
    Free { bdf: Bdf, from: Binding },
    /// Whether the kernel looks for drivers for new VFs.
    Autoprobe { pf: Bdf, to: bool },
    /// Enables VFs, from none to some, without drivers; or disables them.
    Vfs { pf: Bdf, to: u16, from: u16 },
}

impl Step {
    fn apply(&self, host: &Host) -> Result<(), ManageError> {
        match self {
            Self::EnableSriov(on) => enable_sriov(host, *on),
            Self::Bind { bdf, to, .. } => bind(host, *bdf, to),
            Self::Free { bdf, .. } => free(host, *bdf),
            Self::Autoprobe { pf, to } => autoprobe(host, *pf, *to),
            Self::Vfs { pf, to, .. } => vfs(host, *pf, *to),
        }
    }

    fn undo(&self, host: &Host) -> Result<(), ManageError> {
        match self {
            // What could not be set is as it was.
            Self::EnableSriov(on) if checks::sriov_enabled(host) != Some(*on) => Ok(()),
            Self::EnableSriov(on) => enable_sriov(host, !on),
            Self::Bind { bdf, from, .. } | Self::Free { bdf, from } => bind(host, *bdf, from),
            Self::Autoprobe { pf, to } => autoprobe(host, *pf, !to),
            Self::Vfs { pf, from, .. } => vfs(host, *pf, *from),
        }
    }

    /// What it does and how that is undone by hand.
    pub(super) fn action(&self, host: &Host) -> Action {
        match self {
            Self::EnableSriov(on) => Action {
                what: format!("vfio_pci.enable_sriov is {}", letter(*on)),
                undo: format!("echo {} > {}", letter(!on), host.enable_sriov().display()),
            },
            Self::Bind { bdf, to, from } => Action {
                what: format!("{bdf} is bound to {} (before: {})", to.name(), from.name()),
                undo: unbinding(host, *bdf, to, from),
            },
            Self::Free { bdf, from } => Action {
                what: format!("{bdf} is given to the driver that the kernel chooses (before: {})", from.name()),
                undo: unbinding(host, *bdf, &Binding::default(), from),
            },
            Self::Autoprobe { pf, to } => Action {
                what: format!("the host's drivers get new VFs of {pf}: {}", if *to { "yes" } else { "no" }),
                undo: format!("echo {} > {}", u8::from(!to), host.of(*pf, "sriov_drivers_autoprobe").display()),
            },
            Self::Vfs { pf, to, from } => Action {
                what: format!("{pf} has {to} VFs (before: {from})"),
                undo: format!("echo {from} > {}", host.of(*pf, "sriov_numvfs").display()),
            },
        }
    }
}

fn letter(on: bool) -> &'static str {
    if on { "Y" } else { "N" }
}

fn unbinding(host: &Host, bdf: Bdf, to: &Binding, from: &Binding) -> String {
    let reserve = from.driver_override.as_deref().unwrap_or("");
    let mut text = format!("echo '{reserve}' > {}", host.of(bdf, "driver_override").display());
    if let Some(driver) = &to.driver {
        text += &format!("; echo {bdf} > {}", host.paths.sysfs.driver_path(driver).join("unbind").display());
    }
    if from.driver.is_some() {
        text += &format!("; echo {bdf} > {}", host.drivers_probe().display());
    }
    text
}

fn enable_sriov(host: &Host, on: bool) -> Result<(), ManageError> {
    let path = host.enable_sriov();
    host.write(&path, letter(on)).map_err(|error| match error {
        ManageError::Write { path, source, .. } => ManageError::EnableSriov { path, source },
        other => other,
    })
}

/// Makes a function's binding `to`, whatever it is now.
fn bind(host: &Host, bdf: Bdf, to: &Binding) -> Result<(), ManageError> {
    let now = Binding::of(host, bdf)?;
    if now.driver_override != to.driver_override {
        // An empty line takes the reservation away.
        host.write(&host.of(bdf, "driver_override"), to.driver_override.as_deref().unwrap_or(""))?;
    }
    if now.driver == to.driver {
        return Ok(());
    }
    if now.driver.is_some() {
        host.write(&host.of(bdf, "driver/unbind"), &bdf.to_string())?;
    }
    let Some(driver) = &to.driver else { return Ok(()) };
    host.write(&host.drivers_probe(), &bdf.to_string())?;
    if host.function(bdf)?.driver()?.is_none() {
        // The driver may know the device by an id that was added by hand, or not be the kernel's favourite.
        let _ = host.write(&host.paths.sysfs.driver_path(driver).join("bind"), &bdf.to_string());
    }
    let is = host.function(bdf)?.driver()?;
    if is.as_ref() == Some(driver) {
        return Ok(());
    }
    Err(ManageError::NotBound { bdf, wanted: driver.clone(), is: is.unwrap_or_else(|| "no driver".to_owned()) })
}

/// No reservation, and the kernel's favourite among the drivers.
fn free(host: &Host, bdf: Bdf) -> Result<(), ManageError> {
    bind(host, bdf, &Binding::default())?;
    host.write(&host.drivers_probe(), &bdf.to_string())
}

fn autoprobe(host: &Host, pf: Bdf, on: bool) -> Result<(), ManageError> {
    host.write(&host.of(pf, "sriov_drivers_autoprobe"), if on { "1" } else { "0" })
}

/// The kernel is kept from giving new VFs to `virtio-pci` for the moment: the host has no use for their interfaces.
fn vfs(host: &Host, pf: Bdf, count: u16) -> Result<(), ManageError> {
    let function = host.function(pf)?;
    if function.sriov()?.is_some_and(|counts| counts.enabled == count) {
        return Ok(());
    }
    let probes = count > 0 && function.sriov_drivers_autoprobe()? == Some(true);
    if probes {
        autoprobe(host, pf, false)?;
    }
    let changed = host.write(&host.of(pf, "sriov_numvfs"), &count.to_string());
    let restored = if probes { autoprobe(host, pf, true) } else { Ok(()) };
    changed.and(restored)?;
    let found = function.virtfns()?.len();
    if found == usize::from(count) { Ok(()) } else { Err(ManageError::VfsMissing { bdf: pf, wanted: count, found }) }
}

/// What was done so far.
#[derive(Debug)]
pub(super) struct Journal<'a> {
    host: &'a Host,
    dry_run: bool,
    done: Vec<Step>,
}

impl<'a> Journal<'a> {
    pub(super) fn new(host: &'a Host, dry_run: bool) -> Self {
        Self { host, dry_run, done: Vec::new() }
    }

    /// Makes a change, or notes it.
    pub(super) fn run(&mut self, step: Step) -> Result<(), ManageError> {
        // Before it is tried: one that fails half-way is undone as well.
        self.done.push(step);
        match self.done.last() {
            Some(step) if !self.dry_run => step.apply(self.host),
            _ => Ok(()),
        }
    }

    /// A change that the kernel made by itself.
    pub(super) fn note(&mut self, step: Step) {
        self.done.push(step);
    }

    /// What was done.
    pub(super) fn actions(&self) -> Vec<Action> {
        self.done.iter().map(|step| step.action(self.host)).collect()
    }

    /// Undoes all of it, the last change first.
    pub(super) fn undo(self, cause: &ManageError) -> ManageError {
        let mut left = Vec::new();
        for step in self.done.iter().rev() {
            if let Err(error) = step.undo(self.host) {
                left.push(chain(&error));
            }
        }
        ManageError::Undone { cause: chain(cause), left }
    }
}
