// SPDX-License-Identifier: Apache-2.0
//! Legacy registers of a VF through the kernel: the region that the driver `virtio_vfio_pci` puts in
//! place of BAR 0, where each access becomes an admin command that the kernel's driver of the PF sends.
//!
//! Differences to commands of our own: the layout follows the *host's* MSI-X, 32 bytes are all there
//! is, and the kernel waits for the device without a limit; a deadline bounds repeated tries only.
//!
//! Source: Linux, drivers/vfio/pci/virtio/legacy_io.c.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::VfioFunction;
use crate::contract::{Answer, Area, LegacyRegisters, NotifyAddress, RegisterError, Wait, Width};
use crate::function::{Configuration, FunctionError, Named, Result as FunctionResult};
use crate::spec::pci::{COMMAND, Command};
use crate::spec::virtio::legacy;

/// Modern device id of a network card (virtio 1.3, 5.1.1 and 4.1.2.1).
const NET_DEVICE_ID: u16 = 0x1041;
/// First and longest pause before a busy device is asked again.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

/// A function without the kernel's legacy registers.
#[derive(Debug, Error)]
pub enum Bar0Error {
    /// Another driver.
    #[error(
        "{name} is bound to {driver}: for the kernel back end bind it to virtio_vfio_pci, and its physical function to virtio-pci"
    )]
    Driver {
        /// The function.
        name: String,
        /// Its driver.
        driver: String,
    },
    /// Another device type. Kernels that let the driver have it make a network card's registers for it.
    #[error(
        "{name} (device id {device_id:#06x}) is not a network card: the kernel makes legacy registers for network cards only; use admin=pf, with the physical function bound to vfio-pci (heirloom pf release, then heirloom pf prepare)"
    )]
    NotANetworkCard {
        /// The function.
        name: String,
        /// Its device id, as the kernel's PCI core has it.
        device_id: u16,
    },
    /// The driver offers no registers.
    #[error(
        "{name} has no legacy registers in region 0: virtio_vfio_pci offers them for VFs of network cards whose physical function is bound to virtio-pci and has the legacy admin commands"
    )]
    NoRegion {
        /// The function.
        name: String,
    },
    /// The function refused.
    #[error(transparent)]
    Function(#[from] FunctionError),
}

/// What is used of the function.
trait Region: Send + Sync {
    /// Bytes.
    fn size(&self) -> u64;
    /// Whether the host has MSI-X on.
    fn is_msix_enabled(&self) -> bool;
    fn read(&self, offset: u64, width: Width) -> FunctionResult<u64>;
    fn write(&self, offset: u64, width: Width, value: u64) -> FunctionResult<()>;
    /// Whether the kernel takes accesses, which it does while COMMAND has I/O decoding on.
    fn is_decoded(&self) -> FunctionResult<bool>;
    fn decode(&self) -> FunctionResult<()>;
}

impl Region for VfioFunction {
    fn size(&self) -> u64 {
        self.legacy_region().unwrap_or(0)
    }

    fn is_msix_enabled(&self) -> bool {
        self.is_msix_enabled()
    }

    fn read(&self, offset: u64, width: Width) -> FunctionResult<u64> {
        self.legacy_read(offset, width)
    }

    fn write(&self, offset: u64, width: Width, value: u64) -> FunctionResult<()> {
        self.legacy_write(offset, width, value)
    }

    fn is_decoded(&self) -> FunctionResult<bool> {
        Ok(self.config_read(COMMAND, Width::B2)? & u32::from(Command::IO.bits()) != 0)
    }

    fn decode(&self) -> FunctionResult<()> {
        self.separate_legacy_region()
    }
}

/// The legacy registers of a VF on `virtio_vfio_pci`.
pub struct VfioBar0Registers {
    region: Arc<dyn Region>,
    name: String,
    notify: Vec<NotifyAddress>,
}

impl fmt::Debug for VfioBar0Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VfioBar0Registers")
            .field("name", &self.name)
            .field("notify", &self.notify)
            .finish_non_exhaustive()
    }
}

impl VfioBar0Registers {
    /// Takes region 0 of `function`, which from now on looks like the VF that it is: no BAR 0, and a
    /// modern device id.
    ///
    /// Without addresses in `notify` kicks are writes to the region; the kernel, which knows the
    /// address, does not tell it.
    ///
    /// # Errors
    /// When the driver or the region is not there.
    pub fn new(function: &Arc<VfioFunction>, notify: Vec<NotifyAddress>) -> Result<Self, Bar0Error> {
        let name = function.name().to_owned();
        check(&name, function.driver(), function.device_id(), function.legacy_region())?;
        function.separate_legacy_region()?;
        Ok(Self { region: Arc::clone(function) as _, name, notify })
    }

    /// Where a field is in the region now. The caller lets no change of the host's interrupts come
    /// between this and the access.
    fn place(&self, area: Area, offset: u8, width: Width) -> Result<u64, RegisterError> {
        // `VIRTIO_PCI_CONFIG_OFF` of the kernel.
        let msix = self.region.is_msix_enabled();
        let config = u64::from(if msix { legacy::CONFIG_WITH_MSIX } else { legacy::CONFIG });
        let (start, end) = match area {
            Area::Common => (u64::from(offset), config),
            Area::Device => (config + u64::from(offset), self.region.size()),
        };
        let bytes = width.bytes();
        if bytes > 4 || start + bytes as u64 > end {
            return Err(RegisterError::NoSuchRegister { area, offset, width: bytes });
        }
        Ok(start)
    }

    /// Runs one access. Where the device says that it is busy it is asked again, within the deadline.
    fn access<T>(&self, wait: &Wait<'_>, act: impl Fn() -> FunctionResult<T>) -> Result<T, RegisterError> {
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(over) = wait.over() {
                return Err(over.into());
            }
            let error = match self.decoded(&act) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            match errno(&error) {
                Some(libc::EAGAIN | libc::ENOMEM) => {
                    thread::sleep(pause.min(wait.deadline.saturating_duration_since(Instant::now())));
                    if wait.over().is_some() {
                        return Err(explain(error));
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                _ => return Err(explain(error)),
            }
        }
    }

    /// A reset that did not come from here switches I/O decoding off, and the kernel answers EIO
    /// before it sends anything.
    fn decoded<T>(&self, act: impl Fn() -> FunctionResult<T>) -> FunctionResult<T> {
        match act() {
            Err(error) if errno(&error) == Some(libc::EIO) && !self.region.is_decoded()? => {
                self.region.decode()?;
                act()
            }
            result => result,
        }
    }
}

/// Whether a function with this driver, device id and legacy region has registers for this back end.
fn check(name: &str, driver: &str, device_id: u16, region: Option<u64>) -> Result<(), Bar0Error> {
    let name = name.to_owned();
    match region {
        _ if driver != super::function::LEGACY_DRIVER => Err(Bar0Error::Driver { name, driver: driver.to_owned() }),
        _ if device_id != NET_DEVICE_ID => Err(Bar0Error::NotANetworkCard { name, device_id }),
        None => Err(Bar0Error::NoRegion { name }),
        Some(_) => Ok(()),
    }
}

fn errno(error: &FunctionError) -> Option<i32> {
    match error {
        FunctionError::Io { source, .. } => source.raw_os_error(),
        _ => None,
    }
}

/// The kernel tells no qualifier.
fn answer(status: i32) -> Answer {
    Answer { status: status as u16, qualifier: 0 }
}

/// The kernel answers with the status of the admin command, negated, where the device refused.
fn explain(error: FunctionError) -> RegisterError {
    match errno(&error) {
        Some(status @ (libc::EAGAIN | libc::ENOMEM)) => RegisterError::Busy(answer(status)),
        Some(status @ (libc::EINVAL | libc::ENXIO)) => RegisterError::Refused(answer(status)),
        Some(libc::EOPNOTSUPP) => RegisterError::Function(
            "the kernel has no legacy admin commands for the function: its physical function lost its driver or the commands"
                .to_owned(),
        ),
        Some(code) => RegisterError::Function(format!("{error}: {}", io::Error::from_raw_os_error(code))),
        None => RegisterError::Function(error.to_string()),
    }
}

impl LegacyRegisters for VfioBar0Registers {
    fn read(&self, area: Area, offset: u8, width: Width, wait: &Wait<'_>) -> Result<u32, RegisterError> {
        let place = self.place(area, offset, width)?;
        self.access(wait, || self.region.read(place, width)).map(|value| value as u32)
    }

    fn write(&self, area: Area, offset: u8, width: Width, value: u32, wait: &Wait<'_>) -> Result<(), RegisterError> {
        let place = self.place(area, offset, width)?;
        self.access(wait, || self.region.write(place, width, value.into()))
    }

    fn notify_addresses(&self) -> &[NotifyAddress] {
        &self.notify
    }

    /// Behind the header as it is with the host's MSI-X on, where the region shows least.
    fn config_reach(&self) -> Option<u8> {
        Some(self.region.size().saturating_sub(legacy::CONFIG_WITH_MSIX.into()).try_into().unwrap_or(u8::MAX))
    }
}

#[cfg(test)]
#[path = "bar0_tests.rs"]
mod tests;
