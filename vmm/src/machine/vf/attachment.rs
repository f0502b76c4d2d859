// SPDX-License-Identifier: Apache-2.0
//! Who reaches a VF's legacy registers: a PF whose driver is in this process, or the kernel.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use devices::admin::{AdminChannel, AdminRegisters, AdminStats};
use devices::contract::{LegacyRegisters, Wait};
use devices::function::PciFunction;
use devices::soft_pf::HostErrorListener;

use super::super::SetupError;
use super::kernel_registers::KernelRegisters;
use super::pf::{Pf, START_LIMIT};

/// What a VF is attached to.
pub(in crate::machine) enum Attachment {
    /// A PF that runs admin commands for this process.
    Pf {
        pf: Arc<Pf>,
        /// The VF's number there.
        member: NonZeroU16,
        /// The VF's registers, over the PF's admin queue.
        registers: Arc<AdminRegisters>,
    },
    /// The kernel, which has the PF.
    Kernel(Arc<KernelRegisters>),
}

impl Attachment {
    /// The VF `function`, number `member` of `pf`, which is asked where the VF takes notifications.
    pub(super) fn member(
        pf: &Arc<Pf>,
        member: NonZeroU16,
        function: &dyn PciFunction,
        cancelled: &AtomicBool,
    ) -> Result<Self, SetupError> {
        let driver = pf.driver();
        let wait = Wait { deadline: Instant::now() + START_LIMIT, cancelled };
        let notify = driver.notify_info(member, function, &wait)?.into_iter().next();
        // Through the driver, not its bare queue: it negotiates the commands again when a PF has lost them.
        let channel: Arc<dyn AdminChannel> = Arc::clone(driver) as _;
        let registers = Arc::new(AdminRegisters::new(channel, member, notify));
        Ok(Self::Pf { pf: Arc::clone(pf), member, registers })
    }

    /// The PF, if its driver is in this process.
    pub(in crate::machine) fn pf(&self) -> Option<&Arc<Pf>> {
        match self {
            Self::Pf { pf, .. } => Some(pf),
            Self::Kernel(_) => None,
        }
    }

    /// The VF's number at `pf`, if it is one of `pf`'s.
    pub(in crate::machine) fn member_of(&self, pf: &Arc<Pf>) -> Option<NonZeroU16> {
        match self {
            Self::Pf { pf: own, member, .. } => Arc::ptr_eq(own, pf).then_some(*member),
            Self::Kernel(_) => None,
        }
    }

    /// As the transitional function uses the registers.
    pub(in crate::machine) fn registers(&self) -> Arc<dyn LegacyRegisters> {
        match self {
            Self::Pf { registers, .. } => Arc::clone(registers) as _,
            Self::Kernel(registers) => Arc::clone(registers) as _,
        }
    }

    /// What was asked of the PF in this process.
    pub(in crate::machine) fn stats(&self) -> AdminStats {
        match self {
            Self::Pf { registers, .. } => registers.stats(),
            Self::Kernel(_) => AdminStats::default(),
        }
    }

    /// How often the guest broke a ring, as a software VF counts it.
    pub(in crate::machine) fn rings_broken(&self) -> u64 {
        match self {
            Self::Pf { pf, member, .. } => pf.rings_broken(*member),
            Self::Kernel(_) => 0,
        }
    }

    /// Requests that the host's storage failed, and the last error, as a software VF counts them.
    pub(in crate::machine) fn host_errors(&self) -> (u64, Option<String>) {
        match self {
            Self::Pf { pf, member, .. } => pf.host_errors(*member),
            Self::Kernel(_) => (0, None),
        }
    }

    /// Has `listener` told when the host's storage begins to fail, for a software VF.
    pub(in crate::machine) fn on_host_error(&self, listener: HostErrorListener) {
        if let Self::Pf { pf, member, .. } = self {
            pf.on_host_error(*member, listener);
        }
    }

    /// What reports call it.
    pub(in crate::machine) const fn mode(&self) -> &'static str {
        match self {
            Self::Pf { .. } => "admin_commands",
            Self::Kernel(_) => "kernel",
        }
    }

    /// What lets go of the VF, so that the kernel can have it back. It holds no PF.
    pub(in crate::machine) fn release(&self) -> impl Fn() + Send + use<> {
        let kernel = match self {
            Self::Pf { .. } => None,
            Self::Kernel(registers) => Some(Arc::clone(registers)),
        };
        move || {
            if let Some(registers) = &kernel {
                registers.release();
            }
        }
    }
}
