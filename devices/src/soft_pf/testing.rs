// SPDX-License-Identifier: Apache-2.0
//! A small driver for tests. It has nothing but `PciFunction` and its own memory.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use vm_memory::{Bytes, GuestAddress, GuestRegionMmap};

use super::memory::Memory;
use super::{NetBackend, SoftPf, VfSpec};
use crate::bus::Width;
use crate::contract::mock::give_it_time;
pub(super) use crate::contract::mock::{PATIENCE, eventually};
use crate::function::{DmaRegion, PciFunction};

pub(super) const BAR: u8 = 2;
pub(super) const NOTIFY: u64 = 0x3000;
const DEVICE_CONFIG: u64 = 0x2000;

/// Memory mapped for one function.
#[derive(Clone)]
pub(super) struct Ram {
    pub region: DmaRegion,
    pub memory: Memory,
}

impl Ram {
    pub(super) fn new(base: u64, len: usize) -> Self {
        let region: DmaRegion = Arc::new(GuestRegionMmap::from_range(GuestAddress(base), len, None).unwrap());
        let memory = Memory::of(&region);
        Self { region, memory }
    }

    pub(super) fn put(&self, address: u64, bytes: &[u8]) {
        self.memory.write_slice(bytes, GuestAddress(address)).unwrap();
    }

    pub(super) fn get(&self, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.memory.read_slice(&mut bytes, GuestAddress(address)).unwrap();
        bytes
    }

    pub(super) fn get_u16(&self, address: u64) -> u16 {
        self.memory.read_obj(GuestAddress(address)).unwrap()
    }

    pub(super) fn put_u16(&self, address: u64, value: u16) {
        self.memory.write_obj(value, GuestAddress(address)).unwrap();
    }
}

/// One buffer element: address, bytes, whether the device writes it.
pub(super) type Element = (u64, u32, bool);

/// A split virtqueue as its driver sees it.
pub(super) struct Vring {
    pub ram: Ram,
    pub size: u16,
    pub desc: u64,
    pub avail: u64,
    pub used: u64,
    pub next_desc: u16,
    pub added: u16,
    pub seen: u16,
}

impl Vring {
    /// A ring in the legacy layout at `base`.
    pub(super) fn new(ram: &Ram, base: u64, size: u16) -> Self {
        let n = u64::from(size);
        let avail = base + 16 * n;
        let used = (avail + 6 + 2 * n).next_multiple_of(4096);
        ram.put(base, &vec![0; (used + 6 + 8 * n - base) as usize]);
        Self { ram: ram.clone(), size, desc: base, avail, used, next_desc: 0, added: 0, seen: 0 }
    }

    pub(super) fn set_descriptor(&self, index: u16, (address, len, flags, next): (u64, u32, u16, u16)) {
        let mut bytes = [0; 16];
        bytes[0..8].copy_from_slice(&address.to_le_bytes());
        bytes[8..12].copy_from_slice(&len.to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes[14..16].copy_from_slice(&next.to_le_bytes());
        self.ram.put(self.desc + 16 * u64::from(index), &bytes);
    }

    pub(super) fn publish(&mut self, head: u16) {
        self.ram.put_u16(self.avail + 4 + 2 * u64::from(self.added % self.size), head);
        self.added = self.added.wrapping_add(1);
        fence(Ordering::SeqCst);
        self.ram.put_u16(self.avail + 2, self.added);
    }

    /// Adds a buffer. Descriptors are not reused before the ring wraps: tests keep few in flight.
    pub(super) fn add(&mut self, elements: &[Element]) -> u16 {
        let head = self.next_desc;
        for (position, (address, len, writable)) in elements.iter().enumerate() {
            let (index, last) = (self.next_desc, position + 1 == elements.len());
            self.next_desc = (self.next_desc + 1) % self.size;
            let flags = u16::from(!last) | u16::from(*writable) << 1;
            self.set_descriptor(index, (*address, *len, flags, self.next_desc));
        }
        self.publish(head);
        head
    }

    /// The next returned buffer, if there is one now.
    pub(super) fn poll(&mut self) -> Option<(u32, u32)> {
        fence(Ordering::SeqCst);
        if self.ram.get_u16(self.used + 2) == self.seen {
            return None;
        }
        let at = self.used + 4 + 8 * u64::from(self.seen % self.size);
        self.seen = self.seen.wrapping_add(1);
        let bytes = self.ram.get(at, 8);
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        Some((word(0), word(4)))
    }

    /// Waits for the next returned buffer: its head and length.
    pub(super) fn wait(&mut self) -> (u32, u32) {
        eventually("a buffer comes back", || self.poll())
    }
}

/// Time in which a device that was going to do something would have done it.
pub(super) fn settle() {
    give_it_time(Duration::from_millis(60));
}

pub(super) fn read(function: &dyn PciFunction, offset: u64, width: Width) -> u64 {
    function.region_read(BAR, offset, width).unwrap()
}

pub(super) fn write(function: &dyn PciFunction, offset: u64, width: Width, value: u64) {
    function.region_write(BAR, offset, width, value).unwrap();
}

pub(super) fn device_config(function: &dyn PciFunction, offset: u64, width: Width) -> u64 {
    read(function, DEVICE_CONFIG + offset, width)
}

/// COMMAND = memory and bus master.
pub(super) fn enable_function(function: &dyn PciFunction) {
    function.config_write(4, Width::B2, 6).unwrap();
}

/// Modern bring-up until FEATURES_OK; returns whether that stuck.
pub(super) fn negotiate(function: &dyn PciFunction, features: u64) -> bool {
    write(function, 20, Width::B1, 0);
    write(function, 20, Width::B1, 3);
    for word in 0..2 {
        write(function, 8, Width::B4, word);
        write(function, 12, Width::B4, features >> (32 * word) & 0xffff_ffff);
    }
    write(function, 20, Width::B1, 0xb);
    read(function, 20, Width::B1) == 0xb
}

pub(super) fn offered(function: &dyn PciFunction) -> u64 {
    (0..2).fold(0, |features, word| {
        write(function, 0, Width::B4, word);
        features | read(function, 4, Width::B4) << (32 * word)
    })
}

/// Sets a modern queue up at `base`.
pub(super) fn modern_queue(function: &dyn PciFunction, ram: &Ram, index: u16, base: u64) -> Vring {
    write(function, 22, Width::B2, index.into());
    let ring = Vring::new(ram, base, read(function, 24, Width::B2) as u16);
    write(function, 32, Width::B8, ring.desc);
    write(function, 40, Width::B4, ring.avail);
    write(function, 44, Width::B4, ring.avail >> 32);
    write(function, 48, Width::B8, ring.used);
    write(function, 28, Width::B2, 1);
    ring
}

pub(super) fn driver_ok(function: &dyn PciFunction) {
    write(function, 20, Width::B1, 0xf);
}

pub(super) fn kick(function: &dyn PciFunction, queue: u16) {
    write(function, NOTIFY, Width::B2, queue.into());
}

const PF_BASE: u64 = 0x10_0000;
const PF_REQUEST: u64 = PF_BASE + 0x8000;
const PF_REPLY: u64 = PF_BASE + 0xc000;
const PF_FEATURES: u64 = 1 << 32 | 1 << 37 | 1 << 41;

/// A software PF with its PF driver.
pub(super) struct Bench {
    pub soft: SoftPf,
    pub pf: Arc<dyn PciFunction>,
    pub ram: Ram,
    pub admin: Vring,
    pub admin_queue: u16,
}

impl Bench {
    /// A PF that is up, with no VF enabled.
    pub(super) fn new(specs: Vec<VfSpec>) -> Self {
        Self::named("soft", specs)
    }

    fn named(name: &str, specs: Vec<VfSpec>) -> Self {
        Self::of(SoftPf::new(name, specs).unwrap())
    }

    /// As [`Self::new`], with this PF.
    pub(super) fn of(soft: SoftPf) -> Self {
        let (pf, ram) = (soft.pf(), Ram::new(PF_BASE, 0x2_0000));
        pf.dma_map(&ram.region).unwrap();
        let (admin_queue, admin) = start_pf(pf.as_ref(), &ram);
        Self { soft, pf, ram, admin, admin_queue }
    }

    /// All VFs enabled, and all commands in use.
    pub(super) fn ready(specs: Vec<VfSpec>) -> Self {
        Self::ready_as("soft", specs)
    }

    /// Like [`Self::ready`], with a name that its threads have, too.
    pub(super) fn ready_as(name: &str, specs: Vec<VfSpec>) -> Self {
        let count = specs.len() as u16;
        let mut bench = Self::named(name, specs);
        bench.soft.enable_vfs(count).unwrap();
        assert_eq!(bench.command("01000100 Z12 0000000000000000 7f00000000000000", 8), "0000000000000000");
        bench
    }

    /// Nets on the loopback host.
    pub(super) fn nets(count: usize) -> Vec<VfSpec> {
        let spec = |n| VfSpec::Net { backend: NetBackend::Loopback, mac: [0x52, 0x54, 0, 0x12, 0x34, 0x50 + n] };
        (0..count as u8).map(spec).collect()
    }

    /// Brings the PF up again after its reset.
    pub(super) fn restart(&mut self) {
        (self.admin_queue, self.admin) = start_pf(self.pf.as_ref(), &self.ram);
    }

    /// Sends the bytes `request` with room for `room` bytes; returns the bytes written, in hex.
    pub(super) fn command(&mut self, request: &str, room: u32) -> String {
        hex(&self.send(&bytes(request), room, &[]))
    }

    /// Sends a command cut into descriptors at these offsets of both parts.
    pub(super) fn send(&mut self, request: &[u8], room: u32, cuts: &[u32]) -> Vec<u8> {
        self.ram.put(PF_REQUEST, request);
        self.ram.put(PF_REPLY, &vec![0xee; room as usize]);
        let mut elements = cut(PF_REQUEST, request.len() as u32, cuts, false);
        elements.extend(cut(PF_REPLY, room, cuts, true));
        let head = self.admin.add(&elements);
        kick(self.pf.as_ref(), self.admin_queue);
        // The doorbell's write has done the command.
        let (id, used) = self.admin.poll().expect("the command is done when the doorbell returns");
        assert_eq!(id, u32::from(head));
        assert!(used <= room);
        let reply = self.ram.get(PF_REPLY, room as usize);
        assert!(reply[used as usize..].iter().all(|b| *b == 0xee), "bytes beyond the used length were written");
        reply[..used as usize].to_vec()
    }

    fn access(&mut self, opcode: u16, member: u64, data: &[u8], room: u32) -> Result<Vec<u8>, (u16, u16)> {
        let mut request = vec![0; 24];
        request[0..2].copy_from_slice(&opcode.to_le_bytes());
        request[2] = 1;
        request[16..24].copy_from_slice(&member.to_le_bytes());
        request.extend_from_slice(data);
        let reply = self.send(&request, 8 + room, &[24]);
        match u16::from_le_bytes([reply[0], reply[1]]) {
            0 => Ok(reply[8..].to_vec()),
            status => Err((status, u16::from_le_bytes([reply[2], reply[3]]))),
        }
    }

    /// Reads a legacy register of member `member`; `device` is its device configuration.
    pub(super) fn legacy_read(&mut self, member: u64, device: bool, offset: u8, len: u32) -> Result<u32, (u16, u16)> {
        let reply = self.access(3 + 2 * u16::from(device), member, &[offset], len)?;
        Ok(reply.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    /// Writes the low `len` bytes of `value`.
    pub(super) fn legacy_write(&mut self, member: u64, offset: u8, len: usize, value: u32) {
        self.try_legacy_write(member, offset, len, value).unwrap();
    }

    /// As [`Self::legacy_write`], where the answer may be another.
    pub(super) fn try_legacy_write(
        &mut self,
        member: u64,
        offset: u8,
        len: usize,
        value: u32,
    ) -> Result<(), (u16, u16)> {
        let mut data = vec![0; 8];
        data[0] = offset;
        data.extend_from_slice(&value.to_le_bytes()[..len]);
        self.access(2, member, &data, 0).map(drop)
    }

    /// A legacy queue at `base` of `ram`.
    pub(super) fn legacy_queue(&mut self, member: u64, index: u16, ram: &Ram, base: u64) -> Vring {
        self.legacy_write(member, 14, 2, index.into());
        let size = self.legacy_read(member, false, 12, 2).unwrap();
        let ring = Vring::new(ram, base, size as u16);
        self.legacy_write(member, 8, 4, (base >> 12) as u32);
        ring
    }

    /// VF `index` with bus mastering on, and memory from 0 for it.
    pub(super) fn vf(&self, index: usize, ram_len: usize) -> (Arc<dyn PciFunction>, Ram) {
        let (vf, ram) = (self.soft.vf(index).unwrap(), Ram::new(0, ram_len));
        vf.dma_map(&ram.region).unwrap();
        enable_function(vf.as_ref());
        (vf, ram)
    }
}

fn start_pf(pf: &dyn PciFunction, ram: &Ram) -> (u16, Vring) {
    enable_function(pf);
    assert!(negotiate(pf, PF_FEATURES));
    let admin_queue = read(pf, 60, Width::B2) as u16;
    assert_eq!(read(pf, 18, Width::B2), u64::from(admin_queue), "num_queues does not count it");
    let ring = modern_queue(pf, ram, admin_queue, PF_BASE);
    driver_ok(pf);
    (admin_queue, ring)
}

fn cut(base: u64, len: u32, cuts: &[u32], writable: bool) -> Vec<Element> {
    let mut edges: Vec<u32> = cuts.iter().copied().filter(|cut| *cut > 0 && *cut < len).collect();
    edges.push(len);
    let mut from = 0;
    let mut elements = Vec::new();
    for to in edges {
        if to > from {
            elements.push((base + u64::from(from), to - from, writable));
        }
        from = to;
    }
    elements
}

/// Bytes of a hex string as the test vectors have them; `Zn` is n zero bytes, blanks separate.
pub(super) fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        if let Some(zeroes) = word.strip_prefix('Z') {
            bytes.resize(bytes.len() + zeroes.parse::<usize>().unwrap(), 0);
        } else {
            let digits = (0..word.len()).step_by(2);
            bytes.extend(digits.map(|at| u8::from_str_radix(&word[at..at + 2], 16).unwrap()));
        }
    }
    bytes
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file with `sectors` sectors, each filled with its own number.
pub(super) fn disk(sectors: u64) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    for sector in 0..sectors {
        file.write_all(&[sector as u8; 512]).unwrap();
    }
    file
}
