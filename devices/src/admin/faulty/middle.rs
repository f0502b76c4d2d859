// SPDX-License-Identifier: Apache-2.0
//! Between the driver's virtqueue and the device's: takes buffers from the one, puts them into the
//! other, and brings back what became of them. It knows which buffers the device holds.

use vm_memory::{Bytes, GuestMemoryRegion, MemoryRegionAddress};

use super::Seen;
use crate::admin::opcode;
use crate::admin::wire::{REPLY_LEN, ReplyHeader, RequestHeader};
use crate::function::DmaRegion;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
/// Longer chains are not admin commands.
const MAX_CHAIN: usize = 8;

/// One descriptor.
#[derive(Clone, Copy, Debug)]
struct Descriptor {
    index: u16,
    address: u64,
    length: u32,
    flags: u16,
    next: u16,
}

/// A buffer that the driver offered.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    head: u16,
    descriptors: Vec<Descriptor>,
    readable: Vec<u8>,
    /// The queue's life it belongs to: none is returned after a reset.
    life: u64,
}

impl Chain {
    fn parts(&self, writable: bool) -> impl Iterator<Item = &Descriptor> {
        self.descriptors.iter().filter(move |descriptor| (descriptor.flags & WRITE != 0) == writable)
    }

    fn overlaps(&self, other: &Self) -> bool {
        let ends = |d: &Descriptor| (d.address, d.address + u64::from(d.length));
        let meet = |a: &Descriptor, b: &Descriptor| ends(a).0 < ends(b).1 && ends(b).0 < ends(a).1;
        self.descriptors.iter().any(|mine| other.descriptors.iter().any(|theirs| meet(mine, theirs)))
    }

    /// The chain returned with a status and nothing else.
    pub(super) fn answered(&self, status: u16, qualifier: u16) -> Completion {
        let bytes = ReplyHeader { status, qualifier }.encode().to_vec();
        let address = self.parts(true).next().map_or(0, |part| part.address);
        Completion {
            head: self.head,
            id: self.head.into(),
            length: bytes.len() as u32,
            copies: 1,
            skipped: 0,
            written: vec![(address, bytes)],
            life: self.life,
        }
    }
}

/// A buffer on its way back.
#[derive(Clone, Debug)]
pub(super) struct Completion {
    head: u16,
    pub(super) id: u32,
    pub(super) length: u32,
    pub(super) copies: u16,
    /// Added to `used.idx` for nothing.
    pub(super) skipped: u16,
    written: Vec<(u64, Vec<u8>)>,
    life: u64,
}

impl Completion {
    /// Inverts what comes after the status.
    pub(super) fn invert_result(&mut self) {
        let all = self.written.iter_mut().flat_map(|(_, bytes)| bytes.iter_mut());
        all.skip(REPLY_LEN).for_each(|byte| *byte = !*byte);
    }
}

/// Where the queue is: index, size, and the addresses of its three parts.
#[derive(Clone, Copy, Debug)]
struct Place {
    queue: u16,
    size: u16,
    descriptors: u64,
    avail: u64,
    used: u64,
}

/// Both sides of the virtqueue.
#[derive(Default)]
pub(super) struct Middle {
    /// The driver's memory, and the device's at the same addresses.
    regions: Vec<(DmaRegion, DmaRegion)>,
    place: Option<Place>,
    pub(super) taken: u16,
    returned: u16,
    passed: u16,
    collected: u16,
    held: Vec<Chain>,
    violations: u64,
    life: u64,
}

impl Middle {
    pub(super) fn map(&mut self, driver: DmaRegion, device: DmaRegion) {
        self.regions.push((driver, device));
    }

    pub(super) fn unmap(&mut self, iova: u64) {
        self.regions.retain(|(driver, _)| driver.start_addr().0 != iova);
    }

    /// The index of the queue that is enabled.
    pub(super) fn queue(&self) -> Option<u16> {
        self.place.map(|place| place.queue)
    }

    pub(super) fn enable(&mut self, queue: u16, size: u16, [descriptors, avail, used]: [u64; 3]) {
        self.place = (size != 0).then_some(Place { queue, size, descriptors, avail, used });
    }

    /// The driver reset the device: all buffers are the driver's again.
    pub(super) fn reset(&mut self) {
        (self.taken, self.returned, self.passed, self.collected) = (0, 0, 0, 0);
        self.held.clear();
        self.place = None;
        self.life += 1;
    }

    /// See [`super::FaultyPf::violations`].
    pub(super) fn violations(&self) -> u64 {
        let changed = self.held.iter().filter(|chain| self.readable(chain) != chain.readable).count();
        self.violations + changed as u64
    }

    pub(super) fn region(&self, address: u64, of_device: bool) -> Option<(&DmaRegion, MemoryRegionAddress)> {
        self.regions.iter().find_map(|(driver, device)| {
            let region = if of_device { device } else { driver };
            let at = address.checked_sub(region.start_addr().0)?;
            (at < region.len()).then_some((region, MemoryRegionAddress(at)))
        })
    }

    /// Bytes of one side; zeros where nothing is mapped.
    fn get(&self, of_device: bool, address: u64, bytes: &mut [u8]) {
        if let Some((region, at)) = self.region(address, of_device) {
            let _ = region.read_slice(bytes, at);
        }
    }

    fn put(&self, of_device: bool, address: u64, bytes: &[u8]) {
        if let Some((region, at)) = self.region(address, of_device) {
            let _ = region.write_slice(bytes, at);
        }
    }

    fn index(&self, of_device: bool, address: u64) -> u16 {
        let load = |(region, at): (&DmaRegion, _)| region.load(at, std::sync::atomic::Ordering::Acquire).ok();
        u16::from_le(self.region(address, of_device).and_then(load).unwrap_or(0))
    }

    fn set_index(&self, of_device: bool, address: u64, value: u16) {
        if let Some((region, at)) = self.region(address, of_device) {
            let _ = region.store(value.to_le(), at, std::sync::atomic::Ordering::Release);
        }
    }

    fn descriptor(&self, place: &Place, index: u16) -> Descriptor {
        let mut bytes = [0; 16];
        self.get(false, place.descriptors + 16 * u64::from(index), &mut bytes);
        let [a0, a1, a2, a3, a4, a5, a6, a7, l0, l1, l2, l3, f0, f1, n0, n1] = bytes;
        Descriptor {
            index,
            address: u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
            length: u32::from_le_bytes([l0, l1, l2, l3]),
            flags: u16::from_le_bytes([f0, f1]),
            next: u16::from_le_bytes([n0, n1]),
        }
    }

    fn readable(&self, chain: &Chain) -> Vec<u8> {
        let mut all = Vec::new();
        for part in chain.parts(false) {
            let mut bytes = vec![0; part.length as usize];
            self.get(false, part.address, &mut bytes);
            all.extend_from_slice(&bytes);
        }
        all
    }

    /// The next buffer that the driver offered. From now on the device holds it.
    pub(super) fn take(&mut self) -> Option<(Chain, Seen)> {
        let place = self.place?;
        if self.index(false, place.avail + 2) == self.taken {
            return None;
        }
        let mut head = [0; 2];
        self.get(false, place.avail + 4 + 2 * u64::from(self.taken % place.size), &mut head);
        self.taken = self.taken.wrapping_add(1);
        let head = u16::from_le_bytes(head);
        let mut chain = Chain { head, descriptors: Vec::new(), readable: Vec::new(), life: self.life };
        let mut next = Some(head);
        while let Some(index) = next.filter(|_| chain.descriptors.len() < MAX_CHAIN) {
            let descriptor = self.descriptor(&place, index);
            next = (descriptor.flags & NEXT != 0).then_some(descriptor.next);
            chain.descriptors.push(descriptor);
        }
        chain.readable = self.readable(&chain);
        let reused = self.held.iter().any(|held| held.head == head || held.overlaps(&chain));
        self.violations += u64::from(reused);
        self.held.push(chain.clone());
        let seen = look(&chain);
        Some((chain, seen))
    }

    /// Offers the buffer to the device; its doorbell is the caller's.
    pub(super) fn pass_on(&mut self, chain: &Chain) {
        let Some(place) = self.place else { return };
        for part in &chain.descriptors {
            let mut bytes = [0; 16];
            let at = place.descriptors + 16 * u64::from(part.index);
            self.get(false, at, &mut bytes);
            self.put(true, at, &bytes);
            let mut content = vec![0; part.length as usize];
            self.get(false, part.address, &mut content);
            self.put(true, part.address, &content);
        }
        self.put(true, place.avail + 4 + 2 * u64::from(self.passed % place.size), &chain.head.to_le_bytes());
        self.passed = self.passed.wrapping_add(1);
        self.set_index(true, place.avail + 2, self.passed);
    }

    /// What the device returned, if it did.
    pub(super) fn collect(&mut self, chain: &Chain) -> Option<Completion> {
        let place = self.place?;
        if self.index(true, place.used + 2) == self.collected {
            return None;
        }
        let mut element = [0; 8];
        self.get(true, place.used + 4 + 8 * u64::from(self.collected % place.size), &mut element);
        self.collected = self.collected.wrapping_add(1);
        let [i0, i1, i2, i3, l0, l1, l2, l3] = element;
        let mut written = Vec::new();
        for part in chain.parts(true) {
            let mut bytes = vec![0; part.length as usize];
            self.get(true, part.address, &mut bytes);
            written.push((part.address, bytes));
        }
        Some(Completion {
            head: chain.head,
            id: u32::from_le_bytes([i0, i1, i2, i3]),
            length: u32::from_le_bytes([l0, l1, l2, l3]),
            copies: 1,
            skipped: 0,
            written,
            life: chain.life,
        })
    }

    /// Returns a buffer to the driver; `false` if the driver has reset the device since.
    pub(super) fn deliver(&mut self, completion: &Completion) -> bool {
        let Some(place) = self.place.filter(|_| completion.life == self.life) else { return false };
        let (back, held): (Vec<_>, _) = self.held.drain(..).partition(|chain| chain.head == completion.head);
        self.held = held;
        self.violations += back.iter().filter(|chain| self.readable(chain) != chain.readable).count() as u64;
        for (address, bytes) in &completion.written {
            self.put(false, *address, bytes);
        }
        for _ in 0..completion.copies {
            let mut element = [0; 8];
            element[..4].copy_from_slice(&completion.id.to_le_bytes());
            element[4..].copy_from_slice(&completion.length.to_le_bytes());
            self.put(false, place.used + 4 + 8 * u64::from(self.returned % place.size), &element);
            self.returned = self.returned.wrapping_add(1);
        }
        self.returned = self.returned.wrapping_add(completion.skipped);
        self.set_index(false, place.used + 2, self.returned);
        true
    }
}

fn look(chain: &Chain) -> Seen {
    let (header, data) = RequestHeader::parse(&chain.readable);
    let is_access = (opcode::LEGACY_COMMON_CFG_WRITE..=opcode::LEGACY_DEV_CFG_READ).contains(&header.opcode);
    Seen {
        opcode: header.opcode,
        group_type: header.group_type,
        member_id: header.member_id,
        offset: data.first().copied().filter(|_| is_access),
        readable: chain.readable.clone(),
        writable: chain.parts(true).map(|part| part.length).sum(),
    }
}
