// SPDX-License-Identifier: Apache-2.0
//! BARs of made-up functions on a mapper that, as KVM does, refuses what overlaps.
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::bus::{Access, Bus, Effect, Width};
use crate::contract::mock::MockMapper;
use crate::pci::{BarKind, PciRoot};

/// A function with one memory BAR of 16 KiB, whose third page is not mappable.
struct Function {
    base: AtomicU64,
    decoded: AtomicBool,
    gone: AtomicBool,
}

impl Function {
    fn new(base: u64) -> Arc<Self> {
        Arc::new(Self { base: base.into(), decoded: true.into(), gone: false.into() })
    }
}

fn area(offset: u64, size: u64) -> MappableArea {
    let file = Arc::new(File::open("/dev/null").unwrap());
    MappableArea { offset, size, file, file_offset: offset }
}

impl PciDevice for Function {
    fn name(&self) -> &str {
        "function"
    }
    fn config_read(&self, _: u16, width: Width) -> u32 {
        width.all_ones() as u32
    }
    fn config_write(&self, _: u16, _: Width, _: u32) -> Effect {
        Effect::None
    }
    fn windows(&self) -> Vec<BarWindow> {
        let kind = BarKind::Memory32 { prefetchable: false };
        let window = BarWindow { bar: 1, kind, base: self.base.load(Ordering::SeqCst), size: 0x4000 };
        if self.decoded.load(Ordering::SeqCst) { vec![window] } else { Vec::new() }
    }
    fn placed(&self, _: &[BarWindow]) {}
    fn mappable(&self, bar: u8) -> Vec<MappableArea> {
        assert_eq!(bar, 1);
        if self.gone.load(Ordering::SeqCst) { Vec::new() } else { vec![area(0, 0x2000), area(0x3000, 0x1000)] }
    }
    fn place_bar(&self, _: u8, _: u64) {}
    fn bars(&self) -> Vec<BarWindow> {
        Vec::new()
    }
    fn bar_read(&self, _: u8, _: Access) -> u64 {
        0
    }
    fn bar_write(&self, _: u8, _: Access, _: u64) -> Effect {
        Effect::None
    }
}

struct Board {
    root: PciRoot,
    buses: (Bus, Bus),
    mapper: Arc<MockMapper>,
}

impl Board {
    /// With RAM at 0 to 64 KiB, and the functions in slots 1 and up.
    fn new(functions: &[&Arc<Function>]) -> Self {
        let mapper = Arc::new(MockMapper::with_ram(0, 0x1_0000));
        let root = PciRoot::new();
        for (slot, function) in (1..).zip(functions) {
            root.add(slot, Arc::clone(function) as Arc<dyn PciDevice>).unwrap();
        }
        root.set_mapper(mapper.clone());
        Self { root, buses: (Bus::new("ports"), Bus::new("memory")), mapper }
    }

    fn remap(&self) -> Vec<(u64, u64)> {
        self.root.remap(&self.buses.0, &self.buses.1);
        self.mapper.pages().split_off(1)
    }
}

#[test]
fn areas_are_mapped_follow_the_bar_and_go_with_decoding() {
    let function = Function::new(0xc000_0000);
    let board = Board::new(&[&function]);
    assert_eq!(board.remap(), [(0xc000_0000, 0x2000), (0xc000_3000, 0x1000)]);
    assert_eq!(board.root.mapped_bytes(1), 0x3000);
    assert_eq!(board.remap().len(), 2);
    assert_eq!(board.mapper.calls(), 2, "what is right is left alone");
    function.base.store(0xd000_0000, Ordering::SeqCst);
    assert_eq!(board.remap(), [(0xd000_0000, 0x2000), (0xd000_3000, 0x1000)]);
    function.decoded.store(false, Ordering::SeqCst);
    assert_eq!(board.remap(), []);
    function.decoded.store(true, Ordering::SeqCst);
    assert_eq!(board.remap().len(), 2);
    function.gone.store(true, Ordering::SeqCst);
    assert_eq!(board.remap(), []);
    assert_eq!(board.root.mapped_bytes(1), 0);
}

#[test]
fn nothing_is_mapped_over_ram() {
    let function = Function::new(0xc000);
    let board = Board::new(&[&function]);
    assert_eq!(board.remap(), [], "RAM is at all of it");
    board.remap();
    assert_eq!(board.mapper.calls(), 2, "no retry at the same place");
    function.base.store(0x1_0000, Ordering::SeqCst);
    assert_eq!(board.remap().len(), 2);
}

#[test]
fn of_two_bars_at_one_place_the_lower_slot_has_it() {
    let (one, two) = (Function::new(0xc000_0000), Function::new(0xc000_0000));
    let board = Board::new(&[&one, &two]);
    assert_eq!(board.remap(), [(0xc000_0000, 0x2000), (0xc000_3000, 0x1000)]);
    assert_eq!((board.root.mapped_bytes(1), board.root.mapped_bytes(2)), (0x3000, 0));
    one.base.store(0xc010_0000, Ordering::SeqCst);
    board.remap();
    assert_eq!((board.root.mapped_bytes(1), board.root.mapped_bytes(2)), (0x3000, 0x3000));
}

#[test]
fn two_bars_that_change_places_at_once_are_both_mapped() {
    let (one, two) = (Function::new(0xc000_0000), Function::new(0xd000_0000));
    let board = Board::new(&[&one, &two]);
    board.remap();
    one.base.store(0xd000_0000, Ordering::SeqCst);
    two.base.store(0xc000_0000, Ordering::SeqCst);
    assert_eq!(board.remap().len(), 4);
    assert_eq!((board.root.mapped_bytes(1), board.root.mapped_bytes(2)), (0x3000, 0x3000));
}

#[test]
fn areas_that_are_no_whole_pages_of_the_window_are_left_out() {
    let window = |base| BarWindow { bar: 0, kind: BarKind::Memory64 { prefetchable: true }, base, size: 0x4000 };
    assert!(fits(&area(0x1000, 0x3000), &window(0xc000_0000)));
    assert!(!fits(&area(0x1000, 0x4000), &window(0xc000_0000)), "past the end");
    assert!(!fits(&area(!0xfff, 0x2000), &window(0xc000_0000)), "wraps");
    assert!(!fits(&area(0x800, 0x1000), &window(0xc000_0000)));
    assert!(!fits(&area(0, 0x800), &window(0xc000_0000)));
    assert!(!fits(&area(0, 0), &window(0xc000_0000)));
    assert!(!fits(&area(0, 0x1000), &window(0xc000_0800)));
}
