// SPDX-License-Identifier: Apache-2.0
//! A PF that reads every admin command off the ring before the device behind it does, and panics over
//! one that no guest may cause. What it knows of the driver it learned from the registers and the
//! memory, as hardware would.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use devices::bus::Width;
use devices::contract::mock::{Between, Proxy};
use devices::function::{DmaRegion, PciFunction, Result};
use devices::spec::virtio::common;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::fields::{self, Kind};

const REGISTER_BAR: u8 = 2;
const QUEUE_DESC_HIGH: u64 = common::QUEUE_DESC + 4;
const QUEUE_DRIVER_HIGH: u64 = common::QUEUE_DRIVER + 4;
const NOTIFY: u64 = 0x3000;
const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// The driver's ring, as far as its registers have told.
#[derive(Default)]
struct Ring {
    size: u16,
    descriptors: u64,
    available: u64,
    seen: u16,
    regions: Vec<DmaRegion>,
}

/// The PF with the spy in front.
pub struct WireSpy {
    pf: Arc<dyn PciFunction>,
    ring: Mutex<Ring>,
    /// From now on commands come from a guest's accesses.
    guarded: AtomicBool,
    /// Whose accesses they are.
    guest: Mutex<(u64, Kind)>,
    commands: AtomicU64,
}

impl fmt::Debug for WireSpy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WireSpy")
    }
}

impl WireSpy {
    /// In front of `pf`, whose driver has not started.
    pub fn new(pf: Arc<dyn PciFunction>) -> Arc<Proxy<Self>> {
        let (ring, guarded) = (Mutex::default(), AtomicBool::new(false));
        Proxy::new(Self { pf, ring, guarded, guest: Mutex::new((0, Kind::Net)), commands: AtomicU64::new(0) })
    }

    /// All commands from now on must be ones that the guest of VF `member`, of this kind, may cause.
    pub fn guard(&self, member: u64, kind: Kind) {
        *self.guest.lock().unwrap_or_else(PoisonError::into_inner) = (member, kind);
        self.guarded.store(true, Ordering::SeqCst);
    }

    /// Commands seen so far.
    pub fn commands(&self) -> u64 {
        self.commands.load(Ordering::SeqCst)
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn register_written(&self, offset: u64, value: u64) {
        let mut ring = self.ring();
        match offset {
            common::QUEUE_SELECT => ring.size = 0,
            common::QUEUE_SIZE => ring.size = value as u16,
            common::QUEUE_DESC => ring.descriptors = ring.descriptors >> 32 << 32 | value,
            QUEUE_DESC_HIGH => ring.descriptors = ring.descriptors & 0xffff_ffff | value << 32,
            common::QUEUE_DRIVER => ring.available = ring.available >> 32 << 32 | value,
            QUEUE_DRIVER_HIGH => ring.available = ring.available & 0xffff_ffff | value << 32,
            _ => {}
        }
    }

    /// Looks at what the driver made available since the last doorbell.
    fn look(&self) {
        let mut ring = self.ring();
        let memory = GuestMemoryMmap::<()>::from_arc_regions(ring.regions.clone()).expect("the driver's regions");
        let word = |at: u64| memory.read_obj::<u16>(GuestAddress(at)).expect("the driver's ring is mapped");
        let (end, size) = (word(ring.available + 2), ring.size.max(1));
        while ring.seen != end {
            let head = word(ring.available + 4 + 2 * u64::from(ring.seen % size));
            ring.seen = ring.seen.wrapping_add(1);
            let (mut request, mut room, mut index) = (Vec::new(), 0, head);
            for _ in 0..size {
                let mut raw = [0; 16];
                let at = GuestAddress(ring.descriptors + 16 * u64::from(index));
                memory.read_slice(&mut raw, at).expect("the driver's table is mapped");
                let address = u64::from_le_bytes(raw[0..8].try_into().expect("8 bytes"));
                let len = u32::from_le_bytes(raw[8..12].try_into().expect("4 bytes")) as usize;
                let flags = u16::from_le_bytes([raw[12], raw[13]]);
                if flags & WRITE != 0 {
                    room += len;
                } else {
                    let mut part = vec![0; len];
                    memory.read_slice(&mut part, GuestAddress(address)).expect("the driver's buffers are mapped");
                    request.extend(part);
                }
                if flags & NEXT == 0 {
                    break;
                }
                index = u16::from_le_bytes([raw[14], raw[15]]);
            }
            self.commands.fetch_add(1, Ordering::SeqCst);
            if self.guarded.load(Ordering::SeqCst) {
                self.check(&request, room);
            }
        }
    }

    /// The point of it all: no guest access makes any other command.
    fn check(&self, request: &[u8], room: usize) {
        let (member, kind) = *self.guest.lock().unwrap_or_else(PoisonError::into_inner);
        let half = |at: usize| u16::from_le_bytes([request[at], request[at + 1]]);
        assert!(request.len() > 24, "a legacy command has an offset: {request:x?}");
        let opcode = half(0);
        assert!((2..=5).contains(&opcode), "opcode {opcode:#x}");
        assert_eq!(half(2), 1, "group type");
        assert!(request[4..16].iter().all(|byte| *byte == 0), "reserved bytes of the header: {request:x?}");
        assert_eq!(u64::from_le_bytes(request[16..24].try_into().expect("8 bytes")), member, "member id");
        let (offset, device) = (request[24], opcode >= 4);
        let count = if opcode == 2 || opcode == 4 {
            assert!(request.len() > 32 && request[25..32].iter().all(|byte| *byte == 0), "prefix: {request:x?}");
            assert_eq!(room, 8, "a write's reply is its status");
            request.len() - 32
        } else {
            assert_eq!(request.len(), 25, "a read carries an offset and nothing else: {request:x?}");
            room.checked_sub(8).expect("room for the status")
        };
        assert!(matches!(count, 1 | 2 | 4), "{count} bytes at {offset} of opcode {opcode}");
        assert!(fields::inside_one(kind, device, offset, count), "opcode {opcode}: {count} bytes at {offset}");
        // ISR reads have side effects; they are answered in software.
        assert!(device || offset != 19, "ISR access by command {opcode}");
    }
}

impl Between for WireSpy {
    fn function(&self) -> &dyn PciFunction {
        &*self.pf
    }
    fn region_read(&self, bar: u8, offset: u64, width: Width) -> Result<u64> {
        let value = self.pf.region_read(bar, offset, width)?;
        if (bar, offset) == (REGISTER_BAR, common::QUEUE_SIZE) {
            self.ring().size = value as u16;
        }
        Ok(value)
    }
    fn region_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> Result<()> {
        if bar == REGISTER_BAR && offset < common::LEN as u64 {
            self.register_written(offset, value);
        } else if bar == REGISTER_BAR && (NOTIFY..NOTIFY + 0x800).contains(&offset) {
            self.look();
        }
        self.pf.region_write(bar, offset, width, value)
    }
    fn dma_map(&self, region: &DmaRegion) -> Result<()> {
        self.ring().regions.push(region.clone());
        self.pf.dma_map(region)
    }
}
