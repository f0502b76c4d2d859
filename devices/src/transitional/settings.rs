// SPDX-License-Identifier: Apache-2.0
//! What a transitional function is made from: the operator's settings, the parts below it, and why
//! they may not fit together. Pure.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

use crate::contract::LegacyRegisters;
use crate::contract::platform::{IrqLine, MsiSource, PortEvents};
use crate::function::{FunctionError, PciFunction};
use crate::pci::{ConfigError, MsixLayoutError, OptionRom};

/// Which interrupts the guest is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IrqMode {
    /// MSI-X and INTx, as far as there is what they need.
    #[default]
    Auto,
    /// INTx only: the MSI-X capability is hidden, for drivers that use MSI-X badly.
    Intx,
    /// MSI-X only: no interrupt pin, and no vector of the VF is used behind the guest's back.
    Msix,
}

/// Which interfaces of virtio the guest sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interface {
    /// Only the legacy registers: no virtio capability, and of the VF's BARs those alone that MSI-X needs.
    Legacy,
    /// The legacy registers, and the VF's virtio capabilities for modern drivers, which use its memory BARs directly.
    #[default]
    Both,
    /// No legacy registers: a modern function's identity and its BARs, MSI-X alone.
    Modern,
}

/// How kicks get to the VF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NotifyMode {
    /// Without an exit where the platform and the VF can, else with one.
    #[default]
    Auto,
    /// Without an exit; the function does not start where that is impossible. A queue whose ioeventfd
    /// fails later still works, by exits.
    Ioeventfd,
    /// With an exit each.
    Exit,
}

/// What becomes of kicks before DRIVER_OK.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EarlyKicks {
    /// The first one starts the device. A network card is not started before its driver wrote the features: they
    /// decide how long the header of a frame is, and a device may look at them when it starts.
    #[default]
    Auto,
    /// They are passed on, and repeated at DRIVER_OK.
    Pass,
    /// The first one starts the device, whatever it is.
    Start,
}

impl EarlyKicks {
    /// Its name in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Pass => "pass",
            Self::Start => "start",
        }
    }
}

/// What the operator says about a function.
#[derive(Clone, Debug)]
pub struct TransitionalConfig {
    /// Name for logs and reports.
    pub id: String,
    /// What the guest is offered.
    pub offer: OfferConfig,
    /// What becomes of kicks.
    pub kicks: KickConfig,
    /// How long things may take.
    pub deadlines: Deadlines,
    /// Whether reads of the guest are answered without a command where the answer is known.
    pub shadow: bool,
}

/// What the guest is offered.
#[derive(Clone, Debug, Default)]
pub struct OfferConfig {
    /// Interrupts.
    pub irq_mode: IrqMode,
    /// Which interfaces of virtio it sees.
    pub interface: Interface,
    /// What firmware executes for the function.
    pub rom: Option<Arc<OptionRom>>,
}

/// What becomes of kicks.
#[derive(Clone, Copy, Debug, Default)]
pub struct KickConfig {
    /// How they get to the VF.
    pub notify_mode: NotifyMode,
    /// Those before DRIVER_OK.
    pub early: EarlyKicks,
}

/// How long things may take, 1 ms to 60 s each.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// One register access. A vCPU waits that long for a dead PF.
    pub access: Duration,
    /// A reset of the device to end, before the function is reset.
    pub reset: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { access: Duration::from_millis(100), reset: Duration::from_secs(1) }
    }
}

impl TransitionalConfig {
    /// Everything by default.
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            offer: OfferConfig::default(),
            kicks: KickConfig::default(),
            deadlines: Deadlines::default(),
            shadow: true,
        }
    }

    /// Whether the values are in range.
    pub(super) fn check(&self) -> Result<(), TransitionalError> {
        let range = Duration::from_millis(1)..=Duration::from_secs(60);
        match [self.deadlines.access, self.deadlines.reset].into_iter().find(|deadline| !range.contains(deadline)) {
            Some(deadline) => Err(TransitionalError::Deadline(deadline)),
            None => Ok(()),
        }
    }
}

/// What a function is made of.
pub struct Parts {
    /// The VF.
    pub vf: Arc<dyn PciFunction>,
    /// Its legacy registers.
    pub registers: Arc<dyn LegacyRegisters>,
    /// What the guest's interrupts and kicks need.
    pub platform: PlatformParts,
    /// The PF, if this process drives it: for notify addresses in its BARs.
    pub owner: Option<Arc<dyn PciFunction>>,
    /// Set when the VM stops; ends every wait.
    pub cancelled: Arc<AtomicBool>,
}

/// What a function needs of the platform.
pub struct PlatformParts {
    /// Gives out the guest's MSI-X interrupts.
    pub msi: Arc<dyn MsiSource>,
    /// For kicks without exits; `None` where the platform cannot.
    pub port_events: Option<Arc<dyn PortEvents>>,
    /// The function's share of its interrupt line; `None`: no INTx.
    pub irq_line: Option<Arc<dyn IrqLine>>,
    /// The number of that line, for the interrupt line register.
    pub irq_number: u8,
}

/// Why a function could not be made.
#[derive(Debug, Error)]
pub enum TransitionalError {
    /// The function below cannot be used.
    #[error(transparent)]
    Function(#[from] FunctionError),
    /// Not a device that has a legacy interface.
    #[error(
        "{name} (device id {device_id:#06x}) has no transitional counterpart; use a modern virtio net, block, console, \
         entropy, balloon, SCSI or 9P function"
    )]
    DeviceType {
        /// The function.
        name: String,
        /// Its device id.
        device_id: u16,
    },
    /// BAR 0 is where the legacy registers go.
    #[error("{0} has a BAR 0 of its own, which the legacy registers need; VFs for legacy use have none")]
    Bar0Taken(String),
    /// The configuration space cannot be built.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The VF's MSI-X capability makes no sense.
    #[error(transparent)]
    MsixLayout(#[from] MsixLayoutError),
    /// The VF's MSI-X structures are not where they could be.
    #[error("the MSI-X table or pending bits of the function are not inside a memory BAR (BAR {bar})")]
    MsixOutsideBar {
        /// BAR number in the capability.
        bar: u8,
    },
    /// The platform has no interrupts or eventfds left.
    #[error("cannot allocate interrupts for the function")]
    Interrupts(#[source] io::Error),
    /// INTx was asked for, and something for it is missing.
    #[error("irq=intx needs an interrupt line and a function with MSI-X vectors; use irq=auto or another slot")]
    NoIntx,
    /// MSI-X was asked for, and the VF has none.
    #[error("irq=msix needs a function with MSI-X; use irq=auto or configure vectors for the VF")]
    NoMsix,
    /// The modern interface was asked for with interrupts that it cannot have here.
    #[error("interface=modern needs MSI-X, for a VF has no INTx of its own; leave irq=intx out")]
    ModernIntx,
    /// Kicks without exits were asked for, and something for them is missing.
    #[error("notify=ioeventfd needs port events of the platform and a notify address in reach; use notify=auto")]
    NoIoeventfd,
    /// A deadline out of range.
    #[error("a deadline of {0:?} is out of range; use 1 ms to 60 s")]
    Deadline(Duration),
}
