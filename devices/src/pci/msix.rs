// SPDX-License-Identifier: Apache-2.0
//! A function's MSI-X vectors: the table and the pending bits that a guest sees, and for each vector
//! the interrupt that delivers it. Source: PCI Local Bus 3.0, 6.8.2 and 6.8.3.
//!
//! It has a lock of its own, so that a vCPU that masks a vector never waits for another vCPU's command to the same
//! function.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::EventFd;

use super::msix_layout::{MsixLayout, MsixPart};
use crate::bus::Width;
use crate::contract::platform::{MsiInterrupt, MsiMessage, MsiSource};
use crate::contract::{Saved, StateError};
use crate::spec::pci::msix as spec;
pub use crate::spec::pci::msix::CONTROL as MSIX_CONTROL_OFFSET;

/// What a write to message control did to the function as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "INTx and the legacy register layout depend on whether MSI-X is enabled"]
pub enum MsixChange {
    /// MSI-X is enabled or disabled as before.
    None,
    /// MSI-X was disabled and is enabled now.
    Enabled,
    /// MSI-X was enabled and is disabled now.
    Disabled,
}

/// One vector as the table shows it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    message: MsiMessage,
    masked: bool,
    /// What the interrupt delivers at the moment; `None` while it is disabled.
    live: Option<MsiMessage>,
}

impl Entry {
    /// Vectors are masked at reset.
    const fn at_reset() -> Self {
        Self { message: MsiMessage { address: 0, data: 0 }, masked: true, live: None }
    }

    fn dword(&self, index: u64) -> u32 {
        match index {
            0 => self.message.address as u32,
            1 => (self.message.address >> 32) as u32,
            2 => self.message.data,
            _ => u32::from(self.masked),
        }
    }

    fn set_dword(&mut self, index: u64, value: u32) {
        let address = self.message.address;
        match index {
            // The two low bits are reserved: a message is an aligned write of 4 bytes.
            0 => self.message.address = address & !0xffff_ffff | u64::from(value & !3),
            1 => self.message.address = address & 0xffff_ffff | u64::from(value) << 32,
            2 => self.message.data = value,
            _ => self.masked = value & 1 != 0,
        }
    }
}

struct State {
    enabled: bool,
    function_masked: bool,
    entries: Box<[Entry]>,
    /// One failure of the platform is logged, not one for each access that meets it.
    failure_logged: bool,
}

impl State {
    /// What the vector is to deliver, if anything.
    fn wanted(&self, entry: &Entry) -> Option<MsiMessage> {
        (self.enabled && !self.function_masked && !entry.masked).then_some(entry.message)
    }
}

/// What a guest made of the vectors, to be saved and set again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MsixState {
    enabled: bool,
    function_masked: bool,
    /// Address, data and mask bit of each vector.
    vectors: Vec<(u64, u32, bool)>,
}

/// All vectors of one function.
pub struct Msix {
    name: String,
    layout: MsixLayout,
    interrupts: Box<[Arc<dyn MsiInterrupt>]>,
    /// For looking at an eventfd without taking its signal. Empty but during a read of the PBA.
    looker: Epoll,
    state: Mutex<State>,
}

impl Msix {
    /// Disabled MSI-X with all its interrupts. They are allocated here and not when the guest
    /// enables them, so that a shortage is the operator's error and not a silent guest's; `name` is
    /// for logs.
    pub fn new(name: &str, layout: MsixLayout, source: &dyn MsiSource) -> io::Result<Self> {
        let count = usize::from(layout.vectors());
        let interrupts = (0..count).map(|_| source.allocate()).collect::<io::Result<_>>()?;
        let state = State {
            enabled: false,
            function_masked: false,
            entries: vec![Entry::at_reset(); count].into_boxed_slice(),
            failure_logged: false,
        };
        Ok(Self { name: name.to_owned(), layout, interrupts, looker: Epoll::new()?, state: Mutex::new(state) })
    }

    /// Where table and PBA are.
    pub const fn layout(&self) -> &MsixLayout {
        &self.layout
    }

    /// Number of vectors.
    pub const fn vectors(&self) -> u16 {
        self.layout.vectors()
    }

    /// What raises `vector`; `None` if there is no such vector. The same for the life of the function.
    pub fn event(&self, vector: u16) -> Option<&EventFd> {
        self.interrupts.get(usize::from(vector)).map(|interrupt| interrupt.event())
    }

    /// Whether the guest has MSI-X enabled, masked or not.
    pub fn enabled(&self) -> bool {
        self.lock().enabled
    }

    /// Takes message control as the guest has written it to configuration space. Call it with the
    /// lock held under which configuration space was written, so that the last write counts last.
    pub fn set_control(&self, control: u16) -> MsixChange {
        let mut state = self.lock();
        let before = state.enabled;
        state.enabled = control & spec::ENABLE != 0;
        state.function_masked = control & spec::FUNCTION_MASK != 0;
        self.apply_all(&mut state);
        match (before, state.enabled) {
            (false, true) => MsixChange::Enabled,
            (true, false) => MsixChange::Disabled,
            _ => MsixChange::None,
        }
    }

    /// Whether [`Saved::set_state`] takes it.
    pub fn fits(&self, saved: &MsixState) -> Result<(), StateError> {
        let fits = saved.vectors.len() == self.interrupts.len();
        fits.then_some(()).ok_or(StateError("the function has another number of MSI-X vectors"))
    }

    /// Reset: disabled, every vector masked with an empty message. Signals stay in the eventfds.
    pub fn reset(&self) {
        let mut state = self.lock();
        state.enabled = false;
        state.function_masked = false;
        for entry in &mut state.entries {
            entry.message = MsiMessage::default();
            entry.masked = true;
        }
        self.apply_all(&mut state);
    }

    /// Reads table or PBA; `None` if the access does not lie in one of them with all its bytes. Any
    /// width and alignment.
    pub fn bar_read(&self, bar: u8, offset: u64, width: Width) -> Option<u64> {
        let part = self.layout.part(bar, offset, width)?;
        let (MsixPart::Table(base) | MsixPart::Pending(base)) = part;
        let state = self.lock();
        let mut value = 0_u128;
        for (position, index) in dwords(base, width).enumerate() {
            let dword = match part {
                MsixPart::Table(_) => Self::table_dword(&state, index),
                MsixPart::Pending(_) => self.pending_dword(&state, index),
            };
            value |= u128::from(dword) << (32 * position);
        }
        Some(width.truncate((value >> (8 * (base % 4))) as u64))
    }

    /// Writes the table, or drops a write to the PBA; `None` if the access does not lie in one of
    /// them. Bytes that are not written keep their values.
    pub fn bar_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> Option<()> {
        let MsixPart::Table(base) = self.layout.part(bar, offset, width)? else { return Some(()) };
        let shift = 8 * (base % 4);
        let mask = u128::from(width.all_ones()) << shift;
        let value = u128::from(width.truncate(value)) << shift;
        let mut state = self.lock();
        let mut touched = dwords(base, width).enumerate().peekable();
        while let Some((position, index)) = touched.next() {
            let (vector, part) = (index / 4, index % 4);
            let Some(entry) = state.entries.get_mut(vector as usize) else { break };
            let (mask, value) = ((mask >> (32 * position)) as u32, (value >> (32 * position)) as u32);
            entry.set_dword(part, entry.dword(part) & !mask | value & mask);
            // One access changes a vector at once: an 8-byte write of an address leaves no moment
            // in which half of it is in effect.
            if touched.peek().is_none_or(|(_, next)| next / 4 != vector) {
                self.apply(&mut state, vector as usize);
            }
        }
        Some(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that are to be opened are announced before the first is: a table of routes is one system call for all.
    fn apply_all(&self, state: &mut State) {
        for (entry, interrupt) in state.entries.iter().zip(&self.interrupts) {
            if let Some(message) = state.wanted(entry).filter(|message| entry.live != Some(*message)) {
                interrupt.announce(message);
            }
        }
        for vector in 0..self.interrupts.len() {
            self.apply(state, vector);
        }
    }

    /// Makes the interrupt of a vector do what the table says. A failure leaves the vector masked,
    /// with its signals pending; the next change of the vector tries again.
    fn apply(&self, state: &mut State, vector: usize) {
        let wanted = state.entries.get(vector).and_then(|entry| state.wanted(entry));
        let (Some(entry), Some(interrupt)) = (state.entries.get_mut(vector), self.interrupts.get(vector)) else {
            return;
        };
        if wanted == entry.live {
            return;
        }
        let result = match wanted {
            Some(message) => interrupt.enable(message),
            None => interrupt.disable(),
        };
        entry.live = wanted;
        if let Err(error) = result {
            if wanted.is_some() {
                // The old message must not go on being delivered in place of the new one.
                let _ = interrupt.disable();
                entry.live = None;
            }
            if !std::mem::replace(&mut state.failure_logged, true) {
                tracing::warn!(device = self.name, vector, %error, "cannot route MSI-X vector; it stays masked");
            }
        }
    }

    fn table_dword(state: &State, index: u64) -> u32 {
        state.entries.get((index / 4) as usize).map_or(0, |entry| entry.dword(index % 4))
    }

    /// 32 pending bits: those vectors that are not delivered at the moment and have a signal.
    fn pending_dword(&self, state: &State, index: u64) -> u32 {
        (0..32).fold(0, |bits, bit| {
            let vector = (index * 32 + bit) as usize;
            let waits = match (state.entries.get(vector), self.interrupts.get(vector)) {
                (Some(entry), Some(interrupt)) => entry.live.is_none() && self.is_signalled(interrupt.event()),
                _ => false,
            };
            bits | u32::from(waits) << bit
        })
    }

    /// Looks without reading: the signal is for whoever delivers it later. The eventfd is watched for
    /// this moment only, for a lasting watch would cost something at every interrupt.
    fn is_signalled(&self, event: &EventFd) -> bool {
        let fd = event.as_raw_fd();
        let interest = EpollEvent::new(EventSet::IN, 0);
        if self.looker.ctl(ControlOperation::Add, fd, interest).is_err() {
            return false;
        }
        let mut ready = [EpollEvent::default()];
        let signalled = self.looker.wait(0, &mut ready).is_ok_and(|count| count != 0);
        let _ = self.looker.ctl(ControlOperation::Delete, fd, EpollEvent::default());
        signalled
    }
}

/// What the guest made of the vectors. Signals that wait are in the eventfds and not in it.
impl Saved for Msix {
    type State = MsixState;

    fn state(&self) -> MsixState {
        let state = self.lock();
        let of = |entry: &Entry| (entry.message.address, entry.message.data, entry.masked);
        let vectors = state.entries.iter().map(of).collect();
        MsixState { enabled: state.enabled, function_masked: state.function_masked, vectors }
    }

    fn set_state(&self, saved: MsixState) -> Result<(), StateError> {
        self.fits(&saved)?;
        let mut state = self.lock();
        state.enabled = saved.enabled;
        state.function_masked = saved.function_masked;
        for (entry, (address, data, masked)) in state.entries.iter_mut().zip(saved.vectors) {
            entry.message = MsiMessage { address: address & !3, data };
            entry.masked = masked;
        }
        self.apply_all(&mut state);
        Ok(())
    }
}

/// Numbers of the dwords that an access of `width` at byte `offset` touches: one to three.
fn dwords(offset: u64, width: Width) -> std::ops::RangeInclusive<u64> {
    offset / 4..=(offset + width.bytes() as u64 - 1) / 4
}

#[cfg(test)]
#[path = "msix_tests.rs"]
mod tests;
