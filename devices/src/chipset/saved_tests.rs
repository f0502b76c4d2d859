// SPDX-License-Identifier: Apache-2.0
//! States of all chips: a guest goes on at another one, and states that somebody made up do no harm.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use vm_memory::{GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::fw_cfg::{Items, key};
use super::*;
use crate::bus::{Access, IoDevice, Width};
use crate::contract::Saved;
use crate::contract::mock::{MockLine, make_up_states, move_state};

fn write(chip: &dyn IoDevice, offset: u64, width: Width, value: u64) {
    let _ = chip.write(Access { offset, width, vcpu: 0 }, value);
}

fn read(chip: &dyn IoDevice, offset: u64, width: Width) -> u64 {
    chip.read(Access { offset, width, vcpu: 0 })
}

fn bytes(chip: &dyn IoDevice, ports: u64) -> Vec<u64> {
    (0..ports).map(|offset| read(chip, offset, Width::B1)).collect()
}

/// The guest that made `first` what it is finds `second` the same, at all ports and more than once. Then `second` gets
/// states that no chip had, and a guest that reads and writes all.
fn check<T: Saved + IoDevice>(first: &T, second: &T, ports: u64) {
    move_state(first, second);
    for _ in 0..3 {
        assert_eq!(bytes(second, ports), bytes(first, ports), "{}", first.name());
    }
    let taken = make_up_states(second, |_| {
        for value in [0, 1, 0x55, 0xaa, 0xff] {
            bytes(second, ports);
            (0..ports).for_each(|offset| write(second, offset, Width::B1, value));
        }
        for index in 0..128 {
            write(second, 0, Width::B1, index);
            write(second, 1 % ports, Width::B1, 0x99);
            read(second, 1 % ports, Width::B1);
        }
    });
    assert!(taken > 0, "{}", first.name());
}

fn clock() -> Clock {
    Box::new(|| Duration::from_secs(1_000_000_000))
}

fn memory() -> GuestMemoryMmap<()> {
    GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap()
}

#[test]
fn ports_that_keep_a_byte() {
    let (first, second) = (DebugPort::default(), DebugPort::default());
    write(&first, 0, Width::B1, 0x5a);
    check(&first, &second, debug_port::PORTS);
    let (first, second) = (SystemControl::default(), SystemControl::default());
    write(&first, 0, Width::B1, 0x01);
    move_state(&first, &second);
    assert_eq!(
        second.write(Access { offset: 0, width: Width::B1, vcpu: 0 }, 1),
        crate::bus::Effect::None,
        "high already"
    );
    check(&first, &second, system_control::PORTS);
}

/// The guest is in the middle of a file, of a DMA address, of a colour and of an attribute.
#[test]
fn fw_cfg_and_vga_go_on_in_the_middle() {
    let fw_cfg = || {
        let mut items = Items::new();
        items.set_u16(key::NB_CPUS, 4);
        items.add_file("file", b"content".to_vec()).unwrap();
        FwCfg::new(items, memory())
    };
    let (first, second) = (fw_cfg(), fw_cfg());
    write(&first, 0, Width::B2, key::FILE_DIR.into());
    read(&first, 1, Width::B1);
    write(&first, 4, Width::B4, 0x1234);
    check(&first, &second, fw_cfg::PORTS);

    let (first, second) = (Vga::new(memory()), Vga::new(memory()));
    for (port, value) in
        [(0x3c8, 7), (0x3c9, 0x11), (0x3c9, 0x22), (0x3c0, 0x10), (0x3d4, 0x0e), (0x3d5, 3), (0x3c4, 2)]
    {
        write(&first, port - u64::from(vga::FIRST_PORT), Width::B1, value);
    }
    move_state(&first, &second);
    for (port, value) in [(0x3c9, 0x33), (0x3c0, 0x08), (0x3c7, 7)] {
        write(&first, port - u64::from(vga::FIRST_PORT), Width::B1, value);
        write(&second, port - u64::from(vga::FIRST_PORT), Width::B1, value);
    }
    let colour = [0; 3].map(|_| read(&second, 0x3c9 - u64::from(vga::FIRST_PORT), Width::B1));
    assert_eq!(colour, [0x11, 0x22, 0x33]);
    assert_eq!(second.screen().cursor, first.screen().cursor);
    check(&first, &second, vga::PORTS);
}

#[test]
fn keyboard_clock_serial_port_and_power_management() {
    let keyboard = || I8042::new(Arc::new(MockLine::default()));
    let (first, second) = (keyboard(), keyboard());
    write(&first, 0, Width::B1, 0xf2);
    write(&first, 4, Width::B1, 0x60);
    check(&first, &second, i8042::PORTS);

    let rtc = || Cmos::with_clock(0, clock()).unwrap();
    let (first, second) = (rtc(), rtc());
    for (offset, value) in [(0, 0x0b), (1, 0x82), (0, 9), (1, 0x37), (0, 0x40), (1, 0x77)] {
        write(&first, offset, Width::B1, value);
    }
    check(&first, &second, cmos::PORTS);

    let port = || SerialPort::new(EventFd::new(EFD_NONBLOCK).unwrap(), Box::new(io::sink())).unwrap();
    let (first, second) = (port(), port());
    write(&first, 7, Width::B1, 0x5a);
    write(&first, 3, Width::B1, 0x83);
    write(&first, 0, Width::B1, 0x0c);
    first.enqueue(b"input");
    check(&first, &second, serial::PORTS);

    let power = || AcpiPm::with_clock(Arc::new(MockLine::default()), clock());
    let (first, second) = (power(), power());
    write(&first, 2, Width::B2, 0x0100);
    write(&first, 4, Width::B2, 0x1402);
    check(&first, &second, acpi_pm::PORTS);
}
