// SPDX-License-Identifier: Apache-2.0
//! PCI bus 0: the ports of configuration mechanism 1, the slots, and the windows that their functions
//! have on the buses. Source: PCI Local Bus 3.0, 3.2.2.3.2; for port 0xcf9 the PIIX3 data sheet.
//!
//! A configuration access takes no lock here. Only [`PciRoot::remap`] and [`PciRoot::add`] do.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Bridge;
use super::mapped::{MappedBars, Wanted};
use super::{BarWindow, PciDevice};
use crate::bus::{Access, Bus, Claim, Effect, IoDevice, Range, Width};
use crate::contract::platform::GuestMapper;
use crate::contract::{Saved, StateError};

/// Slots (device numbers) of a bus.
const SLOTS: usize = 32;
/// CONFIG_ADDRESS: configuration accesses go to the data ports.
const ADDRESS_ENABLE: u32 = 1 << 31;
/// CONFIG_ADDRESS: the bits that stay. The two low ones are always 0.
const ADDRESS_BITS: u32 = !3;
/// CONFIG_ADDRESS: everything that must be 0 for a register of bus 0, function 0. The reserved bits
/// are among them: some AMD chipsets use four of them for the extended space, and a guest that tries
/// must not meet the registers below 256 again under other names.
const ADDRESS_NOT_HERE: u32 = 0x7fff_0700;
/// Offsets in [`CONFIG_PORTS`].
const RESET_CONTROL: u64 = 1;
const DATA: u64 = 4;
/// Reset control: the kind of reset that bit 2 starts; stored, without effect.
const RESET_KIND: u8 = 1 << 1;
/// Reset control: start.
const RESET_START: u8 = 1 << 2;

/// Number of ports: CONFIG_ADDRESS with the reset control register, and CONFIG_DATA. A PC has them from 0xcf8 on.
pub const CONFIG_PORTS: u64 = 8;

/// Why a function could not be put into a slot.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SlotError {
    /// No such slot.
    #[error("PCI slot {0} does not exist; use 1 to 31")]
    OutOfRange(u8),
    /// Slot in use.
    #[error("PCI slot {slot} is taken by {by}; use another")]
    Taken {
        /// The slot.
        slot: u8,
        /// Name of the function in it.
        by: String,
    },
}

/// What the guest wrote to the ports, as one plain value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciRootState {
    /// CONFIG_ADDRESS.
    address: u32,
    reset_control: u8,
}

type Slots = [Option<Arc<dyn PciDevice>>; SLOTS];

/// Bus 0 with function 0 of up to 32 slots. Everything else answers all ones.
pub struct PciRoot {
    slots: ArcSwap<Slots>,
    address: AtomicU32,
    reset_control: AtomicU8,
    /// Held while windows are collected and installed.
    remapping: Mutex<MappedBars>,
}

impl Default for PciRoot {
    fn default() -> Self {
        Self::new()
    }
}

impl PciRoot {
    /// A bus with nothing but a host bridge in slot 0.
    pub fn new() -> Self {
        let mut slots: Slots = Default::default();
        slots[0] = Some(Arc::new(Bridge::host()));
        Self {
            slots: ArcSwap::from_pointee(slots),
            address: AtomicU32::new(0),
            reset_control: AtomicU8::new(0),
            remapping: Mutex::default(),
        }
    }

    /// From the next [`Self::remap`] on, BARs go into the guest's memory where their functions let them.
    pub fn set_mapper(&self, mapper: Arc<dyn GuestMapper>) {
        self.remapping.lock().unwrap_or_else(PoisonError::into_inner).set_mapper(mapper);
    }

    /// Puts a function into a slot, 1 to 31. Its windows appear with the next [`Self::remap`].
    pub fn add(&self, slot: u8, device: Arc<dyn PciDevice>) -> Result<(), SlotError> {
        let _guard = self.remapping.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slots = Slots::clone(&self.slots.load());
        match slots.get_mut(usize::from(slot)) {
            None => return Err(SlotError::OutOfRange(slot)),
            Some(Some(other)) => return Err(SlotError::Taken { slot, by: other.name().to_owned() }),
            Some(free) => *free = Some(device),
        }
        self.slots.store(Arc::new(slots));
        Ok(())
    }

    /// The lowest free slot.
    pub fn free_slot(&self) -> Option<u8> {
        self.slots.load().iter().position(Option::is_none).and_then(|slot| u8::try_from(slot).ok())
    }

    /// All functions with their slots, the host bridge included, in slot order.
    pub fn devices(&self) -> Vec<(u8, Arc<dyn PciDevice>)> {
        (0..).zip(self.slots.load().iter()).filter_map(|(slot, device)| Some((slot, device.clone()?))).collect()
    }

    /// Makes the buses decode what COMMAND and BARs of all functions say now, then tells each
    /// function which of its windows are decoded. Of windows that overlap, the one in the lower slot
    /// is. What is decoded and may be mapped is mapped; what was mapped elsewhere is not any more, and
    /// that comes before. Run this for [`Effect::Remap`], when no device lock is held.
    ///
    /// Two vCPUs may be here at once. Each reads all functions again after it got the lock, so the
    /// last one to leave has installed what is true, whatever made the other one come.
    pub fn remap(&self, ports: &Bus, memory: &Bus) {
        let mut mapped = self.remapping.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut port_claims, mut memory_claims) = (Vec::new(), Vec::new());
        let devices = self.devices();
        let windows: Vec<_> = devices.iter().map(|(_, device)| device.windows()).collect();
        for ((_, device), windows) in devices.iter().zip(&windows) {
            for window in windows {
                let claims = if window.kind.is_io() { &mut port_claims } else { &mut memory_claims };
                claims.extend(claim(device, window));
            }
        }
        let mut ports_decoded = ports.set_windows(&port_claims).into_iter();
        let mut memory_decoded = memory.set_windows(&memory_claims).into_iter();
        let mut wanted = Vec::new();
        for ((slot, device), mut windows) in devices.iter().zip(windows) {
            windows.retain(|window| {
                let decoded = if window.kind.is_io() { &mut ports_decoded } else { &mut memory_decoded };
                Range::new(window.base, window.size).is_some() && decoded.next().unwrap_or(false)
            });
            device.placed(&windows);
            let memory = windows.iter().filter(|window| !window.kind.is_io());
            wanted.extend(memory.filter_map(|window| Wanted::new(*slot, device.as_ref(), window)));
        }
        mapped.set(wanted);
    }

    /// Bytes of BARs that are in the guest's memory now, by slot.
    pub fn mapped_bytes(&self, slot: u8) -> u64 {
        self.remapping.lock().unwrap_or_else(PoisonError::into_inner).bytes(slot)
    }

    /// Power-on state of the ports. The functions are reset by their owner.
    pub fn reset(&self) {
        self.address.store(0, Ordering::Relaxed);
        self.reset_control.store(0, Ordering::Relaxed);
    }

    /// The function and register that CONFIG_ADDRESS selects, `port` (0..=3) into its dword.
    fn selected<T>(&self, port: u64, access: impl FnOnce(&dyn PciDevice, u16) -> T) -> Option<T> {
        let address = self.address.load(Ordering::Relaxed);
        if address & ADDRESS_ENABLE == 0 || address & ADDRESS_NOT_HERE != 0 {
            return None;
        }
        let slots = self.slots.load();
        let device = slots.get((address >> 11) as usize & (SLOTS - 1))?.as_ref()?;
        Some(access(device.as_ref(), (address & 0xfc) as u16 + port as u16))
    }

    fn data_read(&self, port: u64, width: Width) -> u64 {
        let read = |device: &dyn PciDevice, register: u16| -> u32 {
            if register.is_multiple_of(width.bytes() as u16) {
                return device.config_read(register, width);
            }
            // A word at 0xcfd is one access with two byte enables; functions take aligned ones only.
            (0..width.bytes() as u16)
                .map(|byte| (device.config_read(register + byte, Width::B1) & 0xff) << (8 * byte))
                .fold(0, |value, byte| value | byte)
        };
        self.selected(port, read).map_or(width.all_ones(), |value| width.truncate(value.into()))
    }

    fn data_write(&self, port: u64, width: Width, value: u32) -> Effect {
        let write = |device: &dyn PciDevice, register: u16| -> Effect {
            if register.is_multiple_of(width.bytes() as u16) {
                return device.config_write(register, width, value);
            }
            (0..width.bytes() as u16).fold(Effect::None, |effect, byte| {
                match device.config_write(register + byte, Width::B1, value >> (8 * byte) & 0xff) {
                    Effect::None => effect,
                    other => other,
                }
            })
        };
        self.selected(port, write).unwrap_or_default()
    }

    fn write_reset_control(&self, value: u8) -> Effect {
        self.reset_control.store(value & RESET_KIND, Ordering::Relaxed);
        if value & RESET_START != 0 { Effect::Reset } else { Effect::None }
    }
}

/// The ports. The functions have states of their own.
impl Saved for PciRoot {
    type State = PciRootState;

    fn state(&self) -> PciRootState {
        let (address, reset_control) = (&self.address, &self.reset_control);
        PciRootState { address: address.load(Ordering::Relaxed), reset_control: reset_control.load(Ordering::Relaxed) }
    }

    fn set_state(&self, state: PciRootState) -> Result<(), StateError> {
        self.address.store(state.address & ADDRESS_BITS, Ordering::Relaxed);
        self.reset_control.store(state.reset_control & RESET_KIND, Ordering::Relaxed);
        Ok(())
    }
}

impl IoDevice for PciRoot {
    fn name(&self) -> &str {
        "pci-config"
    }

    fn read(&self, access: Access) -> u64 {
        match (access.offset, access.width) {
            (0, Width::B4) => self.address.load(Ordering::Relaxed).into(),
            (RESET_CONTROL, Width::B1) => self.reset_control.load(Ordering::Relaxed).into(),
            (DATA..8, width) if inside_dword(access) => self.data_read(access.offset - DATA, width),
            // Narrow accesses to CONFIG_ADDRESS are for other devices, of which there are none. All
            // ones tell a prober of configuration mechanism 2 that it is not here.
            (_, width) => width.all_ones(),
        }
    }

    fn write(&self, access: Access, value: u64) -> Effect {
        match (access.offset, access.width) {
            (0, Width::B4) => {
                self.address.store(value as u32 & ADDRESS_BITS, Ordering::Relaxed);
                Effect::None
            }
            (RESET_CONTROL, Width::B1) => self.write_reset_control(value as u8),
            (DATA..8, width) if inside_dword(access) => self.data_write(access.offset - DATA, width, value as u32),
            _ => Effect::None,
        }
    }
}

/// Whether an access to the data ports ends inside them.
fn inside_dword(access: Access) -> bool {
    access.width <= Width::B4 && access.offset + access.width.bytes() as u64 <= 2 * DATA
}

/// One BAR on a bus: turns bus accesses into BAR accesses.
struct BarOnBus {
    device: Arc<dyn PciDevice>,
    bar: u8,
}

impl IoDevice for BarOnBus {
    fn name(&self) -> &str {
        self.device.name()
    }
    fn read(&self, access: Access) -> u64 {
        self.device.bar_read(self.bar, access)
    }
    fn write(&self, access: Access, value: u64) -> Effect {
        self.device.bar_write(self.bar, access, value)
    }
}

fn claim(device: &Arc<dyn PciDevice>, window: &BarWindow) -> Option<Claim> {
    let range = Range::new(window.base, window.size)?;
    Some(Claim { range, device: Arc::new(BarOnBus { device: device.clone(), bar: window.bar }) })
}

#[cfg(test)]
#[path = "root_tests.rs"]
mod tests;
