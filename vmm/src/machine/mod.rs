// SPDX-License-Identifier: Apache-2.0
//! One machine, from power-on to its end: memory, chips, PCI functions, processors, and the order in
//! which they are put together and taken apart. A reboot is a new machine.
#![forbid(unsafe_code)]

mod chipset;
mod error;
mod legacy_virtio;
mod processors;
mod watchdog;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arch::{cpuid, layout};
use devices::bus::{Bus, Range};
use devices::pci::PciRoot;
use event_manager::{EventManager, MutEventSubscriber, SubscriberOps};

pub use chipset::SerialOutput;
pub use error::SetupError;
pub use legacy_virtio::DeviceSection;

use crate::config::Plan;
use crate::kvm::{GuestRam, IrqLines, MsiRoutes, PortIoEvents, RamOptions, Vm};
use crate::vcpu::{Board, ExitReason, VcpuState, Vcpus};
use chipset::Chipset;
use legacy_virtio::LegacyVirtio;

/// How long the vCPUs may take to stop. Their device accesses end at once when the machine stops.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The main loop's subscribers.
pub type Subscriber = Box<dyn MutEventSubscriber + Send>;
/// The main loop.
pub type Loop = EventManager<Subscriber>;

/// A machine that is ready to run, or runs.
pub struct Machine {
    // In the order of their end: processors before the devices they use, those before the VM.
    vcpus: Vcpus,
    legacy: LegacyVirtio,
    chipset: Chipset,
    cancelled: Arc<AtomicBool>,
    _vm: Vm,
}

impl Machine {
    /// Puts the machine together and starts its processors paused.
    ///
    /// # Errors
    /// Whatever part cannot be had; all others are released again.
    pub fn build(plan: &Plan, serial: SerialOutput) -> Result<Self, SetupError> {
        let vm = Vm::new()?;
        let ram = memory(&vm, plan)?;
        vm.map_ram(&ram)?;
        let platform = Platform::new(&vm)?;
        let (ports, mmio) = (Arc::new(Bus::new("ports")), Arc::new(Bus::new("memory")));
        let root = Arc::new(PciRoot::new());

        let chipset = Chipset::new(&platform, &ports, &root, plan.memory, serial)?;
        let cancelled = Arc::new(AtomicBool::new(false));
        let legacy = LegacyVirtio::new(plan, &platform, &ram, &root, &cancelled)?;
        place_functions(&root)?;
        root.remap(&ports, &mmio);

        let vcpus = processors::create(&vm, plan, ram.memory(), &legacy.interrupts())?;
        let board = Board {
            remap: {
                let (root, ports, mmio) = (Arc::clone(&root), Arc::clone(&ports), Arc::clone(&mmio));
                Arc::new(move || root.remap(&ports, &mmio))
            },
            ports,
            memory: mmio,
            cancelled: Arc::clone(&cancelled),
            thread_init: None,
        };
        let vcpus = Vcpus::start(vcpus, &board, VcpuState::Paused)?;
        Ok(Self { vcpus, legacy, chipset, cancelled, _vm: vm })
    }

    /// The serial port, for input.
    pub fn serial(&self) -> Arc<devices::chipset::SerialPort> {
        Arc::clone(&self.chipset.serial)
    }

    /// Lets the guest run until it ends, or `stop_wanted` says so; runs the main loop meanwhile.
    ///
    /// # Errors
    /// When the main loop cannot go on. The guest is stopped then as well.
    pub fn run(&self, events: &mut Loop, stop_wanted: impl Fn() -> bool) -> Result<ExitReason, SetupError> {
        let ended: Subscriber = Box::new(processors::EndWatch::new(&self.vcpus)?);
        let subscribers = self.legacy.pumps().into_iter().chain(self.legacy.watchdog()?).chain([ended]);
        let ids: Vec<_> = subscribers.map(|subscriber| events.add_subscriber(subscriber)).collect();
        let result = self.run_until_end(events, stop_wanted);
        for id in ids {
            // An id that was just given out cannot be unknown.
            let _ = events.remove_subscriber(id);
        }
        result
    }

    fn run_until_end(&self, events: &mut Loop, stop_wanted: impl Fn() -> bool) -> Result<ExitReason, SetupError> {
        self.vcpus.resume()?;
        while self.vcpus.exit_reason().is_none() && !stop_wanted() {
            events.run().map_err(SetupError::MainLoop)?;
        }
        self.vcpus.stop(STOP_LIMIT)?;
        Ok(self.vcpus.exit_reason().unwrap_or(ExitReason::Stopped))
    }

    /// What the devices did so far.
    pub fn devices(&self) -> Vec<DeviceSection> {
        self.legacy.sections()
    }

    /// Exits of each vCPU so far.
    pub fn exits(&self) -> Vec<crate::vcpu::ExitCounts> {
        (0..self.vcpus.len()).filter_map(|index| Some(self.vcpus.vcpu(index)?.stats().counts())).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // A register access that waits for a device must not hold up the end.
        self.cancelled.store(true, Ordering::SeqCst);
        if let Err(error) = self.vcpus.stop(STOP_LIMIT) {
            tracing::error!("the processors do not stop: {error}");
        }
        self.legacy.shut_down();
        self.chipset.drain();
    }
}

/// What devices need of KVM.
struct Platform {
    lines: IrqLines,
    msi: Arc<MsiRoutes>,
    port_events: Arc<PortIoEvents>,
}

impl Platform {
    fn new(vm: &Vm) -> Result<Self, SetupError> {
        let msi = Arc::new(MsiRoutes::new(vm)?);
        Ok(Self { lines: IrqLines::new(vm), msi, port_events: Arc::new(PortIoEvents::new(vm)) })
    }
}

fn memory(vm: &Vm, plan: &Plan) -> Result<GuestRam, SetupError> {
    let ranges: Vec<_> =
        layout::ram_ranges(plan.memory)?.into_iter().map(|(base, size)| (base.0, size as u64)).collect();
    let bits = cpuid::physical_bits(&vm.supported_cpuid()?);
    let end = ranges.last().map_or(0, |(base, size)| base + size);
    if end > 1u64.checked_shl(bits.into()).unwrap_or(u64::MAX) {
        return Err(SetupError::AddressWidth { memory: api::format_size(plan.memory), bits });
    }
    Ok(GuestRam::new(&ranges, RamOptions { huge_pages: true, ..Default::default() })?)
}

/// The firmware's part of PCI: bases for all BARs, interrupt lines, decoding on.
fn place_functions(root: &PciRoot) -> Result<(), SetupError> {
    let ports = layout::PCI_IO_START.into();
    let ports = Range::new(ports, u64::from(layout::PCI_IO_LAST) - ports + 1);
    let memory = Range::new(layout::PCI_MMIO_START, layout::PCI_MMIO_END - layout::PCI_MMIO_START);
    match (ports, memory) {
        (Some(ports), Some(memory)) => Ok(root.assign_bars(ports, memory)?),
        _ => Err(SetupError::Internal("the windows for PCI BARs are empty")),
    }
}

#[cfg(test)]
mod tests {
    /// The guest's tables and the PCI functions know these lines each for themselves, because devices and boot
    /// tables must not depend on each other.
    #[test]
    fn pci_functions_are_wired_to_the_lines_that_the_tables_call_pci() {
        let mut lines = devices::pci::INTX_IRQS;
        lines.sort_unstable();
        assert_eq!(lines, arch::irq::PCI_LINES);
    }
}
