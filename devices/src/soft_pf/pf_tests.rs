// SPDX-License-Identifier: Apache-2.0
//! PF and VFs as PCI functions, their life, and the real PF driver on top.

use std::num::NonZeroU16;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::super::testing::{Bench, PATIENCE, Ram, device_config, disk, enable_function, kick, modern_queue, read};
use super::super::{SoftPf, VfSpec};
use super::*;
use crate::admin::{AdminChannel, AdminRegisters, PfDriver};
use crate::contract::{Area, LegacyRegisters, NotifyAddress, Wait};
use crate::function::{FunctionError, PciFunction};

fn mixed() -> Vec<VfSpec> {
    let mut specs = Bench::nets(1);
    specs.push(VfSpec::Blk { size: None, file: disk(8), read_only: false, id: String::new() });
    specs
}

/// Offset of the nth capability with this id, from 0.
fn capability(function: &dyn PciFunction, id: u32, nth: usize) -> u16 {
    let mut at = function.config_read(0x34, Width::B1).unwrap() as u16;
    let mut seen = 0;
    for _ in 0..16 {
        assert_ne!(at, 0, "no such capability");
        if function.config_read(at, Width::B1).unwrap() == id {
            if seen == nth {
                return at;
            }
            seen += 1;
        }
        at = function.config_read(at + 1, Width::B1).unwrap() as u16;
    }
    panic!("the capability list does not end");
}

#[test]
fn identity_and_capabilities_of_a_vf() {
    let bench = Bench::ready(mixed());
    for (index, device, class) in [(0, 0x1041_1af4, 0x0200_0001), (1, 0x1042_1af4, 0x0100_0001)] {
        let vf = bench.soft.vf(index).unwrap();
        assert_eq!(vf.config_read(0, Width::B4).unwrap(), device);
        assert_eq!(vf.config_read(8, Width::B4).unwrap(), class);
        assert_eq!(vf.config_read(0x2c, Width::B4).unwrap(), 0x1100_1af4);
        assert_eq!(vf.config_read(0x3d, Width::B1).unwrap(), 0, "no INTx");
        assert_eq!(vf.config_read(0x10, Width::B4).unwrap(), 0, "no BAR 0");
        assert_eq!((vf.region(0), vf.region(2).unwrap().size), (None, 0x4000));
        let structures = [(1, 0, 64), (2, 0x3000, if index == 0 { 12 } else { 4 }), (3, 0x1000, 1)];
        for (nth, (kind, offset, len)) in structures.into_iter().enumerate() {
            let at = capability(vf.as_ref(), 9, nth);
            assert_eq!(vf.config_read(at + 3, Width::B2).unwrap(), 0x200 | kind, "type, BAR 2");
            assert_eq!(vf.config_read(at + 8, Width::B4).unwrap(), offset);
            assert_eq!(vf.config_read(at + 12, Width::B4).unwrap(), len);
        }
        assert_eq!(vf.config_read(capability(vf.as_ref(), 9, 1) + 16, Width::B4).unwrap(), 4, "multiplier");
        let msix = capability(vf.as_ref(), 0x11, 0);
        assert_eq!(vf.config_read(msix + 2, Width::B2).unwrap(), u32::from(vf.msix_vectors()) - 1);
        assert!(vf.config_read(0xffe, Width::B4).is_err() && vf.config_read(0, Width::B8).is_err());
    }
}

#[test]
fn the_sriov_capability_can_be_sized_and_counts_vfs() {
    let bench = Bench::new(mixed());
    let (pf, at) = (&bench.pf, 0x100);
    assert_eq!(pf.config_read(at, Width::B4).unwrap() & 0xf_ffff, 0x1_0010);
    assert_eq!(pf.config_read(at + 0xc, Width::B4).unwrap(), 0x0002_0002, "InitialVFs, TotalVFs");
    assert_eq!(pf.config_read(at + 0x14, Width::B4).unwrap(), 0x0001_0001, "offset, stride");
    assert_eq!(pf.config_read(at + 0x1a, Width::B2).unwrap(), 0x1041);
    for (bar, mask) in [(0, 0), (1, 0), (2, 0xffff_c000), (3, 0), (4, 0xffff_f000), (5, 0)] {
        pf.config_write(at + 0x24 + 4 * bar, Width::B4, u32::MAX).unwrap();
        assert_eq!(pf.config_read(at + 0x24 + 4 * bar, Width::B4).unwrap(), mask, "VF BAR {bar}");
    }
    pf.config_write(at + 0x10, Width::B2, 3).unwrap();
    pf.config_write(at + 8, Width::B2, 9).unwrap();
    assert_eq!(pf.config_read(at + 8, Width::B2).unwrap() & 1, 0, "there are two VFs");
    pf.config_write(at + 0x10, Width::B2, 1).unwrap();
    pf.config_write(at + 8, Width::B2, 9).unwrap();
    pf.config_write(at + 0x10, Width::B2, 2).unwrap();
    assert_eq!(pf.config_read(at + 0x10, Width::B2).unwrap(), 1, "fixed while VF Enable is set");
    assert!(bench.soft.vf(0).unwrap().config_read(0, Width::B4).is_ok());
    let gone = bench.soft.vf(1).unwrap().config_read(0, Width::B4);
    assert!(matches!(gone, Err(FunctionError::Gone { .. })));
}

#[test]
fn vf_bars_have_whole_pages_of_the_size_that_the_host_chose() {
    let bench = Bench::new(mixed());
    let (pf, at) = (&bench.pf, 0x100);
    assert_eq!(pf.config_read(at + 0x1c, Width::B4).unwrap(), 0x553, "supported");
    let sizes = || {
        [2, 4].map(|bar| {
            pf.config_write(at + 0x24 + 4 * bar, Width::B4, u32::MAX).unwrap();
            !pf.config_read(at + 0x24 + 4 * bar, Width::B4).unwrap() + 1
        })
    };
    assert_eq!(sizes(), [0x4000, 0x1000]);
    pf.config_write(at + 0x20, Width::B4, 1 << 1).unwrap();
    assert_eq!(sizes(), [0x4000, 0x2000]);
    pf.config_write(at + 0x20, Width::B4, 1 << 4).unwrap();
    assert_eq!(sizes(), [0x1_0000, 0x1_0000]);
    for wrong in [0, 1 << 2, 3, u32::MAX] {
        pf.config_write(at + 0x20, Width::B4, wrong).unwrap();
        assert_eq!(pf.config_read(at + 0x20, Width::B4).unwrap(), 1 << 4, "{wrong:#x} is no supported size");
    }
    bench.soft.enable_vfs(2).unwrap();
    pf.config_write(at + 0x20, Width::B4, 1).unwrap();
    assert_eq!(pf.config_read(at + 0x20, Width::B4).unwrap(), 1 << 4, "fixed while VF Enable is set");
    pf.reset().unwrap();
    assert_eq!(sizes(), [0x4000, 0x1000]);
}

#[test]
fn the_pf_has_the_type_of_its_vfs_and_is_such_a_device() {
    let blk = |sectors| VfSpec::Blk { size: None, file: disk(sectors), read_only: false, id: String::new() };
    let class = |bench: &Bench| bench.pf.config_read(8, Width::B4).unwrap() >> 24;
    let nets = Bench::new(Bench::nets(2));
    assert_eq!((nets.pf.config_read(0, Width::B4).unwrap(), class(&nets)), (0x1041_1af4, 2));
    assert_eq!(nets.admin_queue, 3, "behind receive, send and control");
    let bench = Bench::new(vec![blk(1), blk(2)]);
    assert_eq!((bench.pf.config_read(0, Width::B4).unwrap(), class(&bench)), (0x1042_1af4, 1));
    assert_eq!(bench.pf.config_read(0x11a, Width::B2).unwrap(), 0x1042, "VF Device ID");
    assert_eq!(bench.admin_queue, 1);
    // Its own disk: a sector is written and read back, while commands go on.
    let pf = bench.pf.as_ref();
    let mut ring = modern_queue(pf, &bench.ram, 0, 0x11_0000);
    let (header, data, status) = (0x10_4000, 0x10_5000, 0x10_6000);
    for (kind, writes) in [(1_u8, false), (0, true)] {
        bench.ram.put(header, &[kind, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        bench.ram.put(data, &[if writes { 0 } else { 0xa5 }; 512]);
        ring.add(&[(header, 16, false), (data, 512, writes), (status, 1, true)]);
        kick(pf, 0);
        ring.wait();
        assert_eq!((bench.ram.get(status, 1)[0], bench.ram.get(data, 512)[511]), (0, 0xa5));
    }
    assert_eq!(device_config(pf, 0, Width::B8), 2048, "sectors");
}

#[test]
fn a_pf_can_be_told_what_it_is_and_the_report_says_what_it_did() {
    let pf = VfSpec::Blk { size: None, file: disk(4), read_only: true, id: "pf".into() };
    let mut bench = Bench::of(SoftPf::with_pf("soft", pf, Bench::nets(1)).unwrap());
    bench.soft.enable_vfs(1).unwrap();
    assert_eq!(bench.command("01000100 Z12 0000000000000000 7f00000000000000", 8), "0000000000000000");
    assert_eq!(bench.legacy_read(1, false, 18, 1), Ok(0));
    assert!(bench.legacy_read(2, false, 18, 1).is_err());
    let report = bench.soft.report();
    assert_eq!((report.pf.device_type, report.pf.buffers, report.vfs[0].device_type), (2, 3, 1));
    let commands = report.commands;
    assert_eq!((commands.list_use, commands.common_read, commands.refused, commands.list_query), (1, 1, 1, 0));
}

#[test]
fn a_vf_is_gone_without_vf_enable_and_deaf_without_memory_space_enable() {
    let bench = Bench::new(mixed());
    let vf = bench.soft.vf(0).unwrap();
    let ram = Ram::new(0, 0x1000);
    let gone = |result: Result<()>| matches!(result, Err(FunctionError::Gone { .. }));
    assert!(gone(vf.reset()) && gone(vf.set_msix(&[])));
    vf.dma_map(&ram.region).expect("an IOMMU does not ask whether the VF is there");
    assert!(gone(vf.region_read(2, 20, Width::B1).map(drop)));
    bench.pf.config_write(0x110, Width::B2, 1).unwrap();
    bench.pf.config_write(0x108, Width::B2, 1).unwrap();
    assert_eq!(read(vf.as_ref(), 0, Width::B4), 0xffff_ffff);
    vf.region_write(2, 20, Width::B1, 3).unwrap();
    bench.pf.config_write(0x108, Width::B2, 9).unwrap();
    assert_eq!(read(vf.as_ref(), 20, Width::B1), 0, "the write was not decoded");
}

#[test]
fn the_pf_decodes_with_command_memory_and_works_with_bus_master() {
    let mut bench = Bench::ready(mixed());
    bench.pf.config_write(4, Width::B2, 4).unwrap();
    assert_eq!(read(bench.pf.as_ref(), 20, Width::B1), 0xff);
    bench.pf.config_write(4, Width::B2, 2).unwrap();
    bench.ram.put(0x10_8000, &[0; 24]);
    bench.admin.add(&[(0x10_8000, 24, false), (0x10_c000, 16, true)]);
    kick(bench.pf.as_ref(), bench.admin_queue);
    assert_eq!(bench.admin.poll(), None);
    enable_function(bench.pf.as_ref());
    assert_eq!(bench.admin.poll().map(|(_, len)| len), Some(16), "found when bus mastering came back");
}

#[test]
fn a_function_level_reset_clears_all_but_the_mappings() {
    let bench = Bench::ready(mixed());
    let (vf, _ram) = bench.vf(1, 0x1_0000);
    for by_register in [false, true] {
        enable_function(vf.as_ref());
        vf.set_msix(&[None, None]).unwrap();
        vf.region_write(2, 20, Width::B1, 3).unwrap();
        let msix = capability(vf.as_ref(), 0x11, 0);
        assert_eq!(vf.config_read(msix + 2, Width::B2).unwrap(), 0x8001);
        if by_register {
            let express = capability(vf.as_ref(), 0x10, 0);
            vf.config_write(express + 8, Width::B2, 0x8000).unwrap();
            assert_eq!(vf.config_read(express + 8, Width::B2).unwrap(), 0);
        } else {
            vf.reset().unwrap();
        }
        assert_eq!(vf.config_read(msix + 2, Width::B2).unwrap(), 1, "MSI-X off");
        assert_eq!(vf.config_read(4, Width::B2).unwrap(), 0, "bus mastering off");
        assert_eq!(read(vf.as_ref(), 20, Width::B1), 0);
    }
    vf.dma_unmap(0).unwrap();
}

#[test]
fn msix_takes_no_more_events_than_there_are_vectors() {
    let bench = Bench::ready(mixed());
    let vf = bench.soft.vf(1).unwrap();
    assert_eq!(vf.msix_vectors(), 2);
    assert!(matches!(vf.set_msix(&[None; 3]), Err(FunctionError::Unsupported { .. })));
}

#[test]
fn dropping_the_device_ends_its_threads_and_its_functions() {
    let weak = {
        let bench = Bench::ready(mixed());
        let (vf, _ram) = bench.vf(0, 0x1_0000);
        let event = EventFd::new(libc::EFD_NONBLOCK).unwrap();
        let link = vf.link_ioeventfd(2, 0x3000, 0, &event).unwrap();
        let weak = Arc::downgrade(&bench.soft.vfs[0]);
        drop(bench);
        assert!(matches!(vf.config_read(0, Width::B4), Err(FunctionError::Gone { .. })));
        assert!(vf.link_ioeventfd(2, 0x3000, 0, &event).is_err());
        drop(link);
        weak
    };
    assert!(weak.upgrade().is_none(), "a thread or a link still holds the VF");
}

#[test]
fn the_real_pf_driver_drives_it() {
    let soft = SoftPf::new("soft", mixed()).unwrap();
    let driver = Arc::new(PfDriver::start(soft.pf(), Instant::now() + PATIENCE).unwrap());
    driver.enable_vfs(2).unwrap();
    let cancelled = AtomicBool::new(false);
    let wait = Wait { deadline: Instant::now() + PATIENCE, cancelled: &cancelled };
    driver.negotiate_commands(&wait).unwrap();
    assert!(driver.supports_legacy());
    let channel: Arc<dyn AdminChannel> = driver.clone();
    let disk = AdminRegisters::new(channel, NonZeroU16::new(2).unwrap(), None);
    disk.write(Area::Common, 18, Width::B1, 3, &wait).unwrap();
    assert_eq!(disk.read(Area::Common, 18, Width::B1, &wait), Ok(3));
    assert_eq!(disk.read(Area::Common, 12, Width::B2, &wait), Ok(128));
    assert_eq!(disk.read(Area::Device, 0, Width::B4, &wait), Ok(8), "sectors");
    assert!(disk.read(Area::Common, 17, Width::B2, &wait).is_err());
    let doorbells = driver.notify_info(NonZeroU16::new(2).unwrap(), soft.vf(1).unwrap().as_ref(), &wait).unwrap();
    assert_eq!(doorbells, [NotifyAddress::Member { bar: 2, offset: 0x3000 }]);
}
