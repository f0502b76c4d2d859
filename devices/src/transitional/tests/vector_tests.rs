// SPDX-License-Identifier: Apache-2.0
//! Reference vectors B01 to B35 to the byte: a guest's access to BAR0, the command it becomes with all
//! its bytes and the room for its reply, the reply, and what the guest gets. And the accesses that a
//! real bus keeps away from the function (D16, D17, E12, E13).
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::admin::AdminRegisters;
use crate::admin::mock_channel::{MockChannel, Sent};
use crate::bus::{Access, Bus, Effect, IoDevice, Range, Width};
use crate::contract::mock::MockMsi;
use crate::pci::{CONFIG_PORTS, PciDevice, PciRoot};
use crate::transitional::tests::bench::{self, Bench, Log, Setup};
use crate::transitional::*;

/// Bytes of a vector: hex, `Zn` for n zeros, `.` between fields.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in text.split('.') {
        if let Some(zeros) = field.strip_prefix('Z') {
            bytes.resize(bytes.len() + zeros.parse::<usize>().unwrap(), 0);
        } else {
            bytes.extend((0..field.len()).step_by(2).map(|at| u8::from_str_radix(&field[at..at + 2], 16).unwrap()));
        }
    }
    bytes
}

/// One command of a vector: its bytes behind the header `OPCODE 00 01 00 . Z12 . 03 Z7`, the room for
/// the reply, the result in the reply.
type Step = (u8, &'static str, usize, &'static str);

struct Guest {
    device: Arc<TransitionalDevice>,
    channel: Arc<MockChannel>,
    offset_of_msix: u16,
}

impl Guest {
    /// Member 3 with commands on the wire. No INTx: nothing is sent but what the guest causes.
    fn new(setup: Setup) -> Self {
        let log = Log::default();
        let channel = Arc::new(MockChannel::default());
        let registers = AdminRegisters::new(channel.clone(), NonZeroU16::new(3).unwrap(), setup.notify.clone());
        let parts = Parts {
            vf: Arc::new(bench::vf(&setup, &log)),
            registers: Arc::new(registers),
            platform: PlatformParts {
                msi: Arc::new(MockMsi::default()),
                port_events: None,
                irq_line: None,
                irq_number: 11,
            },
            owner: None,
            cancelled: Arc::new(AtomicBool::new(false)),
        };
        let device = TransitionalDevice::new(setup.config, parts).unwrap();
        let offset_of_msix = device.config_read(0x34, Width::B1) as u16;
        assert_eq!(device.config_read(offset_of_msix, Width::B1), 0x11);
        Self { device, channel, offset_of_msix }
    }

    fn set_msix(&self, on: bool) {
        let _ = self.device.config_write(self.offset_of_msix + 2, Width::B2, if on { 0x8000 } else { 0 });
    }

    fn set_up_queue_1(&self) {
        self.write("select", (14, B2), 1, &[(2, "0e.Z7.0100", 8, "")]);
        self.read("size", (12, B2), 0x100, &[(3, "0c", 10, "0001")]);
        self.write("address", (8, B4), 0x100, &[(2, "08.Z7.00010000", 8, "")]);
    }

    fn during<T>(&self, name: &str, steps: &[Step], access: impl FnOnce() -> T) -> T {
        self.channel.sent();
        self.channel.script(steps.iter().map(|(_, _, _, reply)| Ok(bytes(reply))));
        let value = access();
        let expected = steps.iter().map(|(opcode, data, room, _)| {
            let request = bytes(&format!("{opcode:02x}000100.Z12.0300000000000000.{data}"));
            // Without the reply's status.
            Sent { request, room: room - 8 }
        });
        assert_eq!(self.channel.sent(), expected.collect::<Vec<_>>(), "{name}");
        value
    }

    fn read(&self, name: &str, (offset, width): (u64, Width), expected: u64, steps: &[Step]) {
        let access = Access { offset, width, vcpu: 0 };
        assert_eq!(self.during(name, steps, || self.device.bar_read(0, access)), expected, "{name}");
    }

    fn write(&self, name: &str, (offset, width): (u64, Width), value: u64, steps: &[Step]) {
        let access = Access { offset, width, vcpu: 0 };
        assert_eq!(self.during(name, steps, || self.device.bar_write(0, access, value)), Effect::None, "{name}");
    }
}

use Width::{B1, B2, B4};

#[test]
fn b01_to_b13_registers_to_the_byte() {
    let guest = Guest::new(Setup::net());
    guest.write("B08", (18, B1), 1, &[(2, "12.Z7.01", 8, "")]);
    guest.write("B09", (18, B1), 3, &[(2, "12.Z7.03", 8, "")]);
    // Bit 30 is one that the VMM masks; 0x38... has it clear.
    guest.read("B01", (0, B4), 0x3803_99a3, &[(3, "00", 12, "a3990338")]);
    guest.write("B02", (4, B4), 0x1003_9823, &[(2, "04.Z7.23980310", 8, "")]);
    guest.write("B03", (14, B2), 1, &[(2, "0e.Z7.0100", 8, "")]);
    guest.read("B04", (12, B2), 0x100, &[(3, "0c", 10, "0001")]);
    guest.read("B05", (8, B4), 0, &[(3, "08", 12, "00000000")]);
    guest.write("B06", (8, B4), 0x1_f4a3, &[(2, "08.Z7.a3f40100", 8, "")]);
    guest.write("B11", (18, B1), 7, &[(2, "12.Z7.07", 8, "")]);
    guest.read("B12", (18, B1), 7, &[(3, "12", 9, "07")]);
    guest.write("B07, B13", (18, B1), 0, &[(2, "12.Z7.00", 8, ""), (3, "12", 9, "00")]);
    guest.write("B10", (18, B1), 6, &[(2, "12.Z7.06", 8, "")]);
}

#[test]
fn b15_to_b22_isr_notify_and_vectors_to_the_byte() {
    let guest = Guest::new(Setup { notify: Vec::new(), ..Setup::net() });
    guest.read("B15", (19, B1), 0, &[]);
    guest.set_up_queue_1();
    guest.write("B16", (16, B2), 1, &[(2, "10.Z7.0100", 8, "")]);
    guest.set_msix(true);
    guest.write("B18", (20, B2), 0, &[(2, "14.Z7.0000", 8, "")]);
    guest.read("B19", (20, B2), 0, &[(3, "14", 10, "0000")]);
    guest.read("B20", (20, B2), 0xffff, &[(3, "14", 10, "ffff")]);
    guest.write("B21", (22, B2), 2, &[(2, "16.Z7.0200", 8, "")]);
    guest.write("B22", (22, B2), 0xffff, &[(2, "16.Z7.ffff", 8, "")]);
    let direct = Guest::new(Setup::net());
    direct.set_up_queue_1();
    direct.write("B17", (16, B2), 1, &[]);
}

#[test]
fn b23_to_b31_network_configuration_to_the_byte() {
    let guest = Guest::new(Setup::net());
    guest.read("B23", (20, B1), 0x52, &[(5, "00", 9, "52")]);
    guest.read("B25 off", (25, B1), 0x56, &[(5, "05", 9, "56")]);
    guest.read("B28", (26, B2), 1, &[(5, "06", 10, "0100")]);
    guest.write("B30", (20, B1), 2, &[(4, "00.Z7.02", 8, "")]);
    guest.read("B35", (24, B4), 0x0001_5634, &[(5, "04", 10, "3456"), (5, "06", 10, "0100")]);
    guest.set_msix(true);
    guest.read("B24", (24, B1), 0x52, &[(5, "00", 9, "52")]);
    guest.read("B25 on", (29, B1), 0x56, &[(5, "05", 9, "56")]);
    guest.read("B26", (24, B4), 0x1200_5452, &[(5, "00", 12, "52540012")]);
    guest.read("B27", (28, B2), 0x5634, &[(5, "04", 10, "3456")]);
    guest.read("B29", (30, B1), 1, &[(5, "06", 9, "01")]);
    guest.read("B31", (34, B2), 1500, &[(5, "0a", 10, "dc05")]);
}

#[test]
fn b32_to_b34_disk_configuration_to_the_byte() {
    let guest = Guest::new(Setup::blk());
    guest.read("B32", (20, B1), 0, &[(5, "00", 9, "00")]);
    guest.read("B33", (36, B2), 0x3fff, &[(5, "10", 10, "ff3f")]);
    let steps = [(5, "10", 10, "ff3f"), (5, "12", 9, "10"), (5, "13", 9, "3f")];
    guest.read("B34", (36, B4), 0x3f10_3fff, &steps);
}

/// The function in slot 3 of a bus, reached by ports alone.
struct OnBus {
    bench: Bench,
    root: Arc<PciRoot>,
    ports: Bus,
    memory: Bus,
}

impl OnBus {
    fn new() -> Self {
        let (bench, root, ports) = (Bench::net(), Arc::new(PciRoot::new()), Bus::new("ports"));
        let range = Range::new(0xcf8, CONFIG_PORTS).unwrap();
        ports.insert(range, root.clone() as Arc<dyn IoDevice>).unwrap();
        root.add(3, bench.device.clone()).unwrap();
        let bus = Self { bench, root, ports, memory: Bus::new("memory") };
        bus.config(0x10, B4, 0xc041);
        bus
    }

    fn config(&self, offset: u64, width: Width, value: u64) {
        let _ = self.ports.write(0xcf8, B4, 0x8000_1800 | (offset & 0xfc), 0);
        if self.ports.write(0xcfc + (offset & 3), width, value, 0) == Effect::Remap {
            self.root.remap(&self.ports, &self.memory);
        }
    }
}

#[test]
fn d16_d17_e12_e13_what_the_bus_keeps_away_from_the_function() {
    let bus = OnBus::new();
    bus.config(4, B2, 1);
    let _ = bus.ports.write(0xc052, B1, 3, 0);
    assert_eq!(bus.ports.read(0xc052, B1, 0), 3);
    bus.bench.log();
    assert_eq!(bus.ports.read(0xc080, B1, 0), 0xff, "D17: the port after BAR0");
    assert_eq!(bus.ports.read(0xc081, B1, 0), 0xff, "D17");
    assert_eq!(bus.ports.read(0xc07e, B4, 0), 0xffff_ffff, "an access that passes the end");
    let _ = bus.ports.write(0xc081, B1, 0, 0);
    bus.config(4, B2, 2);
    assert_eq!(bus.ports.read(0xc052, B1, 0), 0xff, "D16: COMMAND.IO is 0");
    let _ = bus.ports.write(0xc052, B1, 0, 0);
    assert!(bus.bench.log().iter().all(|line| line.starts_with("vf config")), "no command");
    assert_eq!(bus.memory.read(0xe000_2000, B4, 0), 0x5566_7788, "E12: memory BARs keep working");
    bus.config(4, B2, 3);
    assert_eq!(bus.ports.read(0xc052, B1, 0), 3, "the write was dropped");
    bus.config(0x10, B4, 0xd041);
    assert_eq!(bus.ports.read(0xc052, B1, 0), 0xff, "E13: the old ports");
    assert_eq!(bus.ports.read(0xd052, B1, 0), 3, "E13: the new ports");
}
