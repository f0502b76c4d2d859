// SPDX-License-Identifier: Apache-2.0
//! Which of its interrupts the function uses: MSI-X before MSI before INTx, as the guest enables
//! them. Called with the function's lock held.

use std::io;
use std::sync::Arc;

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::faults::Faults;
use super::msi::{Msi, MsiSetting};
use super::report::InterruptUse;
use crate::contract::platform::{IrqLine, Resampled};
use crate::function::{IntxEvents, PciFunction, eventfds};
use crate::pci::Msix;

/// The interrupt pin: what the function signals, and what tells it that the guest is done.
pub(super) struct Pin {
    line: Arc<dyn IrqLine>,
    trigger: EventFd,
    unmask: EventFd,
    live: Option<Box<dyn Resampled>>,
}

impl Pin {
    /// A pin on `line`, not in use.
    pub(super) fn new(line: Arc<dyn IrqLine>) -> io::Result<Self> {
        let event = || EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK);
        Ok(Self { line, trigger: event()?, unmask: event()?, live: None })
    }

    /// Whether the line can tell when the guest has handled an interrupt; without that, a pin is of
    /// no use.
    pub(super) fn works(&self) -> bool {
        self.line.resample(&self.trigger, &self.unmask).is_ok()
    }
}

/// What the guest wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// MSI-X is enabled.
    pub msix: bool,
    /// MSI as the guest has set it, if it is enabled.
    pub msi: Option<MsiSetting>,
    /// COMMAND lets the pin out.
    pub intx: bool,
}

/// The interrupts of one function.
pub(super) struct Interrupts {
    pub pin: Option<Pin>,
    pub msi: Option<Msi>,
    pub used: InterruptUse,
    /// Vectors of MSI in use.
    msi_vectors: u16,
}

impl Interrupts {
    /// Nothing in use.
    pub(super) fn new(pin: Option<Pin>, msi: Option<Msi>) -> Self {
        Self { pin, msi, used: InterruptUse::None, msi_vectors: 0 }
    }

    /// Makes the function use what is wanted.
    pub(super) fn apply(&mut self, wanted: &Wanted, function: &dyn PciFunction, msix: Option<&Msix>, faults: &Faults) {
        let setting = wanted.msi.filter(|setting| setting.vectors != 0 && !wanted.msix);
        let used = match (wanted.msix, setting) {
            (true, _) => InterruptUse::Msix,
            (false, Some(_)) => InterruptUse::Msi,
            (false, None) if wanted.intx && self.pin.is_some() => InterruptUse::Intx,
            _ => InterruptUse::None,
        };
        let same_msi = used != InterruptUse::Msi || setting.is_some_and(|s| s.vectors == self.msi_vectors);
        if used != self.used || !same_msi {
            self.stop(function, faults);
            self.start(used, setting, function, msix, faults);
        }
        if let (Some(msi), Some(setting)) = (&mut self.msi, wanted.msi)
            && let Err(error) = msi.apply(&setting)
        {
            faults.count(&format_args!("cannot route an MSI: {error}"));
        }
    }

    fn start(
        &mut self,
        used: InterruptUse,
        setting: Option<MsiSetting>,
        function: &dyn PciFunction,
        msix: Option<&Msix>,
        faults: &Faults,
    ) {
        let done = match (used, msix, &self.msi, setting) {
            (InterruptUse::Msix, Some(msix), ..) => {
                let events: Vec<_> = (0..msix.vectors()).map(|vector| msix.event(vector)).collect();
                function.set_msix(&events)
            }
            (InterruptUse::Msi, _, Some(msi), Some(setting)) => {
                self.msi_vectors = setting.vectors;
                function.set_msi(&msi.events(setting.vectors))
            }
            (InterruptUse::Intx, ..) => return self.start_intx(function, faults),
            _ => Ok(()),
        };
        match done {
            Ok(()) => self.used = used,
            Err(error) => faults.count(&error),
        }
    }

    /// The line's side before the function's: somebody has to listen when it signals.
    fn start_intx(&mut self, function: &dyn PciFunction, faults: &Faults) {
        let Some(pin) = &mut self.pin else { return };
        match pin.line.resample(&pin.trigger, &pin.unmask) {
            Ok(live) => pin.live = Some(live),
            Err(error) => return faults.count(&format_args!("cannot wire the interrupt pin: {error}")),
        }
        match function.set_intx(Some(IntxEvents { trigger: &pin.trigger, unmask: &pin.unmask })) {
            Ok(()) => self.used = InterruptUse::Intx,
            Err(error) => {
                pin.live = None;
                faults.count(&error);
            }
        }
    }

    /// The function uses no interrupt after this.
    pub(super) fn stop(&mut self, function: &dyn PciFunction, faults: &Faults) {
        let done = match self.used {
            InterruptUse::None => Ok(()),
            InterruptUse::Intx => function.set_intx(None),
            InterruptUse::Msi => function.set_msi(&[]),
            InterruptUse::Msix => function.disable_msix(),
        };
        if let Err(error) = done {
            faults.count(&error);
        }
        self.forget();
    }

    /// As [`Self::stop`], when the function uses none any more.
    pub(super) fn forget(&mut self) {
        if let Some(pin) = &mut self.pin {
            pin.live = None;
            let _ = (eventfds::take(&pin.trigger), eventfds::take(&pin.unmask));
        }
        self.used = InterruptUse::None;
        self.msi_vectors = 0;
    }
}
