// SPDX-License-Identifier: Apache-2.0
//! A PF for the driver's tests: just enough of a modern virtio function with an admin virtqueue, and
//! many ways to do it wrong. Its virtqueue is that of the virtio-queue crate, so the driver's ring is
//! tested against code of other people. It answers inside the doorbell write.
//! What it answers is a script: a closure that gets the request and says what to do.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap, GuestMemoryRegion};

use super::scripts::{Answer, Script, Seen};
use crate::bus::Width;
use crate::function::{
    Bars, Configuration, Dma, DmaRegion, FunctionError, Interrupts, Lifetime, Named, Region, Result,
};

pub(super) const BAR: u8 = 4;
const NOTIFY_AT: u64 = 0x1000;
const NOTIFY_MULTIPLIER: u32 = 4;
const SRIOV: usize = 0x100;

/// How the function differs from a proper one.
#[derive(Clone, Debug)]
pub(super) struct Quirks {
    pub features: u64,
    pub refuse_features: bool,
    pub admin_index: u16,
    pub admin_num: u16,
    pub common_len: u32,
    pub common_bar: u8,
    pub capability_loop: bool,
    pub queue_size: u16,
    pub notify_off: u16,
    pub notify_len: u32,
    pub keep_queue_enable: bool,
    pub refuse_driver_ok: bool,
    pub vf_registers_read_only: bool,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            features: 1 << 32 | 1 << 33 | 1 << 34 | 1 << 37 | 1 << 38 | 1 << 41 | 0xff,
            refuse_features: false,
            admin_index: 3,
            admin_num: 1,
            common_len: 64,
            common_bar: BAR,
            capability_loop: false,
            queue_size: 256,
            notify_off: 3,
            notify_len: 0x1000,
            keep_queue_enable: true,
            refuse_driver_ok: false,
            vf_registers_read_only: false,
        }
    }
}

struct Held {
    head: u16,
    buffer: Option<(GuestAddress, usize)>,
    bytes: Vec<u8>,
}

struct State {
    config: Vec<u8>,
    common: [u8; 64],
    driver_features: [u32; 2],
    queue: Queue,
    regions: Vec<DmaRegion>,
    script: Script,
    seen: Vec<Seen>,
    held: VecDeque<Held>,
    doorbells: Vec<u16>,
}

pub(super) struct ScriptedPf {
    quirks: Quirks,
    state: Mutex<State>,
    /// Writing 0 to device_status does nothing.
    pub(super) reset_stuck: AtomicBool,
    /// Every register access fails.
    pub(super) gone: AtomicBool,
}

impl fmt::Debug for ScriptedPf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScriptedPf")
    }
}

fn config_space(quirks: &Quirks) -> Vec<u8> {
    let mut config = vec![0; 4096];
    let mut put = |at: usize, bytes: &[u8]| config[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x06, &[0x10, 0]);
    put(0x34, &[0x40]);
    put(0x40, &[0x09, 0x50, 16, 1, quirks.common_bar]);
    put(0x4c, &quirks.common_len.to_le_bytes());
    // A capability of another kind in between.
    put(0x50, &[0x11, 0x60, 0, 0]);
    put(0x60, &[0x09, if quirks.capability_loop { 0x40 } else { 0 }, 20, 2, BAR]);
    put(0x68, &(NOTIFY_AT as u32).to_le_bytes());
    put(0x6c, &quirks.notify_len.to_le_bytes());
    put(0x70, &NOTIFY_MULTIPLIER.to_le_bytes());
    put(SRIOV, &0x0001_0010u32.to_le_bytes());
    put(SRIOV + 0x0e, &8u16.to_le_bytes());
    config
}

impl ScriptedPf {
    pub(super) fn new(quirks: Quirks, script: Script) -> Arc<Self> {
        let mut common = [0; 64];
        common[18..20].copy_from_slice(&3u16.to_le_bytes());
        let state = State {
            config: config_space(&quirks),
            common,
            driver_features: [0; 2],
            queue: Queue::new(256).unwrap(),
            regions: Vec::new(),
            script,
            seen: Vec::new(),
            held: VecDeque::new(),
            doorbells: Vec::new(),
        };
        let (reset_stuck, gone) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { quirks, state: Mutex::new(state), reset_stuck, gone })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The commands so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// The values written to the doorbell so far.
    pub(super) fn doorbells(&self) -> Vec<u16> {
        self.state().doorbells.clone()
    }

    pub(super) fn set_script(&self, script: Script) {
        self.state().script = script;
    }

    pub(super) fn status(&self) -> u8 {
        self.state().common[20]
    }

    pub(super) fn set_status(&self, status: u8) {
        self.state().common[20] = status;
    }

    pub(super) fn features(&self) -> u64 {
        let [low, high] = self.state().driver_features;
        u64::from(high) << 32 | u64::from(low)
    }

    /// DMA regions that are mapped.
    pub(super) fn mapped(&self) -> Vec<DmaRegion> {
        self.state().regions.clone()
    }

    /// Commands held back.
    pub(super) fn held(&self) -> usize {
        self.state().held.len()
    }

    /// Answers the oldest command held back.
    pub(super) fn release(&self) {
        let mut state = self.state();
        let held = state.held.pop_front().unwrap();
        state.give_back(&held);
    }

    /// Answers the newest command held back.
    pub(super) fn release_newest(&self) {
        let mut state = self.state();
        let held = state.held.pop_back().unwrap();
        state.give_back(&held);
    }

    fn inside(&self, bar: u8, offset: u64, width: Width) -> Result<usize> {
        let name = || "scripted".to_owned();
        if self.gone.load(Ordering::Relaxed) {
            return Err(FunctionError::Gone { name: name() });
        }
        if bar != BAR || offset + width.bytes() as u64 > 0x4000 {
            let what = format!("BAR {bar}");
            return Err(FunctionError::OutOfRange { name: name(), what, offset, width: width.bytes() });
        }
        Ok(offset as usize)
    }
}

impl Held {
    fn write(&self, memory: &GuestMemoryMmap<()>) -> u32 {
        let Some((address, len)) = self.buffer else { return 0 };
        let bytes = &self.bytes[..self.bytes.len().min(len)];
        memory.write_slice(bytes, address).unwrap();
        bytes.len() as u32
    }
}

impl State {
    fn memory(&self) -> GuestMemoryMmap<()> {
        GuestMemoryMmap::from_arc_regions(self.regions.clone()).unwrap()
    }

    fn give_back(&mut self, held: &Held) {
        let memory = self.memory();
        let used = held.write(&memory);
        self.queue.add_used(&memory, held.head, used).unwrap();
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.common[at], self.common[at + 1]])
    }

    /// Runs what the driver has made available.
    fn process(&mut self) {
        if self.common[20] & 4 == 0 || self.word(28) != 1 {
            return;
        }
        let memory = self.memory();
        while let Some(chain) = self.queue.pop_descriptor_chain(&memory) {
            let head = chain.head_index();
            let mut readable = Vec::new();
            for descriptor in chain.clone().readable() {
                let mut part = vec![0; descriptor.len() as usize];
                memory.read_slice(&mut part, descriptor.addr()).unwrap();
                readable.extend(part);
            }
            let buffer = chain.writable().next().map(|part| (part.addr(), part.len() as usize));
            let seen = Seen { readable, writable: buffer.map_or(0, |(_, len)| len) };
            let answer = (self.script)(&seen);
            self.seen.push(seen);
            self.answer(&memory, Held { head, buffer, bytes: Vec::new() }, answer);
        }
    }

    fn answer(&mut self, memory: &GuestMemoryMmap<()>, mut held: Held, answer: Answer) {
        let mut give_back = |head, used| self.queue.add_used(memory, head, used).unwrap();
        match answer {
            Answer::Reply(bytes) => {
                held.bytes = bytes;
                give_back(held.head, held.write(memory));
            }
            Answer::Lie(bytes, used) => {
                held.bytes = bytes;
                held.write(memory);
                give_back(held.head, used);
            }
            Answer::Twice(bytes) => {
                held.bytes = bytes;
                let used = held.write(memory);
                give_back(held.head, used);
                give_back(held.head, used);
            }
            Answer::Hold(bytes) => {
                held.bytes = bytes;
                self.held.push_back(held);
            }
            Answer::WrongId(id) => {
                give_back(0, 8);
                let index = self.queue.next_used().wrapping_sub(1) % self.queue.size();
                let at = self.queue.used_ring() + 4 + 8 * u64::from(index);
                memory.write_obj(id, GuestAddress(at)).unwrap();
            }
            Answer::UsedIndex(index) => {
                memory.write_obj(index, GuestAddress(self.queue.used_ring() + 2)).unwrap();
            }
        }
    }

    fn common_read(&mut self, quirks: &Quirks, at: usize, width: usize) -> u64 {
        let select = self.common[0];
        let own = match at {
            4 => Some(if select == 0 { quirks.features & 0xffff_ffff } else { quirks.features >> 32 }),
            24 if self.word(24) == 0 => Some(quirks.queue_size.into()),
            30 => Some(quirks.notify_off.into()),
            // Zero until ADMIN_VQ is negotiated: a driver that reads early finds nothing.
            60 | 62 if self.common[20] & 8 == 0 => Some(0),
            60 => Some(quirks.admin_index.into()),
            62 => Some(quirks.admin_num.into()),
            _ => None,
        };
        own.unwrap_or_else(|| {
            let mut bytes = [0; 8];
            bytes[..width].copy_from_slice(&self.common[at..at + width]);
            u64::from_le_bytes(bytes)
        })
    }

    fn common_write(&mut self, quirks: &Quirks, at: usize, width: usize, value: u64) {
        let mut value = value;
        match at {
            12 => self.driver_features[usize::from(self.common[8] & 1)] = value as u32,
            20 if quirks.refuse_features => value &= !0x08,
            20 if quirks.refuse_driver_ok => value &= !0x04,
            28 if !quirks.keep_queue_enable => return,
            28 => self.enable_queue(quirks),
            _ => {}
        }
        self.common[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        if at == 20 && value == 0 {
            self.common[22..58].fill(0);
            self.queue.reset();
            self.held.clear();
        }
    }

    fn enable_queue(&mut self, quirks: &Quirks) {
        assert_eq!(self.word(22), quirks.admin_index, "the driver selects the admin virtqueue");
        let word = |at: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&self.common[at..at + 4]);
            Some(u32::from_le_bytes(bytes))
        };
        let size = if self.word(24) == 0 { quirks.queue_size } else { self.word(24) };
        self.queue.set_size(size);
        self.queue.set_desc_table_address(word(32), word(36));
        self.queue.set_avail_ring_address(word(40), word(44));
        self.queue.set_used_ring_address(word(48), word(52));
        self.queue.set_ready(true);
        assert!(self.queue.is_valid(&self.memory()), "rings lie in mapped memory");
    }
}

impl Named for ScriptedPf {
    fn name(&self) -> &str {
        "scripted"
    }
}

impl Configuration for ScriptedPf {
    fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
        let mut bytes = [0; 4];
        let at = usize::from(offset);
        bytes[..width.bytes()].copy_from_slice(&self.state().config[at..at + width.bytes()]);
        Ok(u32::from_le_bytes(bytes))
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<()> {
        let at = usize::from(offset);
        if at < SRIOV || !self.quirks.vf_registers_read_only {
            let bytes = value.to_le_bytes();
            self.state().config[at..at + width.bytes()].copy_from_slice(&bytes[..width.bytes()]);
        }
        Ok(())
    }
}

impl Bars for ScriptedPf {
    fn region(&self, bar: u8) -> Option<Region> {
        (bar == BAR).then_some(Region { size: 0x4000, is_io: false, is_64bit: true, prefetchable: false })
    }
    fn region_read(&self, bar: u8, offset: u64, width: Width) -> Result<u64> {
        let at = self.inside(bar, offset, width)?;
        Ok(if at < 64 { self.state().common_read(&self.quirks, at, width.bytes()) } else { 0 })
    }
    fn region_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> Result<()> {
        let at = self.inside(bar, offset, width)?;
        let mut state = self.state();
        let stuck = at == 20 && value == 0 && self.reset_stuck.load(Ordering::Relaxed);
        if at < 64 && !stuck {
            state.common_write(&self.quirks, at, width.bytes(), value);
        } else if offset == NOTIFY_AT + u64::from(NOTIFY_MULTIPLIER) * u64::from(self.quirks.notify_off) {
            assert_eq!(width, Width::B2);
            state.doorbells.push(value as u16);
            state.process();
        }
        Ok(())
    }
}

impl Interrupts for ScriptedPf {}

impl Dma for ScriptedPf {
    fn dma_map(&self, region: &DmaRegion) -> Result<()> {
        self.state().regions.push(Arc::clone(region));
        Ok(())
    }
    fn dma_unmap(&self, iova: u64) -> Result<()> {
        self.state().regions.retain(|region| region.start_addr().0 != iova);
        Ok(())
    }
}

impl Lifetime for ScriptedPf {
    fn reset(&self) -> Result<()> {
        Ok(())
    }
}
