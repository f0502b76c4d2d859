// SPDX-License-Identifier: Apache-2.0
//! Firmware at ports 0x510 to 0x51b: any port, width and offset, DMA descriptors anywhere. Each byte that it reads, and
//! guest memory at the end, is what a model of a few lines says: absent keys and the rest of a short item are zeros, and
//! nothing else is written.
#![no_main]

use devices::bus::{Access, Effect, IoDevice, Width};
use devices::chipset::FwCfg;
use devices::chipset::fw_cfg::{Items, PORTS};
use fuzz::script::{MAX_OPERATIONS, Script};
use libfuzzer_sys::fuzz_target;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Bytes of guest memory, from address 0.
const RAM: usize = 0x1_0000;
const DIRECTORY: u16 = 0x19;

/// What QEMU's docs/specs/fw_cfg.rst says, without ports.
struct Model {
    items: Vec<(u16, Vec<u8>)>,
    selector: u16,
    offset: usize,
    ram: Vec<u8>,
}

impl Model {
    fn byte(&mut self) -> u8 {
        let item = self.items.iter().find(|(key, _)| *key == self.selector & !(1 << 14));
        let byte = item.and_then(|(_, bytes)| bytes.get(self.offset)).copied().unwrap_or(0);
        self.offset = self.offset.saturating_add(1);
        byte
    }

    fn dma(&mut self, address: u64) {
        let Some(at) = usize::try_from(address).ok().filter(|at| at.checked_add(16).is_some_and(|end| end <= RAM))
        else {
            // Not even a whole descriptor: at most an error in what there is of it.
            if let Ok(at) = usize::try_from(address)
                && at < RAM
            {
                let end = RAM.min(at + 4);
                self.ram[at..end].copy_from_slice(&1_u32.to_be_bytes()[..end - at]);
            }
            return;
        };
        let word = |ram: &[u8], at: usize| u32::from_be_bytes(ram[at..at + 4].try_into().unwrap_or_default());
        let (control, length) = (word(&self.ram, at), word(&self.ram, at + 4) as usize);
        let to = u64::from(word(&self.ram, at + 8)) << 32 | u64::from(word(&self.ram, at + 12));
        if control & 8 != 0 {
            (self.selector, self.offset) = ((control >> 16) as u16, 0);
        }
        let mut failed = false;
        if control & 2 != 0 {
            let to = usize::try_from(to).ok().filter(|to| to.checked_add(length).is_some_and(|end| end <= RAM));
            match to {
                // Nothing is written anywhere.
                _ if length == 0 => {}
                Some(to) => (to..to + length).for_each(|at| self.ram[at] = self.byte()),
                None => failed = true,
            }
        } else if control & 16 != 0 {
            failed = true;
        } else if control & 4 != 0 {
            self.offset = self.offset.saturating_add(length);
        }
        self.ram[at..at + 4].copy_from_slice(&u32::from(failed).to_be_bytes());
    }
}

fn run(script: &mut Script<'_>) {
    let mut items = Items::new();
    let mut known = Vec::new();
    for _ in 0..script.u8() % 4 {
        let (key, value) = (script.u16() % 0x19, script.u16());
        items.set_u16(key, value);
        known.push(key);
    }
    for number in 0..script.u8() % 8 {
        let content = vec![number | 0x80; usize::from(script.u16() % 0x2000)];
        // What cannot be is an error, and that is all it is.
        let _ = items.add_file(&format!("file/{number}"), content);
        known.push(0x20 + u16::from(number));
    }
    known.extend([0, 1, DIRECTORY]);
    let items_of = |items: &Items| known.iter().map(|key| (*key, items.get(*key).to_vec())).collect();
    let mut model = Model { items: items_of(&items), selector: 0, offset: 0, ram: vec![0; RAM] };
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), RAM)]).expect("64 KiB");
    let device = FwCfg::new(items, memory.clone());
    let mut high = 0;
    for _ in 0..MAX_OPERATIONS {
        if script.is_empty() {
            break;
        }
        match script.u8() % 3 {
            0 => {
                let (offset, width) = script.place(PORTS);
                let value = device.read(Access { offset, width, vcpu: 0 });
                if (offset, width) == (1, Width::B1) {
                    assert_eq!(value, u64::from(model.byte()), "item {:#x}", model.selector);
                }
            }
            1 => {
                let ((offset, width), value) = (script.place(PORTS), script.u32());
                let value = width.truncate(value.into()) as u32;
                assert_eq!(device.write(Access { offset, width, vcpu: 0 }, value.into()), Effect::None);
                match (offset, width) {
                    (0, Width::B2) => (model.selector, model.offset) = (value as u16, 0),
                    (4, Width::B4) => high = value.swap_bytes(),
                    (8, Width::B4) => {
                        model.dma(u64::from(std::mem::take(&mut high)) << 32 | u64::from(value.swap_bytes()));
                    }
                    _ => {}
                }
            }
            _ => {
                let (at, count) = (usize::from(script.u16()), usize::from(script.u8()));
                let bytes = script.take(count.min(RAM - at));
                memory.write_slice(bytes, GuestAddress(at as u64)).expect("inside");
                model.ram[at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
    let mut ram = vec![0; RAM];
    memory.read_slice(&mut ram, GuestAddress(0)).expect("all of it");
    assert!(ram == model.ram, "guest memory");
}

fuzz_target!(|input: &[u8]| run(&mut Script::new(input)));
