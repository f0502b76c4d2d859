// SPDX-License-Identifier: Apache-2.0
//! The PFs of a machine, each with its driver, started once for all its VFs.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use api::VfioMode;
use devices::admin::{Negotiation, PfDriver, PfLog, PfReport, Wait};
use devices::function::PciFunction;
use devices::function::detachable::Detachable;
use devices::function::vfio::{Bdf, VfToken};
use devices::soft_pf::{SoftPf, VfSpec};
use serde::Serialize;

use super::SetupError;
use super::hardware::{self, Hardware, HardwareError};

/// How long starting a PF, and each command to it before the guest starts, may take.
pub(super) const START_LIMIT: Duration = Duration::from_secs(10);

/// What tells one PF from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PfKey {
    /// The software PF of this process.
    Soft,
    /// A PF of the host.
    Host(Bdf),
    /// A PF that another process serves.
    Served(PathBuf),
}

/// A PF with its driver.
pub(super) struct PfGroup {
    pub(super) key: PfKey,
    // In the order of their end.
    pub(super) driver: Arc<PfDriver>,
    /// What to let go of it by; the software PF is never wanted back.
    pub(super) handle: Option<Arc<Detachable>>,
    /// What its VFs are opened with.
    pub(super) token: Option<VfToken>,
    pub(super) soft: Option<SoftPf>,
    /// What became of it.
    pub(super) log: Arc<PfLog>,
}

/// What became of one PF, for the report.
#[derive(Clone, Debug, Serialize)]
pub struct PfSection {
    /// Its address, its socket, or `soft/pf`.
    pub pf: String,
    /// Losses and returns.
    #[serde(flatten)]
    pub report: PfReport,
}

impl PfSection {
    /// Whether it runs commands now, as far as is known.
    pub fn is_up(&self) -> bool {
        self.report.last_loss.as_ref().is_none_or(|loss| loss.back_after_ms.is_some())
    }
}

impl PfGroup {
    /// What became of it.
    pub(super) fn section(&self) -> PfSection {
        PfSection { pf: self.driver.function().name().to_owned(), report: self.log.report() }
    }

    /// The software PF with VFs of these kinds.
    pub(super) fn soft(specs: Vec<VfSpec>, cancelled: &AtomicBool) -> Result<Self, SetupError> {
        let vfs = u16::try_from(specs.len()).map_err(|_| SetupError::Internal("more VFs than PCI slots"))?;
        let soft = SoftPf::new("soft", specs).map_err(|error| SetupError::SoftPf(error.into()))?;
        let function: Arc<dyn PciFunction> = soft.pf();
        #[cfg(test)]
        let function = super::test_pf::wrap(function);
        let driver = start(function, Some(vfs), cancelled)?;
        Ok(Self { key: PfKey::Soft, driver, handle: None, token: None, soft: Some(soft), log: Arc::default() })
    }

    /// A PF of the host. Its VFs are enabled already: they were found.
    pub(super) fn host(pf: Bdf, mode: VfioMode, token: VfToken, cancelled: &AtomicBool) -> Result<Self, SetupError> {
        let failed = |source| SetupError::HostPf { pf: pf.to_string(), source };
        let function = hardware::open_pf(pf, mode, token).map_err(failed)?;
        let handle = hardware::handle(function).map_err(failed)?;
        let driver = start(Arc::clone(&handle) as _, None, cancelled)?;
        Ok(Self {
            key: PfKey::Host(pf),
            driver,
            handle: Some(handle),
            token: Some(token),
            soft: None,
            log: Arc::default(),
        })
    }

    /// A PF that another process serves. `vfs` of its VFs are wanted, and nobody else enables them.
    pub(super) fn served(
        socket: PathBuf,
        vfs: u16,
        hardware: &Hardware<'_>,
        cancelled: &AtomicBool,
    ) -> Result<Self, SetupError> {
        let failed = |source| SetupError::HostPf { pf: socket.display().to_string(), source };
        let function = hardware.connect(&socket).map_err(|error| failed(error.into()))?;
        let handle = hardware::handle(function).map_err(failed)?;
        let driver = start(Arc::clone(&handle) as _, Some(vfs), cancelled)?;
        Ok(Self {
            key: PfKey::Served(socket),
            driver,
            handle: Some(handle),
            token: None,
            soft: None,
            log: Arc::default(),
        })
    }

    /// Whether the PF has that VF now.
    pub(super) fn check_member(&self, member: NonZeroU16) -> Result<(), SetupError> {
        let active = self.driver.active_vfs()?;
        if member.get() <= active {
            return Ok(());
        }
        let pf = self.driver.function().name().to_owned();
        let error = HardwareError::VfDisabled { pf: pf.clone(), active, member: member.get() };
        Err(SetupError::HostPf { pf, source: error.into() })
    }
}

/// Starts a PF's driver, enables VFs if that is to be done here, and chooses the commands.
fn start(
    function: Arc<dyn PciFunction>,
    vfs: Option<u16>,
    cancelled: &AtomicBool,
) -> Result<Arc<PfDriver>, SetupError> {
    let deadline = Instant::now() + START_LIMIT;
    let driver = PfDriver::start(function, deadline)?;
    if let Some(vfs) = vfs {
        driver.enable_vfs(vfs)?;
    }
    let negotiated = driver.negotiate_commands(&Wait { deadline, cancelled })?;
    let pf = driver.function().name().to_owned();
    match lack(&pf, negotiated, driver.supports_legacy()) {
        Some(lack) => Err(SetupError::HostPf { pf, source: lack.into() }),
        None => Ok(Arc::new(driver)),
    }
}

/// What a PF that answers commands still lacks.
fn lack(pf: &str, negotiated: Negotiation, supports_legacy: bool) -> Option<HardwareError> {
    let pf = pf.to_owned();
    match negotiated {
        // There is no group of VFs as long as there is no VF.
        Negotiation::Deferred => Some(HardwareError::VfDisabled { pf, active: 0, member: 1 }),
        _ if !supports_legacy => Some(HardwareError::NoLegacyCommands { pf }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use devices::admin::wire::CommandList;
    use devices::soft_pf::NetBackend;

    use super::*;

    fn text(error: &SetupError) -> String {
        let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        format!("{error}: {cause}")
    }

    #[test]
    fn a_pf_without_legacy_commands_is_refused_with_the_fix() {
        let list = Negotiation::Using(CommandList::from_word(3));
        let error = lack("pf", list, false).unwrap().to_string();
        assert!(error.contains("does not offer the legacy register access commands"), "{error}");
        assert!(error.contains("--device vfio="), "{error}");
        assert!(lack("pf", list, true).is_none());
    }

    #[test]
    fn a_pf_without_vfs_is_refused_with_the_fix() {
        let spec = VfSpec::Net { backend: NetBackend::Loopback, mac: [2, 0, 0, 0, 0, 1] };
        let soft = SoftPf::new("soft", vec![spec]).unwrap();
        let error = text(&start(soft.pf(), None, &AtomicBool::new(false)).unwrap_err());
        assert!(error.contains("has 0 VFs enabled, and VF 1 is wanted"), "{error}");
    }

    #[test]
    fn a_vf_that_is_not_enabled_any_more_is_told_with_the_fix() {
        let never = AtomicBool::new(false);
        let group = PfGroup::soft(vec![VfSpec::Net { backend: NetBackend::Loopback, mac: [2, 0, 0, 0, 0, 1] }], &never)
            .unwrap();
        assert!(group.check_member(NonZeroU16::MIN).is_ok());
        let error = text(&group.check_member(NonZeroU16::new(2).unwrap()).unwrap_err());
        assert!(error.contains("has 1 VFs enabled, and VF 2 is wanted: write the number"), "{error}");
    }
}
