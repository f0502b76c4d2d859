// SPDX-License-Identifier: Apache-2.0
//! The device by its ports, as firmware uses it.

use super::*;

const RAM: u64 = 1 << 20;
const DESCRIPTOR: u64 = 0x800;
const BUFFER: u64 = 0x1000;
const CONTENT: &[u8] = b"content of a file";

struct Bench(FwCfg);

impl Bench {
    fn new() -> Self {
        let mut items = Items::new();
        items.set_u16(key::NB_CPUS, 4);
        items.add_file("file", CONTENT.to_vec()).unwrap();
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), RAM as usize)]).unwrap();
        Self(FwCfg::new(items, memory))
    }

    fn write(&self, offset: u64, width: Width, value: u64) {
        assert_eq!(self.0.write(Access { offset, width, vcpu: 0 }, value), Effect::None);
    }
    fn read(&self, offset: u64, width: Width) -> u64 {
        self.0.read(Access { offset, width, vcpu: 0 })
    }
    fn select(&self, selector: u16) {
        self.write(0, Width::B2, selector.into());
    }
    fn bytes(&self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.read(1, Width::B1) as u8).collect()
    }

    fn start(&self, address: u64) {
        self.write(4, Width::B4, u64::from(((address >> 32) as u32).swap_bytes()));
        self.write(8, Width::B4, u64::from((address as u32).swap_bytes()));
    }
    /// Control, after the operation.
    fn dma(&self, control: u32, length: u32, address: u64) -> u32 {
        let descriptor = [&control.to_be_bytes()[..], &length.to_be_bytes(), &address.to_be_bytes()].concat();
        self.0.memory.write_slice(&descriptor, GuestAddress(DESCRIPTOR)).unwrap();
        self.start(DESCRIPTOR);
        u32::from_be(self.0.memory.read_obj(GuestAddress(DESCRIPTOR)).unwrap())
    }
    fn memory(&self, address: u64, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.memory.read_slice(&mut bytes, GuestAddress(address)).unwrap();
        bytes
    }
}

#[test]
fn items_by_byte() {
    let bench = Bench::new();
    bench.select(0);
    assert_eq!(bench.bytes(6), b"QEMU\0\0");
    bench.select(key::NB_CPUS);
    assert_eq!(bench.bytes(3), [4, 0, 0]);
    bench.select(key::FILE_FIRST);
    assert_eq!(bench.bytes(CONTENT.len() + 2), [CONTENT, &[0, 0]].concat());
    bench.select(key::FILE_FIRST);
    assert_eq!(bench.bytes(2), CONTENT[..2], "from the start again");
    bench.select(0x1234);
    assert_eq!(bench.bytes(3), [0; 3]);
}

#[test]
fn items_by_dma() {
    let bench = Bench::new();
    let select_read = u32::from(key::FILE_FIRST) << 16 | 8 | 2;
    assert_eq!(bench.dma(select_read, 7, BUFFER), 0);
    assert_eq!(bench.memory(BUFFER, 8), b"content\0");
    assert_eq!(bench.dma(4, 4, 0), 0, "skip, address without meaning");
    assert_eq!(bench.dma(2, 9000, BUFFER), 0);
    let read = bench.memory(BUFFER, 9001);
    assert_eq!((&read[..6], read[6..].iter().all(|byte| *byte == 0)), (&b"a file"[..], true));
    // Both ways share one position.
    bench.select(key::FILE_FIRST);
    bench.bytes(8);
    assert_eq!(bench.dma(2, 2, BUFFER), 0);
    assert_eq!(bench.memory(BUFFER, 2), b"of");
    assert_eq!(bench.bytes(2), b" a");
}

#[test]
fn what_is_not_there_is_zeros_with_success() {
    let bench = Bench::new();
    bench.0.memory.write_slice(&[0xaa; 16], GuestAddress(BUFFER)).unwrap();
    assert_eq!(bench.dma(0x0d << 16 | 8 | 2, 8, BUFFER), 0);
    assert_eq!(bench.memory(BUFFER, 9), [0, 0, 0, 0, 0, 0, 0, 0, 0xaa]);
    assert_eq!(bench.dma(0, 8, BUFFER), 0, "nothing to do");
    assert_eq!(bench.dma(0x21 << 16 | 8, 0, 0), 0, "select alone");
}

#[test]
fn places_that_are_no_ram() {
    let bench = Bench::new();
    let select_read = u32::from(key::FILE_FIRST) << 16 | 8 | 2;
    for (length, address) in [(1, RAM), (2, RAM - 1), (u32::MAX, 0), (u32::MAX, u64::MAX - 1), (1, u64::MAX)] {
        assert_eq!(bench.dma(select_read, length, address), dma::ERROR, "{length:#x} at {address:#x}");
    }
    assert_eq!(bench.memory(RAM - 1, 1), [0], "nothing was begun");
    assert_eq!(bench.dma(2, 7, BUFFER), 0);
    assert_eq!(bench.memory(BUFFER, 7), b"content", "nothing was taken from the item");
    assert_eq!(bench.dma(u32::from(key::FILE_FIRST) << 16 | 8 | 16, 4, BUFFER), dma::ERROR, "nothing can be written");
    // Descriptors in no RAM, or half in it, and everywhere else: there is nobody to tell.
    for address in [RAM, RAM - 8, u64::MAX, u64::MAX - 7, 1 << 40] {
        bench.start(address);
    }
    assert_eq!(bench.memory(RAM - 8, 8), [0, 0, 0, 1, 0, 0, 0, 0], "the half that is there was told");
}

#[test]
fn the_address_is_taken_once() {
    let bench = Bench::new();
    bench.start(1 << 40 | DESCRIPTOR);
    let descriptor = [&(8_u32 | 2).to_be_bytes()[..], &4_u32.to_be_bytes(), &BUFFER.to_be_bytes()].concat();
    bench.0.memory.write_slice(&descriptor, GuestAddress(DESCRIPTOR)).unwrap();
    bench.write(8, Width::B4, u64::from((DESCRIPTOR as u32).swap_bytes()));
    assert_eq!(bench.memory(BUFFER, 4), b"QEMU", "the high half was 0 again");
}

#[test]
fn other_widths_and_offsets_do_nothing() {
    let bench = Bench::new();
    let text: Vec<u8> = (4..12).map(|offset| bench.read(offset, Width::B1) as u8).collect();
    assert_eq!(text, b"QEMU CFG");
    assert_eq!(bench.read(4, Width::B4), u64::from(u32::from_le_bytes(*b"QEMU")));
    assert_eq!(bench.read(11, Width::B2), u64::from(b'G') | 0xff00);
    bench.select(key::FILE_FIRST);
    for offset in 0..PORTS {
        for width in [Width::B1, Width::B2, Width::B4] {
            if (offset, width) != (1, Width::B1) {
                bench.read(offset, width);
            }
            if !matches!((offset, width), (0, Width::B2) | (4 | 8, Width::B4)) {
                bench.write(offset, width, u64::MAX);
            }
        }
    }
    assert_eq!(bench.bytes(CONTENT.len()), CONTENT, "neither the key nor the position has changed");
}
