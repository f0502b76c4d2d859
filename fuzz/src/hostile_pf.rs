// SPDX-License-Identifier: Apache-2.0
//! A PF that lies, as a script tells it: in its configuration space and registers while the driver
//! starts, and in its used ring and reply buffers afterwards. It answers inside the doorbell write.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use devices::bus::Width;
use devices::function::{
    Bars, Configuration, Dma, DmaRegion, FunctionError, Interrupts, KickLink, Lifetime, Named, Region, Result,
};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

use super::script::Script;

const BAR: u8 = 4;
const BAR_SIZE: u64 = 0x4000;
const NOTIFY: u64 = 0x1000;
const STATUS: usize = 20;
const SRIOV: usize = 0x100;

/// What to do with the next command.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Bytes for the reply buffer.
    pub bytes: Vec<u8>,
    /// The used element: how far beside the truth its descriptor and its length are.
    pub id_error: u32,
    /// See [`Self::id_error`].
    pub length_error: u32,
    /// How far used.idx moves; 1 is the truth.
    pub step: u16,
    /// Keep the command instead, and answer when the next one comes.
    pub hold: bool,
}

impl Answer {
    /// From a script: mostly good answers, for those go deeper.
    pub fn new(script: &mut Script<'_>) -> Self {
        let shape = script.u8();
        let count = usize::from(script.u8()) % 160;
        let mut bytes = if shape & 1 == 0 { vec![0; 8] } else { Vec::new() };
        bytes.extend_from_slice(script.take(count));
        Self {
            bytes,
            id_error: if shape & 0x0e == 0x02 { script.u32() } else { 0 },
            length_error: if shape & 0x0e == 0x04 { script.u32() } else { 0 },
            step: if shape & 0x0e == 0x06 { script.u16() } else { 1 },
            hold: shape & 0x0e == 0x08,
        }
    }
}

/// The device's view of the ring.
#[derive(Default)]
struct Ring {
    seen: u16,
    used: u16,
    held: VecDeque<(u16, Answer)>,
}

struct State {
    config: Vec<u8>,
    common: [u8; 64],
    /// Lies about registers: offset, value.
    lies: Vec<(usize, u8)>,
    regions: Vec<DmaRegion>,
    ring: Ring,
    answers: VecDeque<Answer>,
    written: Vec<u8>,
    gone: bool,
}

/// The function.
pub struct HostilePf(Mutex<State>);

impl fmt::Debug for HostilePf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostilePf")
    }
}

fn config_space() -> Vec<u8> {
    let mut config = vec![0; 4096];
    let mut put = |at: usize, bytes: &[u8]| config[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x06, &[0x10, 0]);
    put(0x34, &[0x40]);
    put(0x40, &[0x09, 0x60, 16, 1, BAR]);
    put(0x4c, &64u32.to_le_bytes());
    put(0x60, &[0x09, 0, 20, 2, BAR]);
    put(0x68, &(NOTIFY as u32).to_le_bytes());
    put(0x6c, &0x1000u32.to_le_bytes());
    put(0x70, &4u32.to_le_bytes());
    put(SRIOV, &0x0001_0010u32.to_le_bytes());
    put(SRIOV + 0x0e, &8u16.to_le_bytes());
    config
}

impl HostilePf {
    /// A PF that starts well but for what `script` spoils.
    pub fn new(script: &mut Script<'_>) -> Arc<Self> {
        let mut common = [0; 64];
        common[18] = 3;
        common[24] = [2, 4, 64, 0][usize::from(script.u8() % 4)];
        common[25] = u8::from(common[24] == 0);
        (common[60], common[62]) = (3, 1);
        let (mut config, mut lies) = (config_space(), Vec::new());
        for _ in 0..script.u8() % 4 {
            // Where something is, so that few lies are about nothing.
            let places = [0x04, 0x06, 0x34, 0x40, 0x60, SRIOV];
            let at = places[usize::from(script.u8()) % places.len()] + usize::from(script.u8() % 0x20);
            config[at] = script.u8();
        }
        for _ in 0..script.u8() % 4 {
            lies.push((usize::from(script.u8() % 64), script.u8()));
        }
        let state = State {
            config,
            common,
            lies,
            regions: Vec::new(),
            ring: Ring::default(),
            answers: VecDeque::new(),
            written: Vec::new(),
            gone: false,
        };
        Arc::new(Self(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the next command gets.
    pub fn expect(&self, answer: Answer) {
        self.state().answers.push_back(answer);
    }

    /// The answers that no command has taken.
    pub fn forget_answers(&self) {
        self.state().answers.clear();
    }

    /// What was written to the reply buffer of the last command.
    pub fn written(&self) -> Vec<u8> {
        self.state().written.clone()
    }

    /// No lies about registers any more, so that the driver can stop the device without a wait.
    pub fn behave(&self) {
        let mut state = self.state();
        state.lies.clear();
        state.gone = false;
    }

    /// Reads a register as `value` from now on.
    pub fn lie(&self, register: u8, value: u8) {
        self.state().lies.push((usize::from(register % 64), value));
    }

    /// Fails every access from now on.
    pub fn vanish(&self) {
        self.state().gone = true;
    }

    /// Writes anything anywhere in the memory that the driver gave the device.
    pub fn scribble(&self, at: u16, bytes: &[u8]) {
        let state = self.state();
        for region in &state.regions {
            let _ = region.write(bytes, vm_memory::MemoryRegionAddress(at.into()));
        }
    }
}

impl State {
    fn word(&self, at: usize) -> u64 {
        u64::from(u16::from_le_bytes([self.common[at], self.common[at + 1]]))
    }

    fn address(&self, at: usize) -> u64 {
        (0..8).fold(0, |address, byte| address | u64::from(self.common[at + byte]) << (8 * byte))
    }

    fn process(&mut self) {
        let Ok(memory) = GuestMemoryMmap::<()>::from_arc_regions(self.regions.clone()) else { return };
        let (size, driver) = (self.word(24).max(1), self.address(40));
        while let Some(held) = self.ring.held.pop_front() {
            self.give_back(&memory, held.0, &held.1);
        }
        let end = memory.read_obj(GuestAddress(driver.wrapping_add(2))).unwrap_or(self.ring.seen);
        for _ in 0..size {
            if self.ring.seen == end {
                break;
            }
            let at = driver.wrapping_add(4 + 2 * (u64::from(self.ring.seen) % size));
            let head = memory.read_obj(GuestAddress(at)).unwrap_or(0);
            self.ring.seen = self.ring.seen.wrapping_add(1);
            let good = Answer { bytes: vec![0; 8], id_error: 0, length_error: 0, step: 1, hold: false };
            let answer = self.answers.pop_front().unwrap_or(good);
            if answer.hold {
                self.ring.held.push_back((head, answer));
            } else {
                self.give_back(&memory, head, &answer);
            }
        }
    }

    fn give_back(&mut self, memory: &GuestMemoryMmap<()>, head: u16, answer: &Answer) {
        let (size, table, used) = (self.word(24).max(1), self.address(32), self.address(48));
        // The driver's chains are a readable and a writable descriptor.
        let second = GuestAddress(table.wrapping_add(16 * (u64::from(head) + 1)));
        let (address, room) = (memory.read_obj::<u64>(second), memory.read_obj(GuestAddress(second.0.wrapping_add(8))));
        let (Ok(address), Ok(room)) = (address, room) else { return };
        let room: u32 = room;
        let bytes = &answer.bytes[..answer.bytes.len().min(room as usize)];
        self.written = bytes.to_vec();
        let _ = memory.write_slice(bytes, GuestAddress(address));
        let mut element = [0; 8];
        element[0..4].copy_from_slice(&u32::from(head).wrapping_add(answer.id_error).to_le_bytes());
        element[4..8].copy_from_slice(&(bytes.len() as u32).wrapping_add(answer.length_error).to_le_bytes());
        let at = used.wrapping_add(4 + 8 * (u64::from(self.ring.used) % size));
        let _ = memory.write_slice(&element, GuestAddress(at));
        self.ring.used = self.ring.used.wrapping_add(answer.step);
        let _ = memory.write_obj(self.ring.used, GuestAddress(used.wrapping_add(2)));
    }

    fn common_write(&mut self, at: usize, bytes: &[u8]) {
        if at == 60 || at == 62 || at == 18 {
            return;
        }
        if at == STATUS && bytes.first() == Some(&0) {
            self.ring = Ring::default();
            let size = [self.common[24], self.common[25]];
            let kept = [self.common[18], self.common[60], self.common[62]];
            self.common = [0; 64];
            (self.common[24], self.common[25]) = (size[0], size[1]);
            [self.common[18], self.common[60], self.common[62]] = kept;
            return;
        }
        self.common[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn common_read(&self, at: usize, count: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes[..count].copy_from_slice(&self.common[at..at + count]);
        if at == 4 {
            // VERSION_1, SR_IOV and ADMIN_VQ.
            bytes[..4].copy_from_slice(&if self.common[0] == 0 { 0xff_u32 } else { 0x221 }.to_le_bytes());
        }
        for (lie, value) in &self.lies {
            if let Some(byte) = lie.checked_sub(at).filter(|byte| *byte < count) {
                bytes[byte] = *value;
            }
        }
        u64::from_le_bytes(bytes)
    }
}

impl HostilePf {
    fn inside(&self, bar: u8, offset: u64, width: Width) -> Result<usize> {
        if self.state().gone {
            return Err(FunctionError::Gone { name: "hostile".to_owned() });
        }
        if bar == BAR && offset.saturating_add(width.bytes() as u64) <= BAR_SIZE {
            return Ok(offset as usize);
        }
        let (name, what) = ("hostile".to_owned(), format!("BAR {bar}"));
        Err(FunctionError::OutOfRange { name, what, offset, width: width.bytes() })
    }

    fn unsupported(what: &'static str) -> FunctionError {
        FunctionError::Unsupported { name: "hostile".to_owned(), what }
    }
}

impl Named for HostilePf {
    fn name(&self) -> &str {
        "hostile"
    }
}

impl Configuration for HostilePf {
    fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
        let at = usize::from(offset);
        let bytes = self.state().config.get(at..at + width.bytes()).map(<[u8]>::to_vec);
        let what = "configuration space".to_owned();
        let error = FunctionError::OutOfRange { name: "hostile".to_owned(), what, offset: offset.into(), width: 0 };
        Ok(bytes.ok_or(error)?.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<()> {
        let at = usize::from(offset);
        if let Some(place) = self.state().config.get_mut(at..at + width.bytes()) {
            place.copy_from_slice(&value.to_le_bytes()[..width.bytes()]);
        }
        Ok(())
    }
}

impl Bars for HostilePf {
    fn region(&self, bar: u8) -> Option<Region> {
        (bar == BAR).then_some(Region { size: BAR_SIZE, is_io: false, is_64bit: true, prefetchable: false })
    }
    fn region_read(&self, bar: u8, offset: u64, width: Width) -> Result<u64> {
        let at = self.inside(bar, offset, width)?;
        Ok(if at + width.bytes() <= 64 { self.state().common_read(at, width.bytes()) } else { 0 })
    }
    fn region_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> Result<()> {
        let at = self.inside(bar, offset, width)?;
        if at + width.bytes() <= 64 {
            self.state().common_write(at, &value.to_le_bytes()[..width.bytes()]);
        } else if (NOTIFY..NOTIFY + 0x1000).contains(&offset) {
            self.state().process();
        }
        Ok(())
    }
    fn link_ioeventfd(&self, _: u8, _: u64, _: u16, _: &EventFd) -> Result<Box<dyn KickLink>> {
        Err(Self::unsupported("ioeventfd"))
    }
}

impl Interrupts for HostilePf {
    fn set_msix(&self, _: &[Option<&EventFd>]) -> Result<()> {
        Err(Self::unsupported("MSI-X"))
    }
}

impl Dma for HostilePf {
    fn dma_map(&self, region: &DmaRegion) -> Result<()> {
        self.state().regions.push(region.clone());
        Ok(())
    }
    fn dma_unmap(&self, iova: u64) -> Result<()> {
        use vm_memory::GuestMemoryRegion;
        self.state().regions.retain(|region| region.start_addr().0 != iova);
        Ok(())
    }
}

impl Lifetime for HostilePf {
    fn reset(&self) -> Result<()> {
        Ok(())
    }
}
