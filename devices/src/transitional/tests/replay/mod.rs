// SPDX-License-Identifier: Apache-2.0
//! Old drivers, replayed: the port accesses that they make, in order, over the whole stack, with
//! rings in memory and packets and sectors that move. Each trace runs twice, with and without the
//! shadow, and the driver must read the same.
//!
//! # The language
//!
//! | word | what the guest does |
//! | --- | --- |
//! | `W16[14]=1` | 2-byte OUT to BAR0 + 14 with value 1 |
//! | `R8[18]` | 1-byte IN |
//! | `R8[18]=7` | 1-byte IN that must give 7 |
//! | `R8[C+6]` | the same in device configuration: C is 24 while MSI-X is on, else 20 |
//! | `R32[0]=>f`, `W32[4]=f&0x30020` | features, and some of them |
//! | `bm` | switches bus mastering on |
//! | `msix`, `-msix` | fills the vector table and switches MSI-X on; switches it off |
//! | `msix2` | the same with the first two vectors alone |
//! | `rx` | puts a receive buffer into the ring of queue 0 |
//! | `# ...` | comment, to the end of the line |

mod control;
mod cost;
mod firmware;
mod freebsd;
mod linux;
mod recorded;
mod traffic;
mod windows;

use std::io::Write;
use std::sync::Arc;

use vm_memory::{Bytes, GuestAddress};

use crate::bus::{Access, Width};
use crate::pci::PciDevice;
use crate::soft_pf::{NetBackend, Quirks, VfQuirks, VfSpec};
use crate::transitional::TransitionalDevice;
use crate::transitional::tests::bench::{Ring, Stack};

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const SECTOR: usize = 512;
const SECTORS: u8 = 64;
/// Ring of queue `n` in all traces: page 0x100 + 0x10 n.
const RINGS: u64 = 0x10_0000;
const RING_SPACE: u64 = 0x1_0000;
const MSIX_BAR: u8 = 4;

/// How a driver learns that something happened.
#[derive(Clone, Copy, Debug)]
enum Irq {
    /// The line, and a read of the ISR.
    Intx,
    /// This vector.
    Msix(usize),
    /// The same where one vector of the VF stands for queues and configuration: the ISR says both.
    IntxOneVector,
    /// Looking at the ring and reading the ISR, over and over.
    Poll,
}

/// A guest with an old driver.
struct Guest {
    stack: Stack,
    /// The disk's file.
    file: Option<std::fs::File>,
    features: u32,
    /// Features that it accepted.
    accepted: u32,
    /// Entries of the selected queue, as read last.
    queue_size: u16,
    /// All that the driver read.
    seen: Vec<u32>,
    rings: [Option<Ring>; 3],
}

impl Guest {
    fn net(shadow: bool) -> Self {
        Self::net_with(Quirks::default(), shadow)
    }

    /// A network VF that keeps vectors below `kept` and refuses the others of its table.
    fn net_keeping(kept: u16, shadow: bool) -> Self {
        Self::net_with(
            Quirks { vf: VfQuirks { vectors_kept: Some(kept), ..VfQuirks::default() }, ..Quirks::default() },
            shadow,
        )
    }

    fn net_with(quirks: Quirks, shadow: bool) -> Self {
        Self::new(VfSpec::Net { backend: NetBackend::Loopback, mac: MAC }, quirks, None, shadow)
    }

    fn disk(shadow: bool) -> Self {
        let mut file = tempfile::tempfile().unwrap();
        for sector in 0..SECTORS {
            file.write_all(&[sector; SECTOR]).unwrap();
        }
        let spec = VfSpec::Blk { size: None, file: file.try_clone().unwrap(), read_only: false, id: "disk".into() };
        Self::new(spec, Quirks::default(), Some(file), shadow)
    }

    /// Ports and memory are decoded; nobody switched bus mastering on.
    fn new(spec: VfSpec, quirks: Quirks, file: Option<std::fs::File>, shadow: bool) -> Self {
        let stack = Stack::with_shadow(spec, quirks, shadow);
        let guest =
            Self { stack, file, features: 0, accepted: 0, queue_size: 0, seen: Vec::new(), rings: [const { None }; 3] };
        guest.command(3);
        guest
    }

    fn device(&self) -> &Arc<TransitionalDevice> {
        &self.stack.device
    }

    fn command(&self, bits: u32) {
        let _ = self.device().config_write(4, Width::B2, bits);
    }

    /// Runs a trace.
    fn run(&mut self, trace: &str) {
        for line in trace.lines() {
            let words = line.split('#').next().unwrap_or_default();
            words.split_whitespace().for_each(|word| self.step(word));
        }
    }

    fn step(&mut self, word: &str) {
        match word {
            "bm" => self.command(7),
            "msix" => self.enable_msix(u16::MAX),
            "msix2" => self.enable_msix(2),
            "-msix" => self.stack.set_msix(false),
            "rx" => self.post_receive_buffer(),
            _ => self.access(word),
        }
    }

    /// `R8[18]=7` and the like.
    fn access(&mut self, word: &str) {
        let (place, value) = word.split_once(']').unwrap_or_else(|| panic!("{word}"));
        let (kind, offset) = place.split_once('[').unwrap();
        let offset = match offset.strip_prefix('C') {
            Some(rest) => self.config_start() + number(rest.trim_start_matches('+')),
            None => number(offset),
        };
        let width = match &kind[1..] {
            "8" => Width::B1,
            "16" => Width::B2,
            "32" => Width::B4,
            other => panic!("{word}: no width {other}"),
        };
        if kind.starts_with('W') {
            let value = self.value(value.strip_prefix('=').unwrap());
            match offset {
                4 => self.accepted = value,
                8 if value != 0 => self.note_queue(value),
                18 if value == 0 => self.accepted = 0,
                _ => {}
            }
            return self.stack.write(offset.into(), width, value);
        }
        let read = self.stack.read(offset.into(), width);
        self.seen.push(read);
        if offset == 12 {
            self.queue_size = read as u16;
        }
        match value {
            "" => {}
            "=>f" => self.features = read,
            _ => assert_eq!(read, number(&value[1..]), "{word}"),
        }
    }

    fn value(&self, text: &str) -> u32 {
        text.strip_prefix("f&").map_or_else(|| number(text), |mask| self.features & number(mask))
    }

    /// A queue address: the driver has zeroed its ring before.
    fn note_queue(&mut self, pfn: u32) {
        let base = u64::from(pfn) << 12;
        let queue = ((base - RINGS) / RING_SPACE) as usize;
        self.stack.memory.write_slice(&[0; RING_SPACE as usize / 2], GuestAddress(base)).unwrap();
        // The driver has read it; one more read here would be one more command.
        let size = self.queue_size;
        self.rings[queue] = Some(Ring { base, size, next: 0 });
    }

    fn config_start(&self) -> u32 {
        let control = self.device().config_read(self.msix_capability() + 2, Width::B2);
        if control & 0x8000 == 0 { 20 } else { 24 }
    }

    fn msix_capability(&self) -> u16 {
        self.device().config_read(0x34, Width::B1) as u16
    }

    /// Address, data and an open mask for each vector up to `most`, then the enable bit, as kernels
    /// do it.
    fn enable_msix(&mut self, most: u16) {
        let vectors = (self.device().config_read(self.msix_capability() + 2, Width::B2) & 0x7ff) + 1;
        for vector in 0..vectors.min(most.into()) {
            for (part, value) in [0xfee0_0000, 0, 0x40 + vector, 0].into_iter().enumerate() {
                let offset = u64::from(vector) * 16 + part as u64 * 4;
                let _ = self.device().bar_write(MSIX_BAR, Access { offset, width: Width::B4, vcpu: 0 }, value.into());
            }
        }
        self.stack.set_msix(true);
    }
}

fn number(text: &str) -> u32 {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).unwrap(),
        None if text.is_empty() => 0,
        None => text.parse().unwrap_or_else(|_| panic!("{text} is no number")),
    }
}

/// Drives a guest without the shadow and one with it. Both must read the same, have no failed access,
/// and not need more commands with the shadow.
fn replay(make: fn(bool) -> Guest, drive: impl Fn(&mut Guest)) {
    let [mut without, mut with] = [false, true].map(make);
    for guest in [&mut without, &mut with] {
        drive(guest);
        let report = guest.device().report();
        assert_eq!((report.errors, report.faulted, report.queues), (Default::default(), None, vec![]));
        assert!(!guest.stack.line.is_high(), "a driver that left has no interrupt");
    }
    assert_eq!(without.seen, with.seen, "what the driver read, without and with the shadow");
    assert!(with.stack.commands() < without.stack.commands());
}
