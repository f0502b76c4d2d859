// SPDX-License-Identifier: Apache-2.0
//! A PF with its driver, started once for all its VFs.

use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use api::VfioMode;
use devices::admin::{Negotiation, PfDriver, PfLog, PfReport};
use devices::contract::Wait;
use devices::function::PciFunction;
use devices::function::detachable::Detachable;
use devices::function::vfio::{Bdf, VfToken};
use devices::soft_pf::{HostErrorListener, SoftPf};
use serde::Serialize;

use super::super::SetupError;
use super::super::hardware::{self, HardwareError};
use super::Context;

/// How long starting a PF, and each command to it before the guest starts, may take.
pub(super) const START_LIMIT: Duration = Duration::from_secs(10);

/// A PF with its driver.
pub(in crate::machine) struct Pf {
    // In the order of their end.
    driver: Arc<PfDriver>,
    function: Function,
    log: Arc<PfLog>,
}

/// What the driver drives.
enum Function {
    /// The software PF of this process, which is never wanted back.
    Soft(SoftPf),
    /// A PF of the host or of another process, which can be let go of.
    Detachable(Arc<Detachable>),
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

impl Pf {
    /// The software PF. All its VFs are enabled.
    pub(super) fn soft(soft: SoftPf, cancelled: &AtomicBool) -> Result<Self, SetupError> {
        let vfs = soft.members().last().map_or(0, |(member, _)| member.get());
        let driver = start(soft.pf(), Some(vfs), cancelled)?;
        Ok(Self { driver, function: Function::Soft(soft), log: Arc::default() })
    }

    /// A PF of the host. Its VFs are enabled already: they were found.
    pub(super) fn host(pf: Bdf, mode: VfioMode, token: VfToken, cancelled: &AtomicBool) -> Result<Self, SetupError> {
        let failed = |source| SetupError::HostPf { pf: pf.to_string(), source };
        let function = hardware::open_pf(pf, mode, token).map_err(failed)?;
        Self::detachable(hardware::handle(function).map_err(failed)?, None, cancelled)
    }

    /// A PF that another process serves. `vfs` of its VFs are wanted, and nobody else enables them.
    pub(super) fn served(socket: &Path, vfs: u16, context: Context<'_>) -> Result<Self, SetupError> {
        let failed = |source| SetupError::HostPf { pf: socket.display().to_string(), source };
        let function = context.hardware.connect(socket).map_err(|error| failed(error.into()))?;
        Self::detachable(hardware::handle(function).map_err(failed)?, Some(vfs), context.cancelled)
    }

    fn detachable(handle: Arc<Detachable>, vfs: Option<u16>, cancelled: &AtomicBool) -> Result<Self, SetupError> {
        let driver = start(Arc::clone(&handle) as _, vfs, cancelled)?;
        Ok(Self { driver, function: Function::Detachable(handle), log: Arc::default() })
    }

    /// Its driver.
    pub(in crate::machine) fn driver(&self) -> &Arc<PfDriver> {
        &self.driver
    }

    /// Its address, its socket, or `soft/pf`.
    pub(in crate::machine) fn name(&self) -> &str {
        self.driver.function().name()
    }

    /// Where it is noted what becomes of it.
    pub(in crate::machine) fn log(&self) -> &Arc<PfLog> {
        &self.log
    }

    /// What to let go of it by, if it can be wanted back.
    pub(in crate::machine) fn handle(&self) -> Option<&Arc<Detachable>> {
        match &self.function {
            Function::Soft(_) => None,
            Function::Detachable(handle) => Some(handle),
        }
    }

    /// How often the guest broke a ring of that VF; 0 where the VF does not count it.
    pub(super) fn rings_broken(&self, member: NonZeroU16) -> u64 {
        match &self.function {
            Function::Soft(soft) => soft.rings_broken(usize::from(member.get()) - 1),
            Function::Detachable(_) => 0,
        }
    }

    /// Requests that the host's storage failed for that VF, and the last error; none where the VF does not count them.
    pub(super) fn host_errors(&self, member: NonZeroU16) -> (u64, Option<String>) {
        match &self.function {
            Function::Soft(soft) => soft.host_errors(usize::from(member.get()) - 1),
            Function::Detachable(_) => (0, None),
        }
    }

    /// Has `listener` told when the host's storage begins to fail for that VF, if it is one of this process.
    pub(super) fn on_host_error(&self, member: NonZeroU16, listener: HostErrorListener) {
        if let Function::Soft(soft) = &self.function {
            soft.on_host_error(usize::from(member.get()) - 1, listener);
        }
    }

    /// What became of it.
    pub(in crate::machine) fn section(&self) -> PfSection {
        PfSection { pf: self.name().to_owned(), report: self.log.report() }
    }

    /// Whether the PF has that VF now.
    pub(super) fn check_member(&self, member: NonZeroU16) -> Result<(), SetupError> {
        let active = self.driver.active_vfs()?;
        if member.get() <= active {
            return Ok(());
        }
        let pf = self.name().to_owned();
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
    use devices::soft_pf::{NetBackend, VfSpec};

    use super::*;

    fn soft_pf() -> SoftPf {
        SoftPf::new("soft", vec![VfSpec::Net { backend: NetBackend::Loopback, mac: [2, 0, 0, 0, 0, 1] }]).unwrap()
    }

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
        let soft = soft_pf();
        let error = text(&start(soft.pf(), None, &AtomicBool::new(false)).unwrap_err());
        assert!(error.contains("has 0 VFs enabled, but VF 1 is wanted"), "{error}");
    }

    #[test]
    fn a_vf_that_is_not_enabled_any_more_is_told_with_the_fix() {
        let never = AtomicBool::new(false);
        let pf = Pf::soft(soft_pf(), &never).unwrap();
        assert!(pf.check_member(NonZeroU16::MIN).is_ok());
        let error = text(&pf.check_member(NonZeroU16::new(2).unwrap()).unwrap_err());
        assert!(error.contains("has 1 VFs enabled, but VF 2 is wanted: write the number"), "{error}");
    }
}
