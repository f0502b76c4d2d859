// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK};

use super::*;
use crate::bus::Width;

struct Rig {
    device: I8042,
    irq: EventFd,
}

impl Rig {
    fn new() -> Self {
        let irq = EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK).unwrap();
        Self { device: I8042::new(Some(irq.try_clone().unwrap())), irq }
    }
    fn out(&self, port: u64, value: u8) -> Effect {
        self.device.write(Access { offset: port - 0x60, width: Width::B1, vcpu: 0 }, value.into())
    }
    fn input(&self, port: u64) -> u8 {
        self.device.read(Access { offset: port - 0x60, width: Width::B1, vcpu: 0 }) as u8
    }
    /// A command with its parameters and one answer, as drivers do it: nothing may have to wait.
    fn ask(&self, command: u8, parameter: Option<u8>) -> u8 {
        self.tell(command, parameter);
        assert_eq!(self.input(0x64) & 1, 1, "{command:#x} is not answered at once");
        self.input(0x60)
    }
    fn tell(&self, command: u8, parameter: Option<u8>) {
        assert_eq!(self.input(0x64) & 2, 0, "never busy");
        assert_eq!(self.out(0x64, command), Effect::None);
        if let Some(parameter) = parameter {
            assert_eq!(self.input(0x64) & 2, 0, "never busy");
            assert_eq!(self.out(0x60, parameter), Effect::None);
        }
    }
    fn interrupts(&self) -> u64 {
        self.irq.read().unwrap_or(0)
    }
}

#[test]
fn linux_controller_probe() {
    let rig = Rig::new();
    assert_eq!(rig.input(0x64) & 1, 0, "i8042_flush: nothing to flush");
    assert_eq!(rig.ask(0xaa, None), 0x55, "i8042_controller_selftest");
    let ctr = rig.ask(0x20, None);
    assert_eq!(rig.ask(0x20, None), ctr, "i8042_controller_init wants a stable value");
    assert_eq!(ctr & 0x40, 0x40, "translation");
    assert_eq!(rig.input(0x64) & 0x10, 0x10, "keylock is open");
    rig.tell(0x60, Some(ctr & !1 | 0x10));
    assert_eq!(rig.ask(0x20, None), ctr & !1 | 0x10);
    assert_eq!(rig.ask(0xab, None), 0, "keyboard interface test");
    assert_eq!(rig.interrupts(), 0);
}

/// `i8042_check_aux`: loopback, interface test, disable, enable. Each step must be answered, and no
/// step may make a driver believe in the port.
#[test]
fn linux_auxiliary_probe_finds_nothing_without_waiting() {
    let rig = Rig::new();
    rig.tell(0xd3, Some(0x5a));
    let status = rig.input(0x64);
    assert_eq!(status & 0x21, 1, "answered, and not as auxiliary data");
    assert!((1..=3).contains(&rig.ask(0xa9, None)), "the pending byte does not hide the answer");
    rig.tell(0xa8, None);
    assert_eq!(rig.ask(0x20, None) & 0x20, 0x20, "cannot be enabled");
    rig.tell(0x60, Some(0x47));
    assert_eq!(rig.ask(0x20, None), 0x65, "nor by the command byte");
    rig.tell(0xd4, Some(0xff));
    assert_eq!(rig.input(0x64) & 0x61, 0x61);
    assert_eq!(rig.input(0x60), 0xfe);
    assert_eq!(rig.interrupts(), 0, "there is no IRQ 12, and IRQ 1 is not for this");
}

#[test]
fn a_byte_for_the_keyboard_is_refused_at_once() {
    let rig = Rig::new();
    assert_eq!(rig.out(0x60, 0xf2), Effect::None);
    assert_eq!(rig.input(0x64) & 0x61, 0x41, "output full, timeout, not auxiliary");
    assert_eq!(rig.interrupts(), 1);
    assert_eq!(rig.input(0x60), 0xfe);
    assert_eq!(rig.input(0x64) & 0x41, 0);
    rig.tell(0x60, Some(0x64));
    let _ = rig.out(0x60, 0xed);
    assert_eq!(rig.interrupts(), 0, "interrupt is off");
    assert_eq!(rig.input(0x60), 0xfe, "SeaBIOS polls");
}

#[test]
fn echo_as_keyboard_interrupts() {
    let rig = Rig::new();
    rig.tell(0xd2, Some(0x1c));
    assert_eq!(rig.interrupts(), 1);
    assert_eq!(rig.input(0x64) & 0x21, 1);
    assert_eq!(rig.input(0x60), 0x1c);
    assert_eq!(rig.input(0x60), 0x1c, "an empty buffer gives the last byte");
}

#[test]
fn reset_by_pulse_and_by_output_port() {
    let rig = Rig::new();
    assert_eq!(rig.out(0x64, 0xfe), Effect::Reset);
    assert_eq!(rig.out(0x64, 0xf0), Effect::Reset);
    assert_eq!(rig.out(0x64, 0xff), Effect::None, "pulses nothing");
    assert_eq!(rig.out(0x60, 0xfe), Effect::None, "data, no command");
    rig.tell(0xd1, Some(0xdf));
    assert_eq!(rig.ask(0xd0, None), 0xdf);
    let _ = rig.out(0x64, 0xd1);
    assert_eq!(rig.out(0x60, 0xfe), Effect::Reset);
    rig.tell(0xd1, None);
    rig.tell(0xae, None);
    assert_eq!(rig.out(0x60, 0xfe), Effect::None, "another command came between: this is for the keyboard");
}

/// `empty_8042` and the A20 sequence of old boot loaders.
#[test]
fn a20_sequence_of_boot_loaders() {
    let rig = Rig::new();
    assert_eq!(rig.input(0x64) & 3, 0);
    rig.tell(0xd1, None);
    assert_eq!(rig.input(0x64) & 0x0b, 0x08, "last write was a command");
    assert_eq!(rig.out(0x60, 0xdf), Effect::None);
    rig.tell(0xff, None);
    assert_eq!(rig.input(0x64) & 3, 0);
}

#[test]
fn machine_reset_forgets_everything() {
    let rig = Rig::new();
    rig.tell(0x60, Some(0));
    rig.tell(0xd1, None);
    rig.device.reset();
    assert_eq!(rig.input(0x64) & 1, 0);
    assert_eq!(rig.ask(0x20, None), 0x65);
}

#[test]
fn wide_accesses_are_bytes_and_gaps_read_as_ones() {
    let rig = Rig::new();
    let access = |offset, width| Access { offset, width, vcpu: 0 };
    assert_eq!(rig.device.read(access(1, Width::B2)), 0xffff);
    assert_eq!(rig.device.read(access(0, Width::B4)), 0xffff_ff00);
    assert_eq!(rig.device.write(access(3, Width::B2), 0xfe00), Effect::Reset, "upper byte is for 0x64");
}

proptest! {
    #[test]
    fn random_writes_never_block_the_controller(writes in prop::collection::vec((any::<bool>(), any::<u8>()), 1..80)) {
        let rig = Rig::new();
        for (command, value) in writes {
            let effect = rig.out(if command { 0x64 } else { 0x60 }, value);
            prop_assert!(effect != Effect::Remap && effect != Effect::PowerOff);
            prop_assert_eq!(rig.input(0x64) & 0x12, 0x10, "never busy, never locked");
            prop_assert_eq!(rig.ask(0x20, None) & 0x22, 0x20);
        }
        let _ = rig.out(0x64, 0xaa);
        prop_assert_eq!(rig.input(0x60), 0x55);
    }
}
