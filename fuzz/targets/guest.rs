// SPDX-License-Identifier: Apache-2.0
//! A guest that does whatever it likes with its legacy function: ports, configuration space, vector
//! table, memory BARs, rings. Nothing panics or hangs, and every admin command is one that a legacy
//! driver of this VF could have caused (see `wire_spy`).
#![no_main]

use std::sync::OnceLock;

use devices::bus::{Access, Width};
use devices::pci::PciDevice;
use fuzz::script::{MAX_OPERATIONS, Script};
use fuzz::stack::{Guest, Host, MEMORY};
use libfuzzer_sys::fuzz_target;
use vm_memory::{Bytes, GuestAddress};

/// Registers with what drivers do to them: offset and width of writes.
const REGISTERS: [(u64, Width); 8] = [
    (4, Width::B4),
    (8, Width::B4),
    (14, Width::B2),
    (16, Width::B2),
    (18, Width::B1),
    (20, Width::B2),
    (22, Width::B2),
    (16, Width::B2),
];

fn read(guest: &Guest, bar: u8, offset: u64, width: Width) {
    let value = guest.device.bar_read(bar, Access { offset, width, vcpu: 0 });
    if bar == 0 {
        assert_eq!(value, width.truncate(value), "more bits than the access at {offset} has");
    }
}

fn write(guest: &Guest, bar: u8, offset: u64, width: Width, value: u64) {
    let _ = guest.device.bar_write(bar, Access { offset, width, vcpu: 0 }, width.truncate(value));
}

/// What the machine does after a configuration write.
fn config_write(guest: &Guest, offset: u16, width: Width, value: u32) {
    let aligned = offset & 0xff & !(width.bytes() as u16 - 1);
    let _ = guest.device.config_write(aligned, width, value);
    guest.device.placed(&guest.device.windows());
}

fn set_msix(guest: &Guest, on: bool) {
    let at = guest.device.config_read(0x34, Width::B1) as u16;
    if guest.device.config_read(at, Width::B1) == 0x11 {
        config_write(guest, at + 2, Width::B2, if on { 0x8000 } else { 0 });
    }
}

/// A queue at a page of its own, as a driver sets one up.
fn set_up_queue(guest: &Guest, queue: u8) {
    write(guest, 0, 14, Width::B2, queue.into());
    read(guest, 0, 12, Width::B2);
    write(guest, 0, 8, Width::B4, 1 + 8 * u64::from(queue % 4));
}

/// One chain of descriptors from anywhere to anywhere, made available to queue `queue`.
fn offer(guest: &Guest, script: &mut Script<'_>) {
    let (queue, count) = (u64::from(script.u8() % 4), script.u8() % 5);
    let base = 0x1000 * (1 + 8 * queue);
    for index in 0..u64::from(count) {
        let (shape, address) = (script.u8(), script.u32());
        // Bit 7: anywhere, with most of it up to the end of all addresses.
        let far = u64::from(address) << 33 | u64::from(address);
        let address = if shape & 0x80 != 0 { far } else { u64::from(address) % MEMORY as u64 };
        let mut bytes = [0; 16];
        bytes[0..8].copy_from_slice(&address.to_le_bytes());
        bytes[8..12].copy_from_slice(&u32::from(script.u16()).to_le_bytes());
        bytes[12..14].copy_from_slice(&u16::from(shape & 7).to_le_bytes());
        bytes[14..16].copy_from_slice(&(index as u16 + 1).to_le_bytes());
        let _ = guest.memory.write_slice(&bytes, GuestAddress(base + 16 * index));
    }
    let size = guest.device.bar_read(0, Access { offset: 12, width: Width::B2, vcpu: 0 });
    let available = GuestAddress(base + 16 * size);
    let _ = guest.memory.write_obj(u16::from(script.u8()), GuestAddress(available.0 + 2));
    let _ = guest.memory.write_obj(0_u16, GuestAddress(available.0 + 4));
    write(guest, 0, 16, Width::B2, queue);
}

fn step(guest: &mut Guest, script: &mut Script<'_>) {
    match script.u8() % 16 {
        0 | 1 => read(guest, 0, (script.u8() % 140).into(), script.width()),
        2 => write(guest, 0, (script.u8() % 140).into(), script.width(), script.u32().into()),
        3..=5 => {
            let (offset, width) = REGISTERS[usize::from(script.u8() % 8)];
            write(guest, 0, offset, width, script.u32().into());
        }
        6 => config_write(guest, script.u8().into(), script.width(), script.u32()),
        7 => set_msix(guest, script.flag()),
        8 => write(guest, 4, (script.u16() % 0x1010).into(), script.width(), script.u32().into()),
        9 => read(guest, script.u8() % 8, (script.u16() % 0x4010).into(), script.width()),
        // The modern registers of the VF, which are the guest's, too.
        10 => write(guest, 2, (script.u16() % 0x4010).into(), script.width(), script.u32().into()),
        11 => set_up_queue(guest, script.u8()),
        12 => offer(guest, script),
        13 => drop(guest.events.run_with_timeout(0)),
        14 => write(guest, 0, 18, Width::B1, [0, 1, 3, 7][usize::from(script.u8() % 4)]),
        _ => {
            let at = u64::from(script.u32()) % MEMORY as u64;
            let count = usize::from(script.u8());
            let _ = guest.memory.write(script.take(count), GuestAddress(at));
        }
    }
}

fuzz_target!(|input: &[u8]| {
    static HOST: OnceLock<Host> = OnceLock::new();
    let host = HOST.get_or_init(Host::new);
    let mut script = Script::new(input);
    let mut guest = Guest::new(host, &mut script);
    for _ in 0..MAX_OPERATIONS {
        if script.is_empty() {
            break;
        }
        step(&mut guest, &mut script);
    }
    guest.end();
    host.check();
});
