// SPDX-License-Identifier: Apache-2.0
//! When the VF's BARs go into the guest's memory, and when they leave it.
use crate::bus::{Access, Effect, Width};
use crate::pci::PciDevice;
use crate::transitional::tests::bench::{Bench, Setup};

fn with_shadow() -> Bench {
    let mut setup = Setup::net();
    setup.config.shadow = true;
    setup.build()
}

fn modern_write(bench: &Bench) -> Effect {
    bench.device.bar_write(2, Access { offset: 0x14, width: Width::B1, vcpu: 0 }, 0)
}

/// Commands that `count` reads of the device features make.
fn commands_of_reads(bench: &Bench, count: usize) -> usize {
    bench.log.take();
    for _ in 0..count {
        bench.device.bar_read(0, Access { offset: 0, width: Width::B4, vcpu: 0 });
    }
    bench.log.take().iter().filter(|line| line.starts_with('R')).count()
}

#[test]
fn a_guest_that_never_writes_to_the_modern_interface_has_nothing_mapped_and_keeps_its_shadow() {
    let bench = with_shadow();
    assert!(bench.device.mappable(2).is_empty());
    bench.device.bar_read(2, Access { offset: 0x14, width: Width::B1, vcpu: 0 });
    assert!(bench.device.mappable(2).is_empty(), "a read changes nothing that cannot be forgotten at once");
    assert_eq!(commands_of_reads(&bench, 5), 1);
}

#[test]
fn the_first_modern_write_maps_the_vfs_bars_and_ends_the_shadow() {
    let bench = with_shadow();
    assert_eq!(modern_write(&bench), Effect::Remap);
    let areas = bench.device.mappable(2);
    assert_eq!(areas.iter().map(|area| (area.offset, area.size)).collect::<Vec<_>>(), [(0, 1 << 20)]);
    assert!(bench.device.mappable(0).is_empty(), "BAR 0 is the legacy interface");
    assert_eq!(modern_write(&bench), Effect::None, "once");
    assert_eq!(commands_of_reads(&bench, 5), 5, "a mapped use cannot be seen, so each read asks");
}

#[test]
fn the_vector_table_is_no_modern_use() {
    let bench = with_shadow();
    let effect = bench.device.bar_write(4, Access { offset: 0, width: Width::B4, vcpu: 0 }, 0xfee0_0000);
    assert_eq!(effect, Effect::None);
    assert!(bench.device.mappable(2).is_empty());
}

#[test]
fn a_vf_that_is_taken_away_is_unmapped_and_no_reset_brings_it_back() {
    let bench = with_shadow();
    let _ = modern_write(&bench);
    bench.device.taken_away("the system wants it back");
    assert!(bench.device.mappable(2).is_empty());
    assert!(!bench.vf.is_bus_master());
    let fault = || bench.device.report().faulted;
    assert_eq!(fault().as_deref(), Some("the system wants it back"));
    let _ = bench.device.bar_write(0, Access { offset: 18, width: Width::B1, vcpu: 0 }, 0);
    assert!(fault().is_some(), "a VF on its way out is not put back into service");
    assert_eq!(bench.device.bar_read(0, Access { offset: 0, width: Width::B4, vcpu: 0 }), 0xffff_ffff);
}
