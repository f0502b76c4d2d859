// SPDX-License-Identifier: Apache-2.0
//! A hostile driver of the software PF: registers of PF and VFs, configuration space, commands cut into
//! any descriptors, rings with anything in them. Afterwards, a reset makes a PF that works.
#![no_main]

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use devices::admin::PfDriver;
use devices::bus::Width;
use devices::contract::Wait;
use devices::function::{DmaRegion, PciFunction};
use devices::soft_pf::{ListQuirks, NetBackend, NotifyQuirk, Quirks, ReplyQuirks, SoftPf, VfQuirks, VfSpec};
use fuzz::script::{MAX_OPERATIONS, Script};
use libfuzzer_sys::fuzz_target;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap, GuestRegionMmap};

const RAM: usize = 0x2_0000;
const REGISTERS: u8 = 2;
const NOTIFY: u64 = 0x3000;
const ADMIN_QUEUE: u16 = 2;
const SECTORS: u64 = 64;
const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    soft: SoftPf,
    disk: std::fs::File,
}

impl Bench {
    fn new() -> Self {
        let disk = tempfile::tempfile().expect("a temporary file");
        disk.set_len(512 * SECTORS).expect("a size for it");
        let file = disk.try_clone().expect("a second descriptor");
        let specs = vec![
            VfSpec::Net { backend: NetBackend::Loopback, mac: [0x52, 0x54, 0, 1, 2, 3] },
            VfSpec::Blk { size: None, file, read_only: false, id: "fuzz".to_owned() },
        ];
        Self { soft: SoftPf::new("soft", specs).expect("a software PF"), disk }
    }

    fn functions(&self) -> [Arc<dyn PciFunction>; 3] {
        let vf = |index| self.soft.vf(index).expect("two VFs");
        [self.soft.pf(), vf(0), vf(1)]
    }

    /// Whatever was done: after a reset a proper driver finds a proper PF and VFs.
    fn check(&self) {
        self.soft.set_quirks(Quirks::default());
        let pf = self.soft.pf();
        pf.reset().expect("the PF is there");
        let cancelled = AtomicBool::new(false);
        let wait = Wait { deadline: Instant::now() + PATIENCE, cancelled: &cancelled };
        let driver = PfDriver::start(pf, wait.deadline).expect("the PF starts after a reset");
        driver.enable_vfs(2).expect("VFs can be enabled after a reset");
        driver.negotiate_commands(&wait).expect("commands can be chosen after a reset");
        assert!(driver.supports_legacy());
        for index in 0..2 {
            let vf = self.soft.vf(index).expect("it exists");
            assert_eq!(vf.config_read(0, Width::B2).ok(), Some(0x1af4), "VF {index} is there");
        }
        assert_eq!(self.disk.metadata().expect("the disk's size").len(), 512 * SECTORS, "the disk has another size");
    }
}

/// Bring-up by the book, so that what follows reaches further.
fn bring_up(pf: &dyn PciFunction, base: u64, queue: u16, features: u64) {
    let _ = pf.config_write(4, Width::B2, 6);
    let write = |at, width, value| drop(pf.region_write(REGISTERS, at, width, value));
    write(20, Width::B1, 0);
    write(20, Width::B1, 3);
    for word in 0..2 {
        write(8, Width::B4, word);
        write(12, Width::B4, features >> (32 * word) & 0xffff_ffff);
    }
    write(20, Width::B1, 0xb);
    write(22, Width::B2, queue.into());
    let size = pf.region_read(REGISTERS, 24, Width::B2).unwrap_or(1);
    write(32, Width::B8, base);
    write(40, Width::B8, base + 16 * size);
    write(48, Width::B8, base + 0x2000);
    write(28, Width::B2, 1);
    write(20, Width::B1, 0xf);
}

/// Offers one chain in queue `queue` at `base`.
fn offer(function: &dyn PciFunction, memory: &GuestMemoryMmap<()>, base: u64, queue: u16, script: &mut Script<'_>) {
    let _ = function.region_write(REGISTERS, 22, Width::B2, queue.into());
    let size = function.region_read(REGISTERS, 24, Width::B2).unwrap_or(1).max(1);
    let count = u64::from(script.u8() % 6);
    for index in 0..count {
        let (shape, address, len) = (script.u8(), script.u32(), script.u16());
        // Bit 7: anywhere, with most of it up to the end of all addresses.
        let far = u64::from(address) << 33 | u64::from(address);
        let address = if shape & 0x80 != 0 { far } else { u64::from(address) % RAM as u64 };
        let len = if shape & 0x40 != 0 { u32::from(len) << 12 } else { u32::from(len % 0x200) };
        let mut bytes = [0; 16];
        bytes[0..8].copy_from_slice(&address.to_le_bytes());
        bytes[8..12].copy_from_slice(&len.to_le_bytes());
        bytes[12..14].copy_from_slice(&u16::from(shape & 7).to_le_bytes());
        bytes[14..16].copy_from_slice(&u16::from(script.u8()).to_le_bytes());
        let _ = memory.write_slice(&bytes, GuestAddress(base + 16 * index));
    }
    publish(memory, base, size, script.u8().into());
    let _ = function.region_write(REGISTERS, NOTIFY, Width::B2, queue.into());
}

fn publish(memory: &GuestMemoryMmap<()>, base: u64, size: u64, head: u16) {
    let available = base + 16 * size;
    let index: u16 = memory.read_obj(GuestAddress(available + 2)).unwrap_or(0);
    let _ = memory.write_obj(head, GuestAddress(available + 4 + 2 * (u64::from(index) % size)));
    let _ = memory.write_obj(index.wrapping_add(1), GuestAddress(available + 2));
}

/// A command of the SR-IOV group in one chain that is cut where the script says.
fn command(pf: &dyn PciFunction, memory: &GuestMemoryMmap<()>, script: &mut Script<'_>) {
    const REQUEST: u64 = 0x1_0000;
    const REPLY: u64 = 0x1_1000;
    let mut request = vec![0; 24];
    request[0] = script.u8() % 16;
    request[1] = if script.u8() == 0 { 0 } else { script.u8() % 2 };
    request[2] = 1 - u8::from(script.u8() % 8 == 1);
    request[16] = script.u8() % 4;
    let count = usize::from(script.u8() % 80);
    request.extend_from_slice(script.take(count));
    let (cut, room) = (u64::from(script.u8()) % request.len() as u64, u32::from(script.u8()));
    let _ = memory.write_slice(&request, GuestAddress(REQUEST));
    let parts =
        [(REQUEST, cut as u32, 1_u16), (REQUEST + cut, (request.len() as u64 - cut) as u32, 1), (REPLY, room, 2)];
    for (index, (address, len, flags)) in (0_u16..).zip(parts) {
        let mut bytes = [0; 16];
        bytes[0..8].copy_from_slice(&address.to_le_bytes());
        bytes[8..12].copy_from_slice(&len.to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes[14..16].copy_from_slice(&(index + 1).to_le_bytes());
        let _ = memory.write_slice(&bytes, GuestAddress(16 * u64::from(index)));
    }
    let _ = pf.region_write(REGISTERS, 22, Width::B2, ADMIN_QUEUE.into());
    let size = pf.region_read(REGISTERS, 24, Width::B2).unwrap_or(1).max(1);
    let before: u16 = memory.read_obj(GuestAddress(0x2002)).unwrap_or(0);
    publish(memory, 0, size, 0);
    let _ = pf.region_write(REGISTERS, NOTIFY, Width::B2, ADMIN_QUEUE.into());
    let after: u16 = memory.read_obj(GuestAddress(0x2002)).unwrap_or(0);
    if after == before.wrapping_add(1) {
        let element = GuestAddress(0x2004 + 8 * (u64::from(before) % size));
        let used: u64 = memory.read_obj(element).unwrap_or(0);
        // Another buffer may come first: one from when the queue did not run.
        let ours = used as u32 == 0;
        assert!(!ours || used >> 32 <= u64::from(room), "a reply of {} bytes in a buffer of {room}", used >> 32);
    }
}

fn step(bench: &Bench, functions: &[Arc<dyn PciFunction>; 3], memory: &GuestMemoryMmap<()>, script: &mut Script<'_>) {
    let op = script.u8();
    let which = usize::from(op >> 5) % 3;
    let function = functions[which].as_ref();
    let base = [0, 0x4000, 0x8000][which];
    match op & 0x1f {
        0..=3 => command(functions[0].as_ref(), memory, script),
        4 | 5 => offer(function, memory, base, u16::from(script.u8() % 4), script),
        6 => {
            let queue = if which == 0 { ADMIN_QUEUE } else { u16::from(script.u8() % 4) };
            bring_up(function, base, queue, script.u64() | 1 << 32);
        }
        7 => bring_up(functions[0].as_ref(), 0, ADMIN_QUEUE, 1 << 32 | 1 << 37 | 1 << 41),
        8 => drop(bench.soft.enable_vfs(u16::from(script.u8() % 4))),
        9..=11 => {
            let width = script.width();
            let _ = function.region_write(REGISTERS, (script.u8() % 68).into(), width, width.truncate(script.u64()));
        }
        12 => drop(function.region_read(script.u8() % 8, script.u16().into(), script.width())),
        13 => drop(function.region_write(script.u8() % 8, script.u16().into(), Width::B2, script.u16().into())),
        14 => drop(function.config_write(script.u16() % 0x1010, script.width(), script.u32())),
        15 => drop(function.config_read(script.u16() % 0x1010, script.width())),
        16 => drop(function.reset()),
        17 => {
            let (odd, busy) = (script.u8(), script.u8());
            bench.soft.set_quirks(Quirks {
                vf: VfQuirks {
                    loses_early_kicks: odd & 1 != 0,
                    pfn_zero_resets: odd & 2 != 0,
                    vectors_kept: (busy & 0x80 != 0).then_some(u16::from(busy) % 4),
                },
                list: ListQuirks {
                    before_vf_enable: odd & 4 != 0,
                    extra_opcode: (odd & 128 != 0).then_some(script.u16() % 1024),
                },
                reply: ReplyQuirks {
                    hang: odd & 32 != 0,
                    empty: odd & 64 != 0,
                    busy_every: (busy & 0x7f).into(),
                    answer: None,
                },
                notify: match (odd & 8 != 0, odd & 16 != 0) {
                    (true, _) => NotifyQuirk::Unsupported,
                    (_, true) => NotifyQuirk::Owner,
                    _ => NotifyQuirk::Member,
                },
            });
        }
        _ => {
            let at = u64::from(script.u32()) % RAM as u64;
            let count = usize::from(script.u8());
            let _ = memory.write(script.take(count), GuestAddress(at));
        }
    }
}

fuzz_target!(|input: &[u8]| {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    let bench = BENCH.get_or_init(Bench::new);
    let functions = bench.functions();
    let region: DmaRegion = Arc::new(GuestRegionMmap::from_range(GuestAddress(0), RAM, None).expect("memory"));
    let memory = GuestMemoryMmap::from_arc_regions(vec![region.clone()]).expect("one region");
    functions[0].dma_map(&region).expect("nothing else is mapped");
    bring_up(functions[0].as_ref(), 0, ADMIN_QUEUE, 1 << 32 | 1 << 37 | 1 << 41);
    let _ = bench.soft.enable_vfs(2);
    let mut script = Script::new(input);
    let mapped = [1, 2].map(|vf: usize| functions[vf].dma_map(&region).is_ok());
    assert_eq!(mapped, [true; 2], "the VFs are there");
    for _ in 0..MAX_OPERATIONS {
        if script.is_empty() {
            break;
        }
        step(bench, &functions, &memory, &mut script);
    }
    // VFs that are gone keep their mappings until they can be asked again.
    let _ = functions[0].reset();
    let _ = bench.soft.enable_vfs(2);
    for function in &functions {
        function.dma_unmap(0).expect("it was mapped");
    }
    bench.check();
});
