// SPDX-License-Identifier: Apache-2.0
//! Reference vectors E01 to E20.
use crate::bus::{Access, Width};
use crate::pci::{BarWindow, Command, PciDevice};
use crate::transitional::tests::bench::{BASE, Bench, Setup};
use crate::transitional::{Interface, IrqMode, NotifyMode};

fn ports(bench: &Bench) -> Vec<BarWindow> {
    bench.device.windows().into_iter().filter(|window| window.bar == 0).collect()
}

#[test]
fn e01_to_e06_identity() {
    let bench = Bench::net();
    assert_eq!(bench.config_read(0, Width::B4), 0x1000_1af4);
    assert_eq!((bench.config_read(2, Width::B2), bench.config_read(3, Width::B1)), (0x1000, 0x10));
    assert_eq!(bench.config_read(8, Width::B4), 0x0200_0000);
    assert_eq!(bench.config_read(8, Width::B1), 0, "the VF's own revision is 1");
    assert_eq!(bench.config_read(0x2c, Width::B4), 0x0001_1af4);
    let disk = Setup::blk().build();
    assert_eq!(disk.config_read(0x2e, Width::B2), 2);
    assert_eq!(disk.config_read(0, Width::B4), 0x1001_1af4);
}

#[test]
fn e07_to_e10_bar0() {
    let bench = Bench::net();
    bench.config_write(0x10, Width::B4, u32::MAX);
    assert_eq!(bench.config_read(0x10, Width::B4), 0xffff_ffc1);
    bench.config_write(0x10, Width::B4, 0xc043);
    assert_eq!(bench.config_read(0x10, Width::B4), 0xc041);
    bench.config_write(0x10, Width::B4, 0);
    bench.config_write(0x11, Width::B1, 0xc0);
    bench.config_write(0x10, Width::B1, 0x40);
    assert_eq!(bench.config_read(0x10, Width::B4), 0xc041);
    let disk = Setup::blk().build();
    disk.config_write(0x10, Width::B4, u32::MAX);
    assert_eq!(disk.config_read(0x10, Width::B4), 0xffff_ff81);
    disk.device.place_bar(0, 0);
    assert_eq!(disk.config_read(0x10, Width::B4), 1, "as after power-on");
}

#[test]
fn e11_e12_d16_ports_decode_only_with_io_enabled() {
    let bench = Bench::net();
    bench.set_command(Command::IO);
    assert_eq!(bench.config_read(4, Width::B2), 1);
    let window = ports(&bench)[0];
    assert_eq!((window.base, window.size), (u64::from(BASE), 64), "D17: nothing past the end");
    bench.set_command(Command::MEMORY);
    assert!(ports(&bench).is_empty());
    assert_eq!(bench.device.windows().iter().map(|w| w.bar).collect::<Vec<_>>(), [2, 4]);
}

#[test]
fn e13_moving_bar0_moves_the_ioeventfds() {
    let mut setup = Setup { ports: true, ..Setup::net() };
    setup.config.kicks.notify_mode = NotifyMode::Ioeventfd;
    let bench = setup.build();
    bench.start_intx();
    assert_eq!(bench.ports.places(), [(BASE + 16, 0), (BASE + 16, 1)]);
    bench.config_write(0x10, Width::B4, 0xd041);
    assert_eq!(ports(&bench)[0].base, 0xd040);
    assert_eq!(bench.ports.places(), [(0xd050, 0), (0xd050, 1)]);
    bench.set_command(Command::MEMORY);
    assert!(bench.ports.places().is_empty());
    bench.set_command(Command::IO);
    assert_eq!(bench.ports.places().len(), 2);
}

#[test]
fn e14_interrupt_pin() {
    let pin = |irq_mode, line| {
        let mut setup = Setup { line, ..Setup::net() };
        setup.config.offer.irq_mode = irq_mode;
        let bench = setup.build();
        (bench.config_read(0x3d, Width::B1), bench.config_read(0x3c, Width::B1), bench.msix_capability().is_some())
    };
    assert_eq!(pin(IrqMode::Auto, true), (1, 11, true));
    assert_eq!(pin(IrqMode::Auto, false), (0, 0xff, true));
    assert_eq!(pin(IrqMode::Intx, true), (1, 11, false));
    assert_eq!(pin(IrqMode::Msix, true), (0, 0xff, true));
}

#[test]
fn e15_e16_command_bit_10_keeps_the_line_low_and_status_tells() {
    let bench = Bench::net();
    bench.start_intx();
    bench.vf.signal(1);
    bench.pump();
    assert!(bench.line.is_high());
    bench.set_command(Command::IO | Command::INTX_DISABLE);
    assert!(!bench.line.is_high());
    assert_ne!(bench.config_read(6, Width::B2) & 8, 0);
    bench.set_command(Command::IO);
    assert!(bench.line.is_high());
    assert_eq!(bench.r8(19), 1);
    assert_eq!(bench.config_read(6, Width::B2) & 8, 0);
}

#[test]
fn e17_capabilities() {
    let bench = Bench::net();
    let mut at = bench.config_read(0x34, Width::B1) as u16;
    let mut found = Vec::new();
    while at != 0 {
        let bytes: Vec<u8> = (0..20).map(|byte| bench.config_read(at + byte, Width::B1) as u8).collect();
        found.push(bytes.clone());
        at = bytes[1].into();
        assert!(found.len() < 20, "the list terminates");
    }
    let kinds: Vec<_> = found.iter().map(|c| (c[0], if c[0] == 9 { c[3] } else { 0 })).collect();
    assert_eq!(kinds, [(0x11, 0), (9, 1), (9, 2), (9, 3), (9, 4)], "no PCI Express, nothing in BAR 0, no window");
    assert_eq!(found[0][2..4], 3_u16.to_le_bytes(), "as many vectors as the VF");
    assert_eq!((found[0][4] & 7, found[0][8] & 7), (4, 4));
    assert_eq!(found[2][2..8], [20, 2, 2, 0, 0, 0]);
    assert_eq!(found[2][8..20], [0, 0x10, 0, 0, 16, 0, 0, 0, 4, 0, 0, 0], "unchanged");
}

#[test]
fn modern_capabilities_can_be_left_out() {
    let mut setup = Setup::net();
    setup.config.offer.interface = Interface::Legacy;
    let bench = setup.build();
    let at = bench.msix_capability().unwrap();
    assert_eq!(bench.config_read(at + 1, Width::B1), 0, "MSI-X is the last one");
    assert_eq!(bench.device.bars().iter().map(|bar| bar.bar).collect::<Vec<_>>(), [0, 4], "what MSI-X needs");
    setup = Setup::net();
    (setup.config.offer.interface, setup.config.offer.irq_mode) = (Interface::Legacy, IrqMode::Intx);
    let bench = setup.build();
    assert_eq!(bench.device.bars().iter().map(|bar| bar.bar).collect::<Vec<_>>(), [0]);
    assert_eq!((bench.config_read(0x34, Width::B1), bench.config_read(6, Width::B2) & 0x10), (0, 0), "no capability");
}

#[test]
fn the_modern_interface_alone() {
    let mut setup = Setup::net();
    setup.config.offer.interface = Interface::Modern;
    let bench = setup.build();
    assert_eq!(bench.config_read(0, Width::B4), 0x1041_1af4);
    assert_eq!(bench.config_read(8, Width::B4), 0x0200_0001, "no revision for legacy drivers");
    assert_eq!(bench.device.bars().iter().map(|bar| bar.bar).collect::<Vec<_>>(), [2, 4]);
    bench.config_write(0x10, Width::B4, u32::MAX);
    assert_eq!(bench.config_read(0x10, Width::B4), 0, "no I/O BAR");
    assert_eq!((bench.config_read(0x3d, Width::B1), bench.msix_capability().is_some()), (0, true));
}

#[test]
fn e18_h10_machine_reset() {
    let bench = Bench::net();
    bench.start_intx();
    bench.set_msix(true);
    bench.set_command(Command::IO | Command::BUS_MASTER);
    let _ = bench.device.machine_reset();
    assert_eq!(bench.config_read(4, Width::B2), 0);
    assert!(bench.device.windows().is_empty());
    assert_eq!(bench.config_read(0x10, Width::B4), u32::from(BASE) | 1);
    let at = bench.msix_capability().unwrap();
    assert_eq!(bench.config_read(at + 2, Width::B2) & 0x8000, 0);
    assert!(!bench.vf.is_bus_master());
    assert_eq!((bench.r8(18), bench.r8(19), bench.r16(14)), (0, 0, 0));
    for queue in 0..3 {
        bench.w16(14, queue);
        assert_eq!(bench.r32(8), 0);
    }
    assert!(bench.device.report().queues.is_empty());
}

#[test]
fn e19_bus_master_follows_a_guest_that_uses_it() {
    let bench = Bench::net();
    bench.start_intx();
    bench.set_command(Command::IO | Command::BUS_MASTER);
    assert!(bench.vf.is_bus_master());
    bench.set_command(Command::IO);
    assert!(!bench.vf.is_bus_master());
    bench.set_command(Command::IO | Command::BUS_MASTER);
    assert!(bench.vf.is_bus_master());
}

#[test]
fn e20_bus_master_for_a_guest_that_never_sets_it() {
    let bench = Bench::net();
    assert!(!bench.vf.is_bus_master());
    bench.set_up_queue(0, 0x100);
    assert!(bench.vf.is_bus_master());
    assert_eq!(bench.config_read(4, Width::B2), 3);
}

#[test]
fn memory_bars_reach_the_vf_but_for_the_vector_table() {
    let bench = Bench::net();
    let at = |offset, width| Access { offset, width, vcpu: 0 };
    assert_eq!(bench.device.bar_read(2, at(0x2000, Width::B4)), 0x5566_7788);
    let _ = bench.device.bar_write(2, at(0x10, Width::B2), 7);
    assert_eq!(bench.log(), ["vf read 2+2000.4", "vf store 2+10.2=7"]);
    let _ = bench.device.bar_write(4, at(0, Width::B4), 0xfee0_0000);
    assert_eq!(bench.device.bar_read(4, at(0, Width::B4)), 0xfee0_0000);
    assert!(bench.log().is_empty(), "the guest's table is not the VF's");
    bench.device.bar_read(4, at(0x400, Width::B4));
    assert_eq!(bench.log(), ["vf read 4+400.4"]);
}

#[test]
fn functions_that_cannot_be_used_are_refused_with_a_reason() {
    let error = |change: fn(&mut Setup)| {
        let mut setup = Setup::net();
        change(&mut setup);
        Bench::new(setup).err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert!(error(|s| s.device_id = 0x1053).contains("0x1053"));
    assert!(error(|s| s.device_id = 0x1000).contains("modern virtio"));
    assert!(error(|s| (s.config.offer.irq_mode, s.line) = (IrqMode::Intx, false)).contains("irq=auto"));
    assert!(error(|s| (s.config.offer.irq_mode, s.vectors) = (IrqMode::Msix, 0)).contains("irq=msix"));
    assert!(error(|s| s.config.kicks.notify_mode = NotifyMode::Ioeventfd).contains("notify=auto"));
    assert!(error(|s| s.config.deadlines.access = std::time::Duration::ZERO).contains("deadline"));
    assert!(error(|s| s.bar0 = true).contains("vf has a BAR 0 of its own"));
    assert!(error(|s| s.vectors = 300).contains("BAR 4"), "the table is longer than its BAR");
    assert_eq!(error(|_| {}), "");
}
