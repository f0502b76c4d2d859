// SPDX-License-Identifier: Apache-2.0
//! Legacy registers of a VF that the kernel's driver offers, which can be let go of: they hold the VF
//! open, and the kernel waits for that when it wants the VF back.

use std::sync::{Arc, PoisonError, RwLock};

use devices::bus::Width;
use devices::contract::{Area, LegacyRegisters, NotifyAddress, RegisterError, Wait};
use devices::function::vfio::VfioBar0Registers;

/// Registers until [`Self::release`].
pub(in crate::machine) struct KernelRegisters {
    inner: RwLock<Option<Arc<VfioBar0Registers>>>,
    config_reach: Option<u8>,
}

impl KernelRegisters {
    pub(super) fn new(registers: VfioBar0Registers) -> Arc<Self> {
        Arc::new(Self { config_reach: registers.config_reach(), inner: RwLock::new(Some(Arc::new(registers))) })
    }

    /// Lets go. An access that is under way ends before the VF is closed.
    pub(super) fn release(&self) {
        self.inner.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// The lock is not held during an access: one that hangs holds up nobody.
    fn get(&self) -> Result<Arc<VfioBar0Registers>, RegisterError> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.clone().ok_or_else(|| RegisterError::Function("the function is gone".to_owned()))
    }
}

impl LegacyRegisters for KernelRegisters {
    fn read(&self, area: Area, offset: u8, width: Width, wait: &Wait<'_>) -> Result<u32, RegisterError> {
        self.get()?.read(area, offset, width, wait)
    }

    fn write(&self, area: Area, offset: u8, width: Width, value: u32, wait: &Wait<'_>) -> Result<(), RegisterError> {
        self.get()?.write(area, offset, width, value, wait)
    }

    /// The kernel does not tell where it stores kicks: they are register writes.
    fn notify_addresses(&self) -> &[NotifyAddress] {
        &[]
    }

    fn config_reach(&self) -> Option<u8> {
        self.config_reach
    }
}
