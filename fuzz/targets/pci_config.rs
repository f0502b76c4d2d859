// SPDX-License-Identifier: Apache-2.0
//! Guests that write configuration space through ports 0xcf8 to 0xcff, and put BARs onto each other and
//! onto everything else. Identity never changes, partial reads agree with whole ones, and each window
//! that a function is told to have answers as that function.
#![no_main]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use devices::bus::{Access, Bus, Effect, IoDevice, Range, Width};
use devices::pci::{
    BAR_COUNT, BarKind, BarWindow, CONFIG_PORTS, Changed, ConfigSpace, Identity, MsixLayout, PciDevice, PciRoot,
    Subsystem,
};
use fuzz::script::{MAX_OPERATIONS, Script};
use libfuzzer_sys::fuzz_target;

const IDENTITY: Identity = Identity {
    vendor_id: 0x1af4,
    device_id: 0x1000,
    revision_id: 0,
    class_code: [0, 0, 2],
    subsystem: Subsystem { vendor_id: 0x1af4, id: 1 },
};
const FUNCTIONS: u8 = 4;

/// A function with BARs of the script's choice, which answers with its own number.
struct Function {
    number: u8,
    space: Mutex<ConfigSpace>,
    placed: Mutex<Vec<BarWindow>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Function {
    fn new(number: u8, script: &mut Script<'_>) -> Self {
        let mut space = ConfigSpace::new(&IDENTITY);
        for _ in 0..script.u8() % 8 {
            let (bar, shape) = (script.u8() % 8, script.u8());
            let size = 1_u64.checked_shl(script.u8().into()).unwrap_or(3);
            let prefetchable = shape & 4 != 0;
            let kind = match shape & 3 {
                0 | 1 => BarKind::Io,
                2 => BarKind::Memory32 { prefetchable },
                _ => BarKind::Memory64 { prefetchable },
            };
            // What cannot be is an error, and that is all it is.
            let _ = space.add_bar(bar, kind, size);
        }
        if let Ok(layout) = MsixLayout::in_own_bar(script.u16() % 0x900, script.u8() % 8) {
            let (body, mask) = layout.capability();
            let _ = space.add_capability(0x11, &body, &mask);
        }
        for _ in 0..script.u8() % 4 {
            let (id, count) = (script.u8(), usize::from(script.u8()));
            let (body, mask) = (script.take(count), script.take(count));
            let _ = space.add_capability(id, body, mask);
            let _ = space.add_extended_capability(id.into(), 1, body, mask);
        }
        space.set_interrupt(1, 10);
        Self { number, space: Mutex::new(space), placed: Mutex::default() }
    }

    fn answer(&self, bar: u8) -> u8 {
        0x80 | self.number << 4 | bar
    }
}

impl PciDevice for Function {
    fn name(&self) -> &str {
        "function"
    }
    fn config_read(&self, offset: u16, width: Width) -> u32 {
        assert!(offset < 256 && offset.is_multiple_of(width.bytes() as u16), "{width:?} at {offset:#x}");
        lock(&self.space).read(offset, width)
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Effect {
        assert!(offset < 256 && offset.is_multiple_of(width.bytes() as u16), "{width:?} at {offset:#x}");
        let mut space = lock(&self.space);
        let before = space.windows();
        let changed = space.write(offset, width, value);
        if space.windows() == before {
            return Effect::None;
        }
        assert!(changed.intersects(Changed::COMMAND | Changed::BARS), "windows moved by another register");
        Effect::Remap
    }
    fn windows(&self) -> Vec<BarWindow> {
        lock(&self.space).windows()
    }
    fn placed(&self, windows: &[BarWindow]) {
        *lock(&self.placed) = windows.to_vec();
    }
    fn place_bar(&self, bar: u8, base: u64) {
        lock(&self.space).place_bar(bar, base);
    }
    fn bars(&self) -> Vec<BarWindow> {
        lock(&self.space).bars()
    }
    fn bar_read(&self, bar: u8, access: Access) -> u64 {
        let window = lock(&self.space).bar(bar).expect("a BAR that exists");
        assert!(access.offset + access.width.bytes() as u64 <= window.size, "{access:?} outside of {window:?}");
        self.answer(bar).into()
    }
    fn bar_write(&self, bar: u8, access: Access, _: u64) -> Effect {
        let _ = self.bar_read(bar, access);
        Effect::None
    }
}

struct Machine {
    root: Arc<PciRoot>,
    ports: Bus,
    memory: Bus,
    functions: Vec<Arc<Function>>,
}

impl Machine {
    fn new(script: &mut Script<'_>) -> Self {
        let (root, ports) = (Arc::new(PciRoot::new()), Bus::new("ports"));
        let range = Range::new(0xcf8, CONFIG_PORTS).expect("8 ports");
        ports.insert(range, root.clone() as Arc<dyn IoDevice>).expect("nothing else is there");
        let functions: Vec<_> = (0..FUNCTIONS).map(|number| Arc::new(Function::new(number, script))).collect();
        for function in &functions {
            root.add(function.number + 1, function.clone()).expect("a free slot");
        }
        Self { root, ports, memory: Bus::new("memory"), functions }
    }

    fn perform(&self, effect: Effect) {
        if effect == Effect::Remap {
            self.root.remap(&self.ports, &self.memory);
            self.check_windows();
        }
    }

    /// Configuration space through the ports, as a guest does it.
    fn select(&self, slot: u8, offset: u8) {
        let address = 0x8000_0000 | u64::from(slot) << 11 | u64::from(offset & 0xfc);
        self.perform(self.ports.write(0xcf8, Width::B4, address, 0));
    }

    /// Every window that a function was told to have answers from its first to its last byte as that
    /// function, on the bus of its kind.
    fn check_windows(&self) {
        for function in &self.functions {
            for window in lock(&function.placed).iter() {
                let bus = if window.kind.is_io() { &self.ports } else { &self.memory };
                for address in [window.base, window.base + (window.size - 1)] {
                    let seen = bus.read(address, Width::B1, 0);
                    assert_eq!(seen, u64::from(function.answer(window.bar)), "{window:?} at {address:#x}");
                }
            }
        }
        // The configuration ports cannot be covered.
        self.select(0, 0);
        assert_eq!(self.ports.read(0xcf8, Width::B4, 0), 0x8000_0000);
    }

    /// What no write may change, and what must fit together.
    fn check_registers(&self) {
        for function in &self.functions {
            let read = |offset, width| {
                self.select(function.number + 1, offset);
                self.ports.read(0xcfc + u64::from(offset & 3), width, 0)
            };
            assert_eq!(read(0, Width::B4), 0x1000_1af4);
            assert_eq!(read(8, Width::B4), 0x0200_0000);
            assert_eq!(read(0x2c, Width::B4), 0x0001_1af4);
            assert_eq!(read(0x3d, Width::B1), 1);
            for offset in (0..=252).step_by(4) {
                let whole = read(offset, Width::B4);
                let bytes = (0..4).fold(0, |value, byte| value | read(offset + byte, Width::B1) << (8 * byte));
                let words = read(offset, Width::B2) | read(offset + 2, Width::B2) << 16;
                assert_eq!((bytes, words), (whole, whole), "parts of {offset:#x}");
            }
            self.check_bars_and_list(function, &read);
        }
    }

    fn check_bars_and_list(&self, function: &Function, read: &dyn Fn(u8, Width) -> u64) {
        // No lock is held while the ports are read.
        let bars = function.bars();
        for window in bars {
            let low = read(0x10 + 4 * window.bar, Width::B4);
            assert_eq!(low & 1, u64::from(window.kind.is_io()), "kind of BAR {}", window.bar);
            assert_eq!(window.base % window.size, 0, "alignment of BAR {}", window.bar);
            assert!(window.bar < BAR_COUNT);
        }
        let (mut at, mut length) = (read(0x34, Width::B1), 0);
        while at != 0 {
            length += 1;
            assert!(at >= 0x40 && length <= 48, "the capability list leaves its place or has no end");
            at = read(at as u8 + 1, Width::B1);
        }
    }
}

fn step(machine: &Machine, script: &mut Script<'_>) {
    match script.u8() % 8 {
        // BARs and COMMAND are where things happen.
        0..=2 => {
            machine.select(script.u8() % 6, 0x10 + 4 * (script.u8() % 6));
            machine.perform(machine.ports.write(0xcfc, Width::B4, script.u32().into(), 0));
        }
        3 => {
            machine.select(script.u8() % 6, 4);
            machine.perform(machine.ports.write(0xcfc, Width::B2, script.u16().into(), 0));
        }
        4 => {
            machine.select(script.u8() % 32, script.u8());
            let port = 0xcfc + u64::from(script.u8() % 4);
            machine.perform(machine.ports.write(port, script.width(), script.u32().into(), 0));
        }
        5 => machine.perform(machine.ports.write(
            0xcf8 + u64::from(script.u8() % 8),
            script.width(),
            script.u32().into(),
            0,
        )),
        6 => {
            let (address, width) = (script.u64(), script.width());
            let _ = machine.ports.read(address & 0xffff, width, 0);
            let _ = machine.memory.read(address, width, 0);
            machine.perform(machine.memory.write(address, width, script.u8().into(), 0));
        }
        _ => {
            let ports = Range::new(0x1000 + u64::from(script.u8()), 1 + u64::from(script.u16()));
            let memory = Range::new(u64::from(script.u32()), 1 + u64::from(script.u32()));
            if let (Some(ports), Some(memory)) = (ports, memory) {
                let _ = machine.root.assign_bars(ports, memory, |slot, pin| 10 + (slot ^ pin & 1));
            }
            machine.perform(Effect::Remap);
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let mut script = Script::new(input);
    let machine = Machine::new(&mut script);
    for _ in 0..MAX_OPERATIONS {
        if script.is_empty() {
            break;
        }
        step(&machine, &mut script);
    }
    machine.perform(Effect::Remap);
    machine.check_registers();
});
