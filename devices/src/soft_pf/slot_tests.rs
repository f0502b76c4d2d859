// SPDX-License-Identifier: Apache-2.0
//! A client that is connected to a VF before it exists, while it does, and after.

use super::super::testing::{
    Bench, PATIENCE, Ram, driver_ok, enable_function, kick, modern_queue, negotiate, offered, read, settle,
};
use super::super::{HiddenConfig, SoftPf, VfSpec};
use super::*;

fn nets() -> Vec<VfSpec> {
    Bench::nets(2)
}

#[test]
fn a_hidden_vf_can_be_examined_and_does_nothing() {
    let bench = Bench::new(nets());
    let slot = bench.soft.vf_slot(1, HiddenConfig::Readable).unwrap();
    assert_eq!(slot.config_read(0, Width::B4).unwrap(), 0x1041_1af4);
    slot.config_write(0x18, Width::B4, u32::MAX).unwrap();
    assert_eq!(slot.config_read(0x18, Width::B4).unwrap(), 0xffff_c000, "BAR 2 can be sized");
    enable_function(slot.as_ref());
    assert_eq!((read(slot.as_ref(), 20, Width::B1), offered(slot.as_ref())), (0, 0), "in reset, without features");
    slot.region_write(2, 20, Width::B1, 3).unwrap();
    let event = EventFd::new(libc::EFD_NONBLOCK).unwrap();
    slot.set_msix(&[Some(&event)]).unwrap();
    slot.disable_msix().unwrap();
    slot.reset().unwrap();
    assert!(slot.link_ioeventfd(2, 0x3000, 0, &event).is_err());
    bench.soft.enable_vfs(2).unwrap();
    assert_eq!(read(slot.as_ref(), 20, Width::B1), 0, "as after power-on");
    assert_eq!(slot.config_read(4, Width::B2).unwrap(), 0);
}

#[test]
fn hidden_as_on_a_bus_there_is_nothing_to_read() {
    let bench = Bench::new(nets());
    let slot = bench.soft.vf_slot(0, HiddenConfig::AllOnes).unwrap();
    assert_eq!(slot.config_read(0, Width::B4).unwrap(), 0xffff_ffff);
    assert_eq!(slot.config_read(0x34, Width::B1).unwrap(), 0xff);
    assert_eq!(read(slot.as_ref(), 20, Width::B1), 0xff);
    slot.config_write(0x18, Width::B4, 0x1234_4000).unwrap();
    bench.soft.enable_vfs(1).unwrap();
    assert_eq!(slot.config_read(0, Width::B4).unwrap(), 0x1041_1af4);
    assert_eq!(slot.config_read(0x18, Width::B4).unwrap(), 0, "the write went nowhere");
}

#[test]
fn what_was_mapped_before_works_after_vf_enable_and_vf_disable_quiesces() {
    let bench = Bench::new(nets());
    let slot = bench.soft.vf_slot(0, HiddenConfig::Readable).unwrap();
    let ram = Ram::new(0, 0x10_0000);
    slot.dma_map(&ram.region).unwrap();
    for _ in 0..2 {
        bench.soft.enable_vfs(1).unwrap();
        enable_function(slot.as_ref());
        assert!(negotiate(slot.as_ref(), offered(slot.as_ref()) & !(1 << 29)));
        let mut send = modern_queue(slot.as_ref(), &ram, 1, 0x1_0000);
        driver_ok(slot.as_ref());
        ram.put(0x2000, &[0; 12 + 60]);
        send.add(&[(0x2000, 72, false)]);
        kick(slot.as_ref(), 1);
        send.wait();
        bench.soft.enable_vfs(0).unwrap();
        send.add(&[(0x2000, 72, false)]);
        kick(slot.as_ref(), 1);
        settle();
        assert_eq!(send.poll(), None, "a VF that is gone makes no DMA");
        assert_eq!(read(slot.as_ref(), 20, Width::B1), 0);
    }
    assert_eq!(bench.soft.report().vfs[0].buffers, 2);
    slot.dma_unmap(0).unwrap();
}

#[test]
fn vfs_come_and_go_under_a_client_that_does_not_stop() {
    let soft = SoftPf::new("soft", nets()).unwrap();
    let slot = soft.vf_slot(0, HiddenConfig::Readable).unwrap();
    let end = std::time::Instant::now() + PATIENCE / 20;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while std::time::Instant::now() < end {
                soft.enable_vfs(2).unwrap();
                soft.enable_vfs(0).unwrap();
            }
        });
        while std::time::Instant::now() < end {
            slot.region_write(2, 20, Width::B1, 3).unwrap();
            assert!([0, 3, 0xff].contains(&slot.region_read(2, 20, Width::B1).unwrap()));
            slot.set_msix(&[None]).unwrap();
            slot.reset().unwrap();
        }
    });
}
