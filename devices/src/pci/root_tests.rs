// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;

use super::*;
use crate::pci::{AssignError, BarKind, Changed, ConfigSpace, Identity, Subsystem};

/// A function with an I/O BAR 0 and a memory BAR 1; its BARs answer with slot, BAR and offset.
struct Function {
    id: u64,
    config: Mutex<ConfigSpace>,
    placed: Mutex<Vec<BarWindow>>,
}

impl Function {
    fn new(id: u64, ports: u64, memory: u64) -> Arc<Self> {
        let mut config = ConfigSpace::new(&Identity {
            vendor_id: 0x1af4,
            device_id: 0x1000,
            revision_id: 0,
            class_code: [0, 0, 2],
            subsystem: Subsystem { vendor_id: 0x1af4, id: 1 },
        });
        config.add_bar(0, BarKind::Io, ports).unwrap();
        config.add_bar(1, BarKind::Memory64 { prefetchable: false }, memory).unwrap();
        config.set_interrupt(1, 0);
        Arc::new(Self { id, config: Mutex::new(config), placed: Mutex::default() })
    }

    fn placed_bases(&self) -> Vec<u64> {
        self.placed.lock().unwrap().iter().map(|window| window.base).collect()
    }
}

impl PciDevice for Function {
    fn name(&self) -> &str {
        "function"
    }
    fn config_read(&self, offset: u16, width: Width) -> u32 {
        assert_eq!(offset % width.bytes() as u16, 0, "the trait promises alignment");
        self.config.lock().unwrap().read(offset, width)
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Effect {
        assert_eq!(offset % width.bytes() as u16, 0, "the trait promises alignment");
        let changed = self.config.lock().unwrap().write(offset, width, value);
        if changed.intersects(Changed::COMMAND | Changed::BARS) { Effect::Remap } else { Effect::None }
    }
    fn windows(&self) -> Vec<BarWindow> {
        self.config.lock().unwrap().windows()
    }
    fn placed(&self, windows: &[BarWindow]) {
        *self.placed.lock().unwrap() = windows.to_vec();
    }
    fn place_bar(&self, bar: u8, base: u64) {
        self.config.lock().unwrap().place_bar(bar, base);
    }
    fn bars(&self) -> Vec<BarWindow> {
        self.config.lock().unwrap().bars()
    }
    fn bar_read(&self, bar: u8, access: Access) -> u64 {
        self.id << 16 | u64::from(bar) << 12 | access.offset
    }
    fn bar_write(&self, _bar: u8, _access: Access, _value: u64) -> Effect {
        Effect::None
    }
}

struct Machine {
    root: Arc<PciRoot>,
    ports: Bus,
    memory: Bus,
}

impl Machine {
    fn new() -> Self {
        let root = Arc::new(PciRoot::new());
        let ports = Bus::new("ports");
        ports.insert(Range::new(0xcf8, CONFIG_PORTS).unwrap(), root.clone()).unwrap();
        Self { root, ports, memory: Bus::new("memory") }
    }
    fn out(&self, port: u64, width: Width, value: u64) -> Effect {
        let effect = self.ports.write(port, width, value, 0);
        if effect == Effect::Remap {
            self.root.remap(&self.ports, &self.memory);
        }
        effect
    }
    fn input(&self, port: u64, width: Width) -> u64 {
        self.ports.read(port, width, 0)
    }
    fn select(&self, slot: u64, register: u64) {
        let _ = self.out(0xcf8, Width::B4, 0x8000_0000 | slot << 11 | register);
    }
    fn config(&self, slot: u64, register: u64) -> u64 {
        self.select(slot, register);
        self.input(0xcfc, Width::B4)
    }
    fn set_config(&self, slot: u64, register: u64, value: u64) {
        self.select(slot, register);
        let _ = self.out(0xcfc, Width::B4, value);
    }
}

fn range(base: u64, size: u64) -> Range {
    Range::new(base, size).unwrap()
}

#[test]
fn linux_type_1_probe_finds_a_host_bridge() {
    let machine = Machine::new();
    let _ = machine.out(0xcfb, Width::B1, 1);
    let before = machine.input(0xcf8, Width::B4);
    let _ = machine.out(0xcf8, Width::B4, 0x8000_0000);
    assert_eq!(machine.input(0xcf8, Width::B4), 0x8000_0000);
    let _ = machine.out(0xcf8, Width::B4, 0x8000_0008);
    assert_eq!(machine.input(0xcfe, Width::B2), 0x0600, "class: host bridge");
    let _ = machine.out(0xcf8, Width::B4, before);
    assert_eq!(machine.config(0, 0), 0x1237_8086);
    assert_eq!(machine.config(0, 0x0c) & 0x0080_0000, 0, "not multi-function");
}

#[test]
fn mechanism_2_probe_fails_and_does_no_harm() {
    let machine = Machine::new();
    machine.select(0, 8);
    for port in [0xcfb, 0xcf8, 0xcfa] {
        assert_eq!(machine.out(port, Width::B1, 0), Effect::None);
    }
    assert_ne!(machine.input(0xcf8, Width::B1), 0);
    assert_ne!(machine.input(0xcfa, Width::B1), 0);
    assert_eq!(machine.input(0xcf8, Width::B4), 0x8000_0008, "the address register is untouched");
}

#[test]
fn freebsd_probe_pattern_reads_back_without_the_low_bit() {
    let machine = Machine::new();
    let _ = machine.out(0xcf8, Width::B4, 0xff00_0001);
    assert_eq!(machine.input(0xcf8, Width::B4) & 0x8000_0001, 0x8000_0000);
}

#[test]
fn only_function_0_of_bus_0_answers() {
    let machine = Machine::new();
    machine.root.add(3, Function::new(3, 64, 4096)).unwrap();
    assert_eq!(machine.config(3, 0), 0x1000_1af4);
    assert_eq!(machine.config(4, 0), 0xffff_ffff, "empty slot");
    for address in [0x8000_1900_u64, 0x8001_1800, 0x80ff_1800, 0x0000_1800, 0x8100_1800] {
        let _ = machine.out(0xcf8, Width::B4, address);
        assert_eq!(machine.input(0xcfc, Width::B4), 0xffff_ffff, "{address:#x}");
        assert_eq!(machine.out(0xcfc, Width::B4, 0), Effect::None);
    }
}

#[test]
fn e02_data_ports_take_every_width_inside_the_dword() {
    let machine = Machine::new();
    machine.root.add(1, Function::new(1, 64, 4096)).unwrap();
    machine.select(1, 0);
    assert_eq!(machine.input(0xcff, Width::B1), 0x10);
    assert_eq!(machine.input(0xcfe, Width::B2), 0x1000);
    assert_eq!(machine.input(0xcfd, Width::B2), 0x001a, "across the middle");
    assert_eq!(machine.input(0xcff, Width::B2), 0xffff, "leaves the dword");
    assert_eq!(machine.input(0xcfe, Width::B4), 0xffff_ffff);
    machine.select(1, 0x10);
    assert_eq!(machine.out(0xcfd, Width::B2, 0x00c0), Effect::Remap, "across the middle");
    assert_eq!(machine.out(0xcfc, Width::B1, 0x40), Effect::Remap);
    assert_eq!(machine.input(0xcfc, Width::B4), 0xc041);
    assert_eq!(machine.input(0xcfa, Width::B4), 0xffff_ffff, "from the address into the data ports");
}

#[test]
fn e11_e12_e13_windows_follow_command_and_bars() {
    let machine = Machine::new();
    let function = Function::new(1, 64, 4096);
    machine.root.add(1, function.clone()).unwrap();
    machine.set_config(1, 0x10, 0xc041);
    machine.set_config(1, 0x14, 0xe000_0000);
    assert_eq!(machine.input(0xc040, Width::B4), 0xffff_ffff, "COMMAND is 0");
    machine.set_config(1, 0x04, 3);
    assert_eq!(machine.input(0xc052, Width::B4), 0x1_0012, "E11");
    assert_eq!(function.placed_bases(), [0xc040, 0xe000_0000]);
    machine.set_config(1, 0x10, 0xd041);
    assert_eq!(machine.input(0xc052, Width::B4), 0xffff_ffff, "E13: old ports");
    assert_eq!(machine.input(0xd052, Width::B4), 0x1_0012, "E13: new ports");
    machine.set_config(1, 0x04, 2);
    assert_eq!(machine.input(0xd052, Width::B4), 0xffff_ffff, "E12");
    assert_eq!(machine.memory.read(0xe000_0008, Width::B4, 0), 0x1_1008, "E12: memory goes on");
    assert_eq!(function.placed_bases(), [0xe000_0000]);
}

#[test]
fn sizing_with_decode_on_leaves_others_alone() {
    let machine = Machine::new();
    machine.root.add(1, Function::new(1, 64, 4096)).unwrap();
    machine.root.add(2, Function::new(2, 64, 4096)).unwrap();
    machine.root.assign_bars(range(0xc000, 0x1000), range(0xe000_0000, 0x10_0000), wired).unwrap();
    machine.root.remap(&machine.ports, &machine.memory);
    for (register, sized) in [(0x10, 0xffff_ffc1), (0x14, 0xffff_f004), (0x18, 0xffff_ffff)] {
        let before = machine.config(1, register);
        machine.set_config(1, register, 0xffff_ffff);
        assert_eq!(machine.config(1, register), sized);
        assert_eq!(machine.memory.read(0xffff_fff0, Width::B4, 0), 0xffff_ffff);
        assert_eq!(machine.input(0xffc0, Width::B4), 0xffff_ffff);
        machine.set_config(1, register, before);
    }
    assert_eq!(machine.input(0xc000, Width::B4), 0x1_0000);
    assert_eq!(machine.input(0xc040, Width::B4), 0x2_0000);
}

#[test]
fn of_overlapping_windows_the_lower_slot_wins_and_the_other_is_told() {
    let machine = Machine::new();
    let (low, high) = (Function::new(1, 64, 4096), Function::new(2, 64, 4096));
    machine.root.add(2, high.clone()).unwrap();
    machine.root.add(1, low.clone()).unwrap();
    for slot in [2, 1] {
        machine.set_config(slot, 0x10, 0xc000);
        machine.set_config(slot, 0x14, 0xe000_0000 + slot * 0x1000);
        machine.set_config(slot, 0x04, 3);
    }
    assert_eq!(low.placed_bases(), [0xc000, 0xe000_1000]);
    assert_eq!(high.placed_bases(), [0xe000_2000]);
    machine.set_config(2, 0x10, 0x0cf8);
    assert_eq!(high.placed_bases(), [0xe000_2000], "fixed devices always win");
    machine.set_config(2, 0x10, 0xc040);
    assert_eq!(high.placed_bases(), [0xc040, 0xe000_2000]);
}

#[test]
fn reset_control_register() {
    let machine = Machine::new();
    assert_eq!(machine.input(0xcf9, Width::B1), 0);
    assert_eq!(machine.out(0xcf9, Width::B1, 0x02), Effect::None);
    assert_eq!(machine.input(0xcf9, Width::B1), 0x02);
    assert_eq!(machine.out(0xcf9, Width::B1, 0x06), Effect::Reset);
    assert_eq!(machine.out(0xcf9, Width::B1, 0x0e), Effect::Reset);
    assert_eq!(machine.out(0xcf9, Width::B2, 0x06), Effect::None, "bytes only");
    assert_eq!(machine.out(0xcf8, Width::B4, 0x0600), Effect::None, "an address, no reset");
    machine.root.reset();
    assert_eq!(machine.input(0xcf9, Width::B1), 0);
    assert_eq!(machine.input(0xcf8, Width::B4), 0);
}

#[test]
fn slots_are_checked() {
    let root = PciRoot::new();
    assert_eq!(root.free_slot(), Some(1));
    assert!(matches!(root.add(0, Function::new(0, 4, 16)), Err(SlotError::Taken { slot: 0, .. })));
    assert_eq!(root.add(32, Function::new(0, 4, 16)), Err(SlotError::OutOfRange(32)));
    for slot in 1..32 {
        root.add(slot, Function::new(slot.into(), 4, 16)).unwrap();
    }
    assert_eq!(root.free_slot(), None);
    assert_eq!(root.devices().len(), 32);
}

/// The wiring of a board that nobody built.
fn wired(slot: u8, pin: u8) -> u8 {
    10 * slot + pin + 4
}

#[test]
fn firmware_places_largest_first_without_overlap() {
    let root = PciRoot::new();
    for (slot, ports, memory) in [(1, 32, 4096), (2, 256, 0x10000), (3, 64, 4096)] {
        root.add(slot, Function::new(slot.into(), ports, memory)).unwrap();
    }
    root.assign_bars(range(0xc000, 0x400), range(0xe000_0000, 0x2_0000), wired).unwrap();
    let bases = |slot: usize| root.devices()[slot].1.bars().iter().map(|bar| bar.base).collect::<Vec<_>>();
    assert_eq!(bases(1), [0xc140, 0xe001_0000]);
    assert_eq!(bases(2), [0xc000, 0xe000_0000]);
    assert_eq!(bases(3), [0xc100, 0xe001_1000]);
    let lines = root.devices().iter().map(|(_, d)| d.config_read(0x3c, Width::B1)).collect::<Vec<_>>();
    assert_eq!(lines, [0, 14, 24, 34], "the bridge has no pin");
    assert_eq!(root.devices()[1].1.config_read(4, Width::B2), 3, "decodes, and is no bus master");
}

#[test]
fn firmware_says_what_does_not_fit() {
    let root = PciRoot::new();
    root.add(1, Function::new(1, 64, 4096)).unwrap();
    let error = root.assign_bars(range(0xc000, 32), range(0xe000_0000, 0x1000), wired).unwrap_err();
    assert!(matches!(error, AssignError::NoRoom { bar: 0, size: 64, .. }), "{error}");
    let error = root.assign_bars(range(0xc000, 64), range(u64::MAX - 0x10, 0x10), wired).unwrap_err();
    assert!(matches!(error, AssignError::NoRoom { bar: 1, .. }), "{error}");
    root.assign_bars(range(0, 256), range(0, 0x4000), wired).unwrap();
    assert!(root.devices()[1].1.bars().iter().all(|bar| bar.base != 0), "0 means not placed");
}

#[test]
fn concurrent_remaps_end_with_the_truth() {
    let machine = Machine::new();
    let functions: Vec<_> = (1..=4).map(|id| Function::new(id, 64, 4096)).collect();
    for (slot, function) in (1..).zip(&functions) {
        machine.root.add(slot, function.clone()).unwrap();
    }
    std::thread::scope(|scope| {
        for (index, function) in functions.iter().enumerate() {
            let machine = &machine;
            scope.spawn(move || {
                let _ = function.config_write(4, Width::B2, 1);
                for step in 0..500_u32 {
                    let _ = function.config_write(0x10, Width::B4, 0x1000 * (index as u32 + 1) + step % 2 * 0x40);
                    machine.root.remap(&machine.ports, &machine.memory);
                }
            });
        }
    });
    for (index, function) in (0..).zip(&functions) {
        let base = 0x1000 * (index + 1) + 0x40;
        assert_eq!(machine.input(base, Width::B4), (index + 1) << 16);
        assert_eq!(function.placed_bases(), [base]);
    }
}

proptest! {
    /// Whatever a guest writes to the eight ports, nothing panics, only port 0xcf9 resets, and reads
    /// of the data ports agree with each other.
    #[test]
    fn random_port_accesses(accesses in prop::collection::vec((0_u64..8, 0..4_usize, any::<u64>(), 0_u8..4), 1..60)) {
        let machine = Machine::new();
        machine.root.add(1, Function::new(1, 64, 4096)).unwrap();
        machine.root.add(2, Function::new(2, 32, 8192)).unwrap();
        for (offset, width, value, slot) in accesses {
            let width = [Width::B1, Width::B2, Width::B4, Width::B8][width];
            if value & 1 == 1 {
                machine.select(slot.into(), value >> 8 & 0xfc);
            }
            let effect = machine.out(0xcf8 + offset, width, value);
            prop_assert_eq!(effect == Effect::Reset, offset == 1 && width == Width::B1 && value & 4 != 0);
            let whole = machine.input(0xcfc, Width::B4);
            for byte in 0..4 {
                prop_assert_eq!(machine.input(0xcfc + byte, Width::B1), whole >> (8 * byte) & 0xff);
            }
            for word in 0..3 {
                prop_assert_eq!(machine.input(0xcfc + word, Width::B2), whole >> (8 * word) & 0xffff);
            }
        }
    }
}
