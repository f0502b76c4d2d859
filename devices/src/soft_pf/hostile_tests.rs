// SPDX-License-Identifier: Apache-2.0
//! Drivers that write rubbish everywhere. The device may stop a queue; it may not fall over, and it
//! works again after a reset.

use std::sync::Arc;

use super::testing::{Bench, Ram, disk, enable_function, kick, negotiate, settle};
use super::{Quirks, VfSpec};
use crate::bus::Width;
use crate::contract::mock::give_it_time;
use crate::function::PciFunction;

const RAM: usize = 0x10_0000;

/// Small and repeatable; the quality of its numbers does not matter here.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A number that has a chance to mean something.
    fn number(&mut self) -> u64 {
        match self.below(6) {
            0 => 0,
            1 => u64::MAX - self.below(0x2000),
            2 => self.below(16),
            3 => RAM as u64 - 8 + self.below(16),
            4 => self.below(RAM as u64),
            _ => self.next() >> self.below(64),
        }
    }
}

/// Descriptors and ring entries that mostly point into memory, and often at each other.
fn scribble(random: &mut Random, ram: &Ram) {
    for page in 0..8 {
        for index in 0..256 {
            let mut descriptor = [0; 16];
            let address = if random.below(8) == 0 { random.number() } else { random.below(0x8000) };
            descriptor[0..8].copy_from_slice(&address.to_le_bytes());
            let len = if random.below(8) == 0 { random.number() } else { random.below(0x800) };
            descriptor[8..12].copy_from_slice(&(len as u32).to_le_bytes());
            descriptor[12..14].copy_from_slice(&(random.below(8) as u16).to_le_bytes());
            descriptor[14..16].copy_from_slice(&(random.below(260) as u16).to_le_bytes());
            ram.put(page * 0x1000 + index * 16, &descriptor);
        }
    }
}

fn bench() -> Bench {
    let mut specs = Bench::nets(1);
    specs.push(VfSpec::Blk { size: None, file: disk(64), read_only: false, id: "x".to_owned() });
    Bench::ready(specs)
}

/// The VF at `index` still does its work: a frame is sent, a flush is done.
fn still_works(bench: &mut Bench, index: usize, vf: &Arc<dyn PciFunction>, ram: &Ram) {
    let (member, queue) = (index as u64 + 1, 1 - index as u16);
    bench.soft.set_quirks(Quirks::default());
    bench.legacy_write(member, 18, 1, 0);
    enable_function(vf.as_ref());
    let mut ring = bench.legacy_queue(member, queue, ram, 0x1000);
    bench.legacy_write(member, 18, 1, 7);
    ram.put(0x8000, &[4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    ring.add(&[(0x8000, 16, false), (0x9000, 1, true)]);
    kick(vf.as_ref(), queue);
    ring.wait();
}

#[test]
fn rubbish_in_the_rings_of_vfs() {
    let mut bench = bench();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for index in 0..2 {
        let (vf, ram) = bench.vf(index, RAM);
        let member = index as u64 + 1;
        for _ in 0..60 {
            scribble(&mut random, &ram);
            bench.legacy_write(member, 4, 4, random.next() as u32);
            for queue in 0..3 {
                bench.legacy_write(member, 14, 2, queue);
                let ring = random.below(6) * 0x1000;
                bench.legacy_write(member, 8, 4, (ring >> 12) as u32 + 1);
                // An index that the device takes, and heads that may be anything.
                let size = bench.legacy_read(member, false, 12, 2).unwrap();
                let avail = ring + 0x1000 + 16 * u64::from(size);
                ram.put_u16(avail + 2, random.below(u64::from(size) + 2) as u16);
            }
            bench.legacy_write(member, 18, 1, 7);
            (0..4).for_each(|queue| kick(vf.as_ref(), queue));
            give_it_time(std::time::Duration::from_micros(300));
            bench.legacy_write(member, 18, 1, 0);
        }
        still_works(&mut bench, index, &vf, &ram);
    }
}

#[test]
fn rubbish_in_all_registers() {
    let mut bench = bench();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for index in 0..2 {
        let (vf, ram) = bench.vf(index, RAM);
        scribble(&mut random, &ram);
        for round in 0..4000_u64 {
            let width = Width::from_bytes(1 << random.below(4)).unwrap();
            let offset = if random.below(4) == 0 { random.below(0x4000) } else { random.below(64) };
            let value = width.truncate(random.number());
            // An access that passes the end of the BAR is an error, and that is all it is.
            let _ = vf.region_write(2, offset, width, value);
            let _ = vf.region_read(2, offset, width);
            if round % 50 == 0 {
                negotiate(vf.as_ref(), random.next() | 1 << 32);
            }
            let narrow = Width::from_bytes(1 << random.below(3)).unwrap();
            let _ = vf.config_write(random.below(0x1000) as u16, narrow, random.next() as u32);
            if round % 10 == 0 {
                let _ = vf.config_write(4, Width::B2, 6);
            }
        }
        settle();
        still_works(&mut bench, index, &vf, &ram);
    }
}

#[test]
fn rubbish_as_commands() {
    let mut bench = bench();
    let (_vf, _ram) = bench.vf(0, RAM);
    let mut random = Random(0xdead_beef_cafe_f00d);
    let mut answered = 0;
    for _ in 0..3000 {
        let mut request = vec![0; random.below(50) as usize];
        request.iter_mut().for_each(|byte| *byte = if random.below(3) == 0 { random.next() as u8 } else { 0 });
        let plausible = [random.below(8) as u8, 0, random.below(3) as u8, 0];
        request.iter_mut().zip(plausible).for_each(|(to, from)| *to = from);
        if let Some(member) = request.get_mut(16) {
            *member = random.below(4) as u8;
        }
        // LIST_USE could lock the list, and then nothing else would be tried.
        if request.first() == Some(&1) {
            request.clear();
        }
        let room = random.below(100) as u32;
        let cuts = [random.below(40) as u32, 40 + random.below(10) as u32];
        if request.is_empty() && room == 0 {
            continue;
        }
        let reply = bench.send(&request, room, &cuts);
        assert!(reply.len() >= (room as usize).min(8));
        answered += u32::from(reply.len() >= 8 && reply[0] == 0);
    }
    assert!(answered > 100, "{answered} of 3000 made sense; the others were refused");
    assert_eq!(bench.command("00000100 Z12 Z8", 16), "00000000000000007f00000000000000");
}

#[test]
fn rubbish_in_the_admin_ring() {
    let mut bench = bench();
    let mut random = Random(0x1234_5678_9abc_def1);
    for _ in 0..200 {
        for index in 0..64 {
            let address = 0x10_0000 + random.below(0x2_0000);
            let (len, flags) = (random.below(0x100) as u32, random.below(8) as u16);
            bench.admin.set_descriptor(index, (address, len, flags, random.below(66) as u16));
        }
        bench.admin.publish(random.below(66) as u16);
        (0..4).for_each(|queue| kick(bench.pf.as_ref(), queue));
        bench.pf.region_write(2, 20, Width::B1, 0).unwrap();
        bench.restart();
    }
    assert_eq!(bench.command("00000100 Z12 Z8", 16), "00000000000000007f00000000000000");
}
