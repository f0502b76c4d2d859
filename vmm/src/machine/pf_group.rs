// SPDX-License-Identifier: Apache-2.0
//! The PFs of a machine, each with its driver, started once for all its VFs.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use api::VfioMode;
use devices::admin::{PfDriver, PfLog, Wait};
use devices::function::PciFunction;
use devices::function::detachable::Detachable;
use devices::function::vfio::{Bdf, VfToken};
use devices::soft_pf::{SoftPf, VfSpec};

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

impl PfGroup {
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
    driver.negotiate_commands(&Wait { deadline, cancelled })?;
    if !driver.supports_legacy() {
        let pf = driver.function().name().to_owned();
        let error = HardwareError::NoLegacyCommands { pf: pf.clone() };
        return Err(SetupError::HostPf { pf, source: error.into() });
    }
    Ok(Arc::new(driver))
}
