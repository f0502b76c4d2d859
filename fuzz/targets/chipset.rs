// SPDX-License-Identifier: Apache-2.0
//! A guest at the ports of the main board's chips, at any width, with somebody who types. Lines are high exactly when
//! the chip's status says so, what can be read ends, saved states are states, and no chip asks for what is another's.
#![no_main]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use devices::bus::{Access, Effect, IoDevice, Width};
use devices::chipset::keyboard::terminal::TerminalKeys;
use devices::chipset::{
    AcpiPm, Cmos, I8042, SerialPort, SystemControl, Vga, acpi_pm, cmos, i8042, serial, system_control, vga,
};
use devices::contract::Saved;
use devices::contract::mock::MockLine;
use fuzz::script::{MAX_OPERATIONS, Script};
use libfuzzer_sys::fuzz_target;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// More than any chip keeps for the guest to read.
const MOST: usize = 400;

/// Where a text screen's memory is.
const VIDEO: u64 = 0xa_0000;
const VIDEO_SIZE: usize = 0x2_0000;
/// Chips that a script can name.
const CHIPS: u8 = 6;

struct Board {
    keyboard: I8042,
    keyboard_line: Arc<MockLine>,
    keys: TerminalKeys,
    clock: Cmos,
    clock_line: Arc<MockLine>,
    serial: SerialPort,
    power: AcpiPm,
    power_line: Arc<MockLine>,
    control: SystemControl,
    vga: Vga,
    memory: GuestMemoryMmap<()>,
    nanos: Arc<AtomicU64>,
}

impl Board {
    fn new() -> Self {
        let nanos = Arc::new(AtomicU64::new(1_795_352_843_000_000_000));
        let clock = || -> devices::chipset::Clock {
            let nanos = nanos.clone();
            Box::new(move || Duration::from_nanos(nanos.load(Ordering::Relaxed)))
        };
        let line = Arc::<MockLine>::default;
        let (keyboard_line, clock_line, power_line) = (line(), line(), line());
        let cmos = Cmos::with_clock(0, clock()).expect("a thread");
        cmos.power_on(clock_line.clone(), 64 << 20, 0);
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(VIDEO), VIDEO_SIZE)]).expect("128 KiB");
        let irq = EventFd::new(EFD_NONBLOCK).expect("an eventfd");
        Self {
            keyboard: I8042::new(keyboard_line.clone()),
            keyboard_line,
            keys: TerminalKeys::default(),
            clock: cmos,
            clock_line,
            serial: SerialPort::new(irq, Box::new(io::sink())).expect("a thread"),
            power: AcpiPm::with_clock(power_line.clone(), clock()),
            power_line,
            control: SystemControl::default(),
            vga: Vga::new(memory.clone()),
            memory,
            nanos,
        }
    }

    fn chip(&self, number: u8) -> (&dyn IoDevice, u64) {
        match number % CHIPS {
            0 => (&self.keyboard, i8042::PORTS),
            1 => (&self.clock, cmos::PORTS),
            2 => (&self.serial, serial::PORTS),
            3 => (&self.power, acpi_pm::PORTS),
            4 => (&self.control, system_control::PORTS),
            _ => (&self.vga, vga::PORTS),
        }
    }

    fn type_byte(&mut self, byte: u8) {
        if let Some(stroke) = self.keys.take(byte) {
            let _ = self.keyboard.press(stroke);
        }
    }

    /// Each chip goes on from what it was.
    fn save_and_restore(&self) {
        let keyboard = self.keyboard.state();
        self.keyboard.set_state(again(&keyboard)).expect("a state of its own");
        assert_eq!(self.keyboard.state(), keyboard);
        let clock = self.clock.state();
        self.clock.set_state(again(&clock)).expect("a state of its own");
        let serial = self.serial.state();
        self.serial.set_state(again(&serial)).expect("a state of its own");
        assert_eq!(self.serial.state(), serial);
        let power = self.power.state();
        self.power.set_state(again(&power)).expect("a state of its own");
        assert_eq!(self.power.state(), power);
        self.control.set_state(again(&self.control.state())).expect("a state of its own");
        self.vga.set_state(again(&self.vga.state())).expect("a state of its own");
    }

    fn check(&self) {
        let status = read(&self.keyboard, 4, Width::B1);
        assert!(!self.keyboard_line.is_high() || status & 0x21 == 0x01, "IRQ 1 with status {status:#x}");
        let [events, enabled] = [0, 2].map(|offset| read(&self.power, offset, Width::B2));
        assert_eq!(self.power_line.is_high(), events & enabled != 0);
        assert_eq!(read(&self.serial, 5, Width::B1) & 0x60, 0x60, "the transmitter is always empty");
    }
}

fn again<T: serde::Serialize + serde::de::DeserializeOwned>(state: &T) -> T {
    serde_json::from_str(&serde_json::to_string(state).expect("plain")).expect("as it was written")
}

fn read(chip: &dyn IoDevice, offset: u64, width: Width) -> u64 {
    width.truncate(chip.read(Access { offset, width, vcpu: 0 }))
}

fn write(chip: &dyn IoDevice, offset: u64, width: Width, value: u64) -> Effect {
    chip.write(Access { offset, width, vcpu: 0 }, width.truncate(value))
}

fn run(script: &mut Script<'_>) {
    let mut board = Board::new();
    for _ in 0..MAX_OPERATIONS {
        if script.is_empty() {
            break;
        }
        match script.u8() % 9 {
            operation @ 0..=2 => {
                let number = script.u8();
                let (chip, ports) = board.chip(number);
                let (offset, width) = script.place(ports);
                if operation == 0 {
                    let _ = read(chip, offset, width);
                } else {
                    let effect = write(chip, offset, width, script.u32().into());
                    match number % CHIPS {
                        0 | 4 => assert!(matches!(effect, Effect::None | Effect::Reset)),
                        3 => assert!(matches!(effect, Effect::None | Effect::PowerOff)),
                        _ => assert_eq!(effect, Effect::None),
                    }
                }
            }
            3 => board.type_byte(script.u8()),
            4 => {
                let count = usize::from(script.u8() % 80);
                let _ = board.serial.enqueue(script.take(count));
            }
            5 => {
                let _ = board.serial.send_break();
            }
            6 => {
                board.nanos.fetch_add(script.u32().into(), Ordering::Relaxed);
                let _ = board.power.power_button();
            }
            7 => board.save_and_restore(),
            _ => {
                let (at, count) = (usize::from(script.u16()) * 2, usize::from(script.u8()));
                let bytes = script.take(count.min(VIDEO_SIZE - at));
                board.memory.write_slice(bytes, GuestAddress(VIDEO + at as u64)).expect("inside");
            }
        }
        board.check();
    }
    end(&board);
}

/// The picture is lines that are as long as it says.
fn check_screen(board: &Board) {
    let screen = board.vga.screen();
    assert!(screen.cells.len() % usize::from(screen.columns.max(1)) == 0);
    if let Some(cursor) = screen.cursor {
        assert!(cursor.column < screen.columns && usize::from(cursor.row) < screen.rows().count());
    }
    let _ = screen.text();
}

/// A driver that comes after all that: what waits is read to its end, and the chips answer as they should.
fn end(board: &Board) {
    check_screen(board);
    let mut reads = 0..MOST;
    while read(&board.keyboard, 4, Width::B1) & 1 != 0 {
        reads.next().expect("the keyboard never ends");
        let _ = read(&board.keyboard, 0, Width::B1);
    }
    let _ = write(&board.keyboard, 4, Width::B1, 0xaa);
    assert_eq!(read(&board.keyboard, 0, Width::B1), 0x55);

    let _ = write(&board.serial, 3, Width::B1, 0x03);
    while read(&board.serial, 5, Width::B1) & 1 != 0 {
        reads.next().expect("the serial port never ends");
        let _ = read(&board.serial, 0, Width::B1);
    }

    let _ = write(&board.clock, 0, Width::B2, 0x020b);
    let _ = write(&board.clock, 0, Width::B1, 0x0c);
    let _ = read(&board.clock, 1, Width::B1);
    assert!(!board.clock_line.is_high(), "no interrupt is enabled");
    for (register, most) in [(0, 0x59), (2, 0x59), (4, 0x23), (7, 0x31), (8, 0x12), (9, 0x99)] {
        let _ = write(&board.clock, 0, Width::B1, register);
        let value = read(&board.clock, 1, Width::B1);
        assert!(value <= most && value & 0xf <= 9, "register {register} shows {value:#x}");
    }
}

fuzz_target!(|input: &[u8]| run(&mut Script::new(input)));
