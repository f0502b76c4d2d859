// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;

use super::*;
use crate::bus::Width;
use crate::chipset::keyboard::keys::Key;
use crate::contract::mock::MockLine;

struct Rig {
    device: I8042,
    line: Arc<MockLine>,
}

impl Rig {
    fn new() -> Self {
        let line = Arc::new(MockLine::default());
        Self { device: I8042::new(line.clone()), line }
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
    /// Edges so far.
    fn interrupts(&self) -> u64 {
        self.line.rises()
    }
    /// What an interrupt handler reads.
    fn read_all(&self) -> Vec<u8> {
        std::iter::from_fn(|| (self.input(0x64) & 1 != 0).then(|| self.input(0x60))).collect()
    }
    fn press(&self, character: u8) {
        assert!(self.device.press(Stroke::of_character(character).unwrap()));
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

/// `atkbd_probe` behind a translating port: the bytes that Linux sends, and what comes back.
#[test]
fn p7_linux_finds_the_keyboard() {
    let rig = Rig::new();
    rig.tell(0x60, Some(0x47));
    let ask = |bytes: &[u8]| -> Vec<u8> {
        bytes
            .iter()
            .flat_map(|byte| {
                assert_eq!(rig.out(0x60, *byte), Effect::None);
                assert_eq!(rig.input(0x64) & 0x61, 0x01, "answered at once, and not by a mouse");
                assert!(rig.line.is_high());
                rig.read_all()
            })
            .collect()
    };
    assert_eq!(ask(&[0xf2]), [0xfa, 0xab, 0x41], "83 translated");
    assert_eq!(rig.interrupts(), 3, "an edge for each byte");
    assert!(!rig.line.is_high());
    assert_eq!(ask(&[0xf5]), [0xfa]);
    assert_eq!(ask(&[0xed, 0x00]), [0xfa, 0xfa]);
    assert_eq!(ask(&[0xf3, 0x00]), [0xfa, 0xfa]);
    assert_eq!(ask(&[0xf4]), [0xfa]);
    rig.press(b'a');
    assert_eq!(rig.read_all(), [0x1e, 0x9e]);
    assert!(rig.device.press(Stroke::of(Key::UP)));
    assert_eq!(rig.read_all(), [0xe0, 0x48, 0xe0, 0xc8]);
    rig.tell(0x60, Some(0x04));
    rig.press(b'a');
    assert!(!rig.line.is_high(), "interrupt is off");
    assert_eq!(rig.read_all(), [0x1c, 0xf0, 0x1c], "translation is off");
    assert_eq!(ask_without_interrupt(&rig, 0xf2), [0xfa, 0xab, 0x83]);
}

fn ask_without_interrupt(rig: &Rig, byte: u8) -> Vec<u8> {
    let _ = rig.out(0x60, byte);
    rig.read_all()
}

/// The BIOS of the AT: disable, read, handle, enable. The byte that was there stays readable, the next one waits.
#[test]
fn p7_a_disabled_port_holds_the_keyboard_back() {
    let rig = Rig::new();
    rig.press(b'a');
    rig.tell(0xad, None);
    assert_eq!(rig.read_all(), [0x1e]);
    assert_eq!(rig.interrupts(), 1);
    rig.tell(0xae, None);
    assert_eq!((rig.interrupts(), rig.read_all()), (2, vec![0x9e]));
    rig.tell(0xad, None);
    assert_eq!(ask_without_interrupt(&rig, 0xee), [0xee], "a byte for the keyboard enables its port");
}

/// A controller command while a key waits: the answer is first, and the key is not lost.
#[test]
fn p7_commands_lose_no_keys() {
    let rig = Rig::new();
    rig.press(b'a');
    assert_eq!(rig.ask(0x20, None), 0x65);
    assert_eq!(rig.ask(0xaa, None), 0x55);
    assert_eq!(rig.read_all(), [0x1e, 0x9e]);
}

#[test]
fn p7_a_key_waits_for_the_interrupt_to_be_enabled() {
    let rig = Rig::new();
    rig.tell(0x60, Some(0x44));
    rig.press(b'a');
    assert_eq!(rig.interrupts(), 0);
    rig.tell(0x60, Some(0x45));
    assert_eq!(rig.interrupts(), 1);
    assert_eq!(rig.read_all(), [0x1e, 0x9e]);
}

#[test]
fn p7_state_is_one_plain_value() {
    let rig = Rig::new();
    rig.tell(0x60, Some(0x45));
    rig.press(b'A');
    let _ = (rig.input(0x60), rig.out(0x64, 0xd1));
    let saved = serde_json::to_string(&rig.device.state()).unwrap();
    let other = Rig::new();
    other.device.set_state(serde_json::from_str(&saved).unwrap()).unwrap();
    assert_eq!(other.device.state(), rig.device.state());
    assert!(other.line.is_high(), "a byte waits");
    assert_eq!(other.out(0x60, 0xfe), Effect::Reset, "the parameter of 0xd1");
    assert_eq!(other.read_all(), rig.read_all());
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
fn wide_accesses_are_bytes_and_gaps_read_as_ones() {
    let rig = Rig::new();
    let access = |offset, width| Access { offset, width, vcpu: 0 };
    assert_eq!(rig.device.read(access(1, Width::B2)), 0xffff);
    assert_eq!(rig.device.read(access(0, Width::B4)), 0xffff_ff00);
    assert_eq!(rig.device.write(access(3, Width::B2), 0xfe00), Effect::Reset, "upper byte is for 0x64");
}

proptest! {
    #[test]
    fn random_writes_never_block_the_controller(writes in prop::collection::vec((any::<bool>(), any::<u8>(), any::<bool>()), 1..80)) {
        let rig = Rig::new();
        for (command, value, key) in writes {
            if key {
                let _ = rig.device.press(Stroke::of(Key::LEFT));
            }
            let effect = rig.out(if command { 0x64 } else { 0x60 }, value);
            prop_assert!(effect != Effect::Remap && effect != Effect::PowerOff);
            prop_assert_eq!(rig.input(0x64) & 0x12, 0x10, "never busy, never locked");
            prop_assert_eq!(rig.ask(0x20, None) & 0x22, 0x20);
        }
        let _ = rig.out(0x64, 0xaa);
        prop_assert_eq!(rig.input(0x60), 0x55);
    }
}
