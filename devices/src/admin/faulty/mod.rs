// SPDX-License-Identifier: Apache-2.0
//! A PF that misbehaves on demand: a layer between a PF driver and a well-behaved PF, for the tests of
//! this crate.
//!
//! The driver's DMA memory is not mapped for the PF below. That gets memory of its own at the same
//! addresses, and this layer carries commands and replies across, one by one, with whatever fault a
//! [`Rule`] asks for. So the driver sees nothing that was not meant for it, whichever thread looks
//! when. The PF below has to carry commands out inside the write of the doorbell, as the software PF
//! does. It looks at one virtqueue, the one that was enabled last.

mod middle;

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use vm_memory::GuestMemoryRegion;
use vmm_sys_util::eventfd::EventFd;

use self::middle::{Completion, Middle};
use super::pf_caps::{self, VirtioStructures};
use super::pf_error::PfCause;
use super::sriov::SrIov;
use crate::bus::Width;
use crate::function::shared::shared_region;
use crate::function::{
    Bars, Configuration, Dma, DmaRegion, FunctionError, Interrupts, KickLink, Lifetime, Named, PciFunction, Region,
    Result,
};
use crate::spec::virtio::common;

/// What goes wrong with one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It never gets to the device, as if the doorbell was lost.
    Lose,
    /// It is carried out, and its buffer is never returned.
    NeverReply,
    /// It is carried out, and its buffer is returned by [`FaultyPf::release`].
    Hold,
    /// It is carried out, and its buffer is returned after this time.
    Delay(Duration),
    /// Its buffer is returned twice.
    Duplicate,
    /// Its buffer is returned under another descriptor number.
    UsedId(u32),
    /// Its used length is another.
    UsedLength(u32),
    /// `used.idx` goes this much further than it should.
    UsedIndex(u16),
    /// It is not carried out, but answered with this status and qualifier.
    Status(u16, u16),
    /// All bytes of its result are inverted.
    Result,
    /// The device is reset behind its driver (status 0) before the command.
    ResetDevice,
    /// The function is reset behind its driver before the command; its VFs are gone.
    ResetFunction,
    /// VF Enable is cleared before the command.
    DisableVfs,
    /// The function is taken out before the command; reads are all ones until [`FaultyPf::put_back`].
    RemoveAllOnes,
    /// The function is taken out before the command; accesses fail until [`FaultyPf::put_back`].
    RemoveGone,
}

/// Which commands a fault is for.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// Commands with this opcode; all with `None`.
    pub opcode: Option<u16>,
    /// Legacy accesses at this offset; all with `None`.
    pub offset: Option<u8>,
    /// So many of them are spared.
    pub skip: u32,
    /// So many are hit after these; [`u32::MAX`] is all.
    pub times: u32,
    /// What happens to them.
    pub fault: Fault,
}

impl Rule {
    /// The command number `skip`, from 0, counted from now.
    pub(crate) fn nth(skip: u32, fault: Fault) -> Self {
        Self { opcode: None, offset: None, skip, times: 1, fault }
    }

    /// Every command from now on.
    pub(crate) fn every(fault: Fault) -> Self {
        Self { times: u32::MAX, ..Self::nth(0, fault) }
    }

    fn applies(&mut self, seen: &Seen) -> bool {
        let matches = self.opcode.is_none_or(|opcode| opcode == seen.opcode)
            && self.offset.is_none_or(|offset| Some(offset) == seen.offset);
        if !matches || self.times == 0 {
            return false;
        }
        if self.skip != 0 {
            self.skip -= 1;
            return false;
        }
        if self.times != u32::MAX {
            self.times -= 1;
        }
        true
    }
}

/// A command as the driver gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Opcode.
    pub opcode: u16,
    /// Group type.
    pub group_type: u16,
    /// Member id.
    pub member_id: u64,
    /// Register offset, for the four legacy accesses.
    pub offset: Option<u8>,
    /// All device-readable bytes.
    pub readable: Vec<u8>,
    /// Bytes that the device may write.
    pub writable: u32,
}

const PRESENT: u8 = 0;
const ALL_ONES: u8 = 1;
const GONE: u8 = 2;

struct State {
    middle: Middle,
    rules: Vec<Rule>,
    seen: Vec<Seen>,
    held: Vec<Completion>,
    /// Common configuration registers that say where the queue is, as last written.
    select: u16,
    addresses: [u64; 3],
}

/// The layer. Made with [`Self::new`], it is a [`PciFunction`] that does no harm until a rule is added.
pub(crate) struct FaultyPf {
    inner: Arc<dyn PciFunction>,
    structures: VirtioStructures,
    state: Mutex<State>,
    presence: AtomicU8,
    itself: Weak<Self>,
}

impl fmt::Debug for FaultyPf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyPf").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl FaultyPf {
    /// A layer over `inner`, a modern virtio PF that no driver holds yet.
    ///
    /// # Errors
    /// If `inner` has no usable virtio structures.
    pub(crate) fn new(inner: Arc<dyn PciFunction>) -> std::result::Result<Arc<Self>, PfCause> {
        let structures = pf_caps::find(&*inner)?;
        let state = State {
            middle: Middle::default(),
            rules: Vec::new(),
            seen: Vec::new(),
            held: Vec::new(),
            select: 0,
            addresses: [0; 3],
        };
        let presence = AtomicU8::new(PRESENT);
        Ok(Arc::new_cyclic(|itself| Self {
            inner,
            structures,
            state: Mutex::new(state),
            presence,
            itself: itself.clone(),
        }))
    }

    /// Adds a rule. Of several that match a command, the earliest counts.
    pub(crate) fn add(&self, rule: Rule) {
        self.lock().rules.push(rule);
    }

    /// Forgets all rules. What the device holds, it holds.
    pub(crate) fn clear(&self) {
        self.lock().rules.clear();
    }

    /// Returns the buffers that [`Fault::Hold`] kept; says how many.
    pub(crate) fn release(&self) -> usize {
        let mut guard = self.lock();
        let state = &mut *guard;
        let held = std::mem::take(&mut state.held);
        held.into_iter().filter(|completion| state.middle.deliver(completion)).count()
    }

    /// A function that was taken out is there again, as after power-on.
    pub(crate) fn put_back(&self) {
        self.presence.store(PRESENT, Ordering::SeqCst);
    }

    /// Commands since the last call.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.lock().seen)
    }

    /// Times the driver used a buffer, or changed bytes in one, that the device held. A driver that
    /// does so once hands memory to the device that is somebody else's.
    pub(crate) fn violations(&self) -> u64 {
        self.lock().middle.violations()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gone(&self) -> FunctionError {
        FunctionError::Gone { name: self.inner.name().to_owned() }
    }

    /// Whether accesses reach the function: they may instead fail, or read as all ones.
    fn reaches(&self) -> Result<bool> {
        match self.presence.load(Ordering::SeqCst) {
            PRESENT => Ok(true),
            ALL_ONES => Ok(false),
            _ => Err(self.gone()),
        }
    }

    fn take_out(&self, presence: u8) {
        let _ = self.inner.reset();
        self.presence.store(presence, Ordering::SeqCst);
    }

    fn set_status(&self, status: u64) {
        let place = self.structures.common;
        let offset = u64::from(place.offset) + common::DEVICE_STATUS;
        let _ = self.inner.region_write(place.bar, offset, Width::B1, status);
    }

    /// What happens to the PF itself before a command.
    fn befall(&self, fault: &Fault) {
        match fault {
            Fault::ResetDevice => self.set_status(0),
            Fault::ResetFunction => drop(self.inner.reset()),
            Fault::DisableVfs => drop(SrIov::find(&*self.inner).and_then(|sriov| sriov.disable())),
            Fault::RemoveAllOnes => self.take_out(ALL_ONES),
            Fault::RemoveGone => self.take_out(GONE),
            _ => {}
        }
    }

    /// Takes what the driver offered, and gives back what the rules leave of the answers.
    fn doorbell(&self, (bar, offset, value): (u8, u64, u64)) {
        let mut guard = self.lock();
        let state = &mut *guard;
        while let Some((chain, seen)) = state.middle.take() {
            let fault = state.rules.iter_mut().find_map(|rule| rule.applies(&seen).then(|| rule.fault.clone()));
            state.seen.push(seen);
            if let Some(fault) = &fault {
                self.befall(fault);
            }
            let carried_out = match fault {
                Some(Fault::Lose) => None,
                Some(Fault::Status(status, qualifier)) => Some(chain.answered(status, qualifier)),
                _ => {
                    state.middle.pass_on(&chain);
                    if self.presence.load(Ordering::SeqCst) == PRESENT {
                        let _ = self.inner.region_write(bar, offset, Width::B2, value);
                    }
                    state.middle.collect(&chain)
                }
            };
            if let Some(completion) = carried_out {
                self.give_back(state, completion, fault);
            }
        }
    }

    fn give_back(&self, state: &mut State, mut completion: Completion, fault: Option<Fault>) {
        match fault {
            Some(Fault::NeverReply) => return,
            Some(Fault::Hold) => return state.held.push(completion),
            Some(Fault::Delay(time)) => return self.deliver_later(completion, time),
            Some(Fault::Duplicate) => completion.copies = 2,
            Some(Fault::UsedId(id)) => completion.id = id,
            Some(Fault::UsedLength(length)) => completion.length = length,
            Some(Fault::UsedIndex(more)) => completion.skipped = more,
            Some(Fault::Result) => completion.invert_result(),
            _ => {}
        }
        state.middle.deliver(&completion);
    }

    fn deliver_later(&self, completion: Completion, time: Duration) {
        let itself = self.itself.clone();
        thread::spawn(move || {
            thread::sleep(time); // Clock: the fault itself.
            if let Some(pf) = itself.upgrade() {
                pf.lock().middle.deliver(&completion);
            }
        });
    }

    /// Notes where the driver puts the queue.
    fn watch(&self, register: u64, width: Width, value: u64) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let half = |old: u64| match register % 8 {
            4 => old & 0xffff_ffff | value << 32,
            _ if width == Width::B8 => value,
            _ => old & !0xffff_ffff | value & 0xffff_ffff,
        };
        match register {
            common::DEVICE_STATUS if value == 0 => {
                state.middle.reset();
                state.held.clear();
            }
            common::QUEUE_SELECT => state.select = value as u16,
            common::QUEUE_DESC..56 => {
                let place = ((register - common::QUEUE_DESC) / 8) as usize;
                if let Some(address) = state.addresses.get_mut(place) {
                    *address = half(*address);
                }
            }
            common::QUEUE_ENABLE if value == 1 => {
                let offset = u64::from(self.structures.common.offset) + common::QUEUE_SIZE;
                let size = self.inner.region_read(self.structures.common.bar, offset, Width::B2).unwrap_or(0);
                state.middle.enable(state.select, size as u16, state.addresses);
            }
            _ => {}
        }
    }
}

impl Named for FaultyPf {
    fn name(&self) -> &str {
        self.inner.name()
    }
}

impl Configuration for FaultyPf {
    fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
        if self.reaches()? { self.inner.config_read(offset, width) } else { Ok(width.all_ones() as u32) }
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<()> {
        if self.reaches()? { self.inner.config_write(offset, width, value) } else { Ok(()) }
    }
}

impl Bars for FaultyPf {
    fn region(&self, bar: u8) -> Option<Region> {
        self.inner.region(bar)
    }
    fn region_read(&self, bar: u8, offset: u64, width: Width) -> Result<u64> {
        if self.reaches()? { self.inner.region_read(bar, offset, width) } else { Ok(width.all_ones()) }
    }
    fn region_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> Result<()> {
        if !self.reaches()? {
            return Ok(());
        }
        let VirtioStructures { common: place, notify, .. } = self.structures;
        let inside = |bar_of: u8, start: u32, length: u32| {
            let at = offset.checked_sub(start.into())?;
            (bar == bar_of && at < u64::from(length)).then_some(at)
        };
        if let Some(register) = inside(place.bar, place.offset, place.length) {
            self.watch(register, width, value);
        } else if inside(notify.bar, notify.offset, notify.length).is_some() {
            let ours = self.lock().middle.queue() == Some(value as u16);
            if ours {
                self.doorbell((bar, offset, value));
                // The function may have gone meanwhile; a posted write does not tell.
                return Ok(());
            }
        }
        self.inner.region_write(bar, offset, width, value)
    }
    fn link_ioeventfd(&self, bar: u8, offset: u64, value: u16, event: &EventFd) -> Result<Box<dyn KickLink>> {
        self.reaches().and_then(|_| self.inner.link_ioeventfd(bar, offset, value, event))
    }
}

impl Interrupts for FaultyPf {
    fn msix_vectors(&self) -> u16 {
        self.inner.msix_vectors()
    }
    fn set_msix(&self, events: &[Option<&EventFd>]) -> Result<()> {
        self.reaches().and_then(|_| self.inner.set_msix(events))
    }
    fn disable_msix(&self) -> Result<()> {
        self.reaches().and_then(|_| self.inner.disable_msix())
    }
}

impl Dma for FaultyPf {
    fn dma_map(&self, region: &DmaRegion) -> Result<()> {
        let twin = shared_region(region.start_addr().0, region.size()).map_err(|error| FunctionError::Io {
            name: self.inner.name().to_owned(),
            what: "allocate memory for the PF",
            source: std::io::Error::other(error),
        })?;
        self.inner.dma_map(&twin)?;
        self.lock().middle.map(region.clone(), twin);
        Ok(())
    }
    fn dma_unmap(&self, iova: u64) -> Result<()> {
        self.lock().middle.unmap(iova);
        self.inner.dma_unmap(iova)
    }
}

impl Lifetime for FaultyPf {
    fn reset(&self) -> Result<()> {
        self.reaches()?;
        self.lock().middle.reset();
        self.inner.reset()
    }
}

#[cfg(test)]
#[path = "faulty_tests.rs"]
mod tests;
