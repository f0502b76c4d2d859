// SPDX-License-Identifier: Apache-2.0
//! The functions of a machine that are passed through as they are.

use std::sync::Arc;

use arch::irq::PciInterrupt;
use devices::bus::Width;
use devices::function::detachable::Detachable;
use devices::function::{Lifetime, Named, PciFunction};
use devices::passthrough::{PassthroughDevice, PassthroughParts, PassthroughReport};
use devices::pci::{PciDevice, PciRoot};
use devices::spec::pci::INTERRUPT_PIN;
use devices::transitional::FaultChange;
use serde::Serialize;

use super::hardware::{self, Hardware};
use super::observer::Observer;
use super::removal::Watched;
use super::{Platform, RemapBars, SetupError};
use crate::config::{FunctionPlan, PassthroughPlan};

/// All functions passed through.
pub(super) struct Passthrough {
    functions: Vec<Function>,
    root: Arc<PciRoot>,
}

struct Function {
    slot: u8,
    handle: Arc<Detachable>,
    device: Arc<PassthroughDevice>,
}

/// What one function did, for the report.
#[derive(Clone, Debug, Serialize)]
pub struct PassthroughSection {
    /// PCI slot on bus 0.
    pub slot: u8,
    /// Bytes of its BARs that are in the guest's memory now.
    pub mapped_bytes: u64,
    /// The guest's function.
    #[serde(flatten)]
    pub device: PassthroughReport,
}

impl Passthrough {
    pub(super) fn new(
        plans: &[PassthroughPlan],
        platform: &Platform,
        hardware: &Hardware<'_>,
        root: &Arc<PciRoot>,
    ) -> Result<Self, SetupError> {
        let build = |plan: &PassthroughPlan| {
            function(plan, platform, hardware, root)
                .map_err(|source| SetupError::Passthrough { id: plan.id.clone(), source })
        };
        let functions = plans.iter().map(build).collect::<Result<_, _>>()?;
        Ok(Self { functions, root: Arc::clone(root) })
    }

    /// Slots of the functions.
    pub(super) fn slots(&self) -> Vec<u8> {
        self.functions.iter().map(|f| f.slot).collect()
    }

    /// How the pins are wired of those functions that have one.
    pub(super) fn interrupts(&self) -> Vec<PciInterrupt> {
        let has_pin = |f: &&Function| f.device.config_read(INTERRUPT_PIN, Width::B1) != 0;
        self.functions.iter().filter(has_pin).map(|f| PciInterrupt::inta(f.slot)).collect()
    }

    /// What to do when functions are wanted back or fail.
    ///
    /// # Errors
    /// When one cannot be watched.
    pub(super) fn watched(&self, remap: &RemapBars, observer: &Arc<dyn Observer>) -> Result<Vec<Watched>, SetupError> {
        let mut watched = Vec::new();
        for f in &self.functions {
            let take_away = f.take_away(remap, observer);
            let handle = Arc::clone(&f.handle);
            let removed = move || {
                take_away("the system wants the function back, or its server is gone");
                handle.detach();
            };
            let removal = f.handle.removal_event().map(|event| Watched::new(event, f.handle.name(), removed));
            let take_away = f.take_away(remap, observer);
            let failed = move || take_away("the function reports an error that it cannot recover from");
            let error = f.handle.error_event().map(|event| Watched::new(event, f.handle.name(), failed));
            watched.extend(removal.transpose()?.into_iter().chain(error.transpose()?));
        }
        Ok(watched)
    }

    /// What each function did so far.
    pub(super) fn sections(&self) -> Vec<PassthroughSection> {
        let section = |f: &Function| PassthroughSection {
            slot: f.slot,
            mapped_bytes: self.root.mapped_bytes(f.slot),
            device: f.device.report(),
        };
        self.functions.iter().map(section).collect()
    }

    /// Resets the functions, so that none reaches guest memory any more.
    pub(super) fn shut_down(&self) {
        for function in self.functions.iter().filter(|function| !function.handle.is_detached()) {
            function.device.shutdown();
        }
    }
}

impl Function {
    /// Takes the function from the guest, for a reason. The observer is told once, whatever comes after.
    fn take_away(&self, remap: &RemapBars, observer: &Arc<dyn Observer>) -> impl Fn(&str) + Send + use<> {
        let (device, remap, observer) = (Arc::clone(&self.device), Arc::clone(remap), Arc::clone(observer));
        move |reason| {
            let news = !device.is_gone();
            device.taken_away(reason);
            remap();
            if news {
                observer.device(device.name(), FaultChange::Faulted(reason));
            }
        }
    }
}

fn function(
    plan: &PassthroughPlan,
    platform: &Platform,
    hardware: &Hardware<'_>,
    root: &PciRoot,
) -> Result<Function, Box<dyn std::error::Error + Send + Sync>> {
    let function: Arc<dyn PciFunction> = match &plan.function {
        FunctionPlan::Host { bdf, token, mode } => hardware.open(*bdf, *mode, *token)?,
        FunctionPlan::Served(socket) => hardware.connect(socket)?,
    };
    hardware.give_memory(function.as_ref())?;
    let handle = hardware::handle(function)?;
    let slot = root.free_slot().ok_or("no free PCI slot")?;
    let irq = PciInterrupt::inta(slot).gsi;
    let parts = PassthroughParts {
        function: Arc::clone(&handle) as _,
        msi: platform.msi.clone(),
        irq_line: Some(platform.lines.share(irq.into())?),
        irq_number: irq,
    };
    let device = PassthroughDevice::new(&plan.id, parts)?;
    root.add(slot, Arc::clone(&device) as Arc<dyn PciDevice>)?;
    Ok(Function { slot, handle, device })
}
