// SPDX-License-Identifier: Apache-2.0
//! The guest's transitional function: four owners put together, and the PCI calls handed on to them.
//!
//! | owner | has | under the lock of [`Core`] |
//! | --- | --- | --- |
//! | [`Registers`] | layout of BAR0, the way down | [`RegisterCache`] |
//! | [`Interrupts`] | hidden vectors, the guest's vector table | [`InterruptState`] |
//! | [`Kicks`] | notify address, queues that are set up, ioeventfds | nothing: lock-free |
//! | [`Service`] | resets, whether the VF is there | [`DmaState`] |
//!
//! # Locks
//!
//! | lock | held for | guards |
//! | --- | --- | --- |
//! | [`Core`] | a register access below, bounded by its deadline | BAR0 but notify and ISR, COMMAND and MSI-X changes |
//! | [`GuestConfig`] | a few instructions | configuration space, interrupt status, pin |
//! | ioeventfds in [`Kicks`] | making or ending ioeventfds | which queues have one |
//! | [`Msix`] | one vector's routing | vector table |
//!
//! `Core` comes before the others; the others are never held together. Kicks take none of them,
//! ISR reads, interrupts and reads of configuration space only that of `GuestConfig`.
//!
//! | module | what it is |
//! | --- | --- |
//! | `build` | how a function is made |
//! | `bar0`, `traced` | the guest's accesses to BAR0, and the same with a record |
//! | `consequences` | what a register write means for the other owners |
//! | `life` | resets, loss and return |
//! | `saved` | the state as one value |
//! | `report`, `mirror`, `waits` | for people |

mod bar0;
mod build;
mod consequences;
mod life;
pub(super) mod mirror;
mod report;
pub(super) mod saved;
mod traced;
mod waits;

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::below::back_end::BackEnd;
use super::guest_config::space::GuestConfig;
use super::interrupts::vectors::InterruptPump;
use super::interrupts::{InterruptState, Interrupts, Selection, Setup};
use super::kicks::Kicks;
use super::kicks::early_watch::EarlyWatch;
use super::registers::Registers;
use super::registers::cache::RegisterCache;
use super::registers::events::Event;
use super::service::modern::ModernInterface;
use super::service::{DmaState, Service};
use super::settings::TransitionalConfig;
use super::telemetry::interrupt_log::{InterruptLog, InterruptReport};
use super::telemetry::stats::DeviceCounter;
use super::telemetry::trace::Tracer;
use crate::bus::{Access, Effect, Width};
use crate::function::MappableArea;
#[cfg(doc)]
use crate::pci::Msix;
use crate::pci::{BarWindow, Changed, Command, OptionRom, PciDevice, ROM_BAR};

/// What register accesses change; one at a time.
struct Core {
    registers: RegisterCache,
    interrupts: InterruptState,
    dma: DmaState,
}

/// A transitional function.
pub struct TransitionalDevice {
    config: TransitionalConfig,
    /// Name of the VF, for reports.
    vf_name: String,
    guest_config: Arc<GuestConfig>,
    registers: Registers,
    interrupts: Interrupts,
    kicks: Kicks,
    service: Service,
    modern: ModernInterface,
    rom: Option<OptionRom>,
    core: Mutex<Core>,
    /// What reports show of `core`, so that they need not wait for the lock.
    published: AtomicU16,
    /// The same over time.
    interrupt_log: InterruptLog,
    /// Used by the main loop only.
    early_watch: Mutex<EarlyWatch>,
    back_end: Arc<BackEnd>,
}

impl TransitionalDevice {
    /// What turns the VF's signals into INTx; for the event loop, once. `None` if the guest has no
    /// INTx.
    pub fn pump(&self) -> Option<InterruptPump> {
        self.interrupts.pump()
    }

    /// Has the function's legacy accesses noted whenever `tracer` is on.
    pub fn trace(&self, tracer: &Arc<Tracer>) {
        self.back_end.trace().attach(tracer);
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock, with nothing in the register cache that may have become wrong since it was held last.
    fn lock_for_access(&self) -> MutexGuard<'_, Core> {
        let mut core = self.lock();
        self.registers.begin_access(&mut core.registers, self.modern.uses());
        core
    }

    /// Tells [`Self::report`] what it shows of `core`.
    fn publish(&self, core: &Core) {
        let msix = u16::from(core.interrupts.guest_msix()) << 8;
        let value = u16::from(core.registers.status()) | msix;
        if self.published.swap(value, Ordering::Relaxed) != value {
            self.interrupt_log.changed(core.registers.status(), self.interrupts_now(msix != 0), self.intx_made());
        }
    }

    /// How the guest gets interrupts, with MSI-X on or off.
    fn interrupts_now(&self, guest_msix: bool) -> InterruptReport {
        match (guest_msix, self.interrupts.offers_intx()) {
            (true, _) => InterruptReport::Msix,
            (false, true) => InterruptReport::Intx,
            (false, false) => InterruptReport::None,
        }
    }

    /// INTx made of the VF's signals so far.
    fn intx_made(&self) -> u64 {
        let counts = self.back_end.stats().counters();
        counts.get(DeviceCounter::QueueInterrupts) + counts.get(DeviceCounter::ConfigInterrupts)
    }

    /// Last status the guest wrote, and whether it has MSI-X on.
    fn published(&self) -> (u8, bool) {
        let value = self.published.load(Ordering::Relaxed);
        (value as u8, value & 1 << 8 != 0)
    }

    fn guest_command_changed(&self, core: &mut Core, command: Command) {
        core.registers.apply(Event::CommandChanged);
        let started_early = core.registers.is_started_early();
        self.service.guest_command(&mut core.dma, command);
        if !core.dma.is_allowed() && started_early {
            self.kicks.start_may_be_lost();
        }
    }

    fn guest_msix_written(&self, core: &mut Core) {
        core.registers.apply(Event::MsixControlWritten);
        let setup = Setup {
            queue_select: core.registers.queue_select(),
            configured: core.registers.configured().collect(),
            driver_ok: core.registers.has_driver_ok(),
        };
        if self.interrupts.control_written(&mut core.interrupts, &setup) == Selection::Lost {
            core.registers.apply(Event::AccessFailed);
        }
    }
}

impl PciDevice for TransitionalDevice {
    fn name(&self) -> &str {
        &self.config.id
    }

    fn config_read(&self, offset: u16, width: Width) -> u32 {
        self.guest_config.read(offset, width)
    }

    /// Holds the function's lock, so that BAR0 never has one layout for a part of an access and the
    /// other for the rest (hazard H3).
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Effect {
        let mut core = self.lock();
        let write = self.guest_config.write(offset, width, value);
        if write.changed.contains(Changed::COMMAND) {
            self.guest_command_changed(&mut core, write.command);
        }
        if write.changed.contains(Changed::CAPABILITIES) {
            self.guest_msix_written(&mut core);
        }
        self.publish(&core);
        if write.windows_moved { Effect::Remap } else { Effect::None }
    }

    fn windows(&self) -> Vec<BarWindow> {
        self.guest_config.windows()
    }

    fn placed(&self, windows: &[BarWindow]) {
        let base = windows.iter().find(|window| window.bar == 0).and_then(|window| u16::try_from(window.base).ok());
        self.kicks.set_base(base);
    }

    fn mappable(&self, bar: u8) -> Vec<MappableArea> {
        if bar == ROM_BAR || self.service.is_gone() { Vec::new() } else { self.modern.mappable(bar) }
    }

    fn place_bar(&self, bar: u8, base: u64) {
        self.guest_config.place_bar(bar, base);
    }

    fn bars(&self) -> Vec<BarWindow> {
        self.guest_config.bars()
    }

    fn bar_read(&self, bar: u8, access: Access) -> u64 {
        let Access { offset, width, .. } = access;
        if bar == ROM_BAR {
            return self.rom.as_ref().map_or(width.all_ones(), |rom| rom.read(offset, width));
        }
        if bar != 0 {
            let own = self.interrupts.bar_read(bar, offset, width);
            return own.unwrap_or_else(|| self.modern.read(bar, offset, width));
        }
        if self.back_end.trace().is_on() { self.traced_read(access) } else { self.bar0_read(offset, width, |_| ()) }
    }

    fn bar_write(&self, bar: u8, access: Access, value: u64) -> Effect {
        let Access { offset, width, .. } = access;
        if bar == 0 {
            if self.back_end.trace().is_on() {
                self.traced_write(access, value);
            } else {
                self.bar0_write(offset, width, value, |_| ());
            }
            return Effect::None;
        }
        if bar == ROM_BAR {
            return Effect::None;
        }
        let own = self.interrupts.bar_write(bar, offset, width, value).is_some();
        if own || !self.modern.write(bar, offset, width, value) { Effect::None } else { Effect::Remap }
    }
}
