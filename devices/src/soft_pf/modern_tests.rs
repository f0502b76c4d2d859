// SPDX-License-Identifier: Apache-2.0
//! The modern common configuration of a network VF and of the PF.

use super::super::testing::{Bench, driver_ok, modern_queue, negotiate, offered, read, write};
use super::*;
use crate::function::PciFunction;

fn status_of(function: &dyn PciFunction) -> u64 {
    read(function, 20, Width::B1)
}

#[test]
fn features_ok_needs_version_1_and_nothing_that_is_not_offered() {
    let bench = Bench::ready(Bench::nets(1));
    let (vf, _ram) = bench.vf(0, 0x1000);
    let offered = offered(vf.as_ref());
    assert_eq!(offered & feature::ANY_LAYOUT, 0, "for legacy drivers");
    for (features, accepted) in [
        (offered, true),
        (feature::VERSION_1, true),
        (offered & !feature::VERSION_1, false),
        (0, false),
        (feature::VERSION_1 | 1 << 40, false),
        (feature::VERSION_1 | feature::ADMIN_VQ, false),
    ] {
        assert_eq!(negotiate(vf.as_ref(), features), accepted, "{features:#x}");
        driver_ok(vf.as_ref());
        assert_eq!(status_of(vf.as_ref()), if accepted { 0xf } else { 3 }, "no DRIVER_OK without FEATURES_OK");
    }
}

#[test]
fn features_are_fixed_and_status_bits_stay_until_reset() {
    let bench = Bench::ready(Bench::nets(1));
    let (vf, _ram) = bench.vf(0, 0x1000);
    assert!(negotiate(vf.as_ref(), feature::VERSION_1));
    write(vf.as_ref(), 12, Width::B4, 0);
    assert_eq!(read(vf.as_ref(), 12, Width::B4), 1);
    write(vf.as_ref(), 20, Width::B1, 1);
    assert_eq!(status_of(vf.as_ref()), 0xb);
    write(vf.as_ref(), 20, Width::B1, 0x4b);
    assert_eq!(status_of(vf.as_ref()), 0xb, "NEEDS_RESET is the device's");
    write(vf.as_ref(), 8, Width::B4, 7);
    assert_eq!(read(vf.as_ref(), 12, Width::B4), 0, "there are two words");
    write(vf.as_ref(), 20, Width::B1, 0);
    assert_eq!((status_of(vf.as_ref()), read(vf.as_ref(), 8, Width::B4)), (0, 0));
}

#[test]
fn queue_registers_follow_the_selection() {
    let bench = Bench::ready(Bench::nets(1));
    let (vf, ram) = bench.vf(0, 0x10_0000);
    assert!(negotiate(vf.as_ref(), feature::VERSION_1));
    assert_eq!(read(vf.as_ref(), 18, Width::B2), 3);
    modern_queue(vf.as_ref(), &ram, 1, 0x1000);
    let fields = |vf: &dyn PciFunction| {
        [(24, Width::B2), (28, Width::B2), (30, Width::B2), (32, Width::B8)].map(|(at, width)| read(vf, at, width))
    };
    assert_eq!(fields(vf.as_ref()), [256, 1, 1, 0x1000]);
    write(vf.as_ref(), 32, Width::B8, 0x7000);
    write(vf.as_ref(), 28, Width::B2, 0);
    assert_eq!(fields(vf.as_ref()), [256, 1, 1, 0x1000], "an enabled queue does not change");
    write(vf.as_ref(), 22, Width::B2, 3);
    assert_eq!(fields(vf.as_ref()), [0; 4], "there are three queues");
    write(vf.as_ref(), 28, Width::B2, 1);
    write(vf.as_ref(), 26, Width::B2, 0);
    write(vf.as_ref(), 22, Width::B2, 2);
    assert_eq!(fields(vf.as_ref()), [64, 0, 2, 0]);
    write(vf.as_ref(), 36, Width::B4, 0xdead_beef);
    write(vf.as_ref(), 33, Width::B4, 0x1111_1111);
    write(vf.as_ref(), 32, Width::B1, 0x11);
    assert_eq!(read(vf.as_ref(), 32, Width::B8), 0xdead_beef_0000_0000);
    assert_eq!(read(vf.as_ref(), 37, Width::B2), 0xadbe, "reads of any part");
}

#[test]
fn vectors_that_are_not_there_read_back_as_none() {
    let bench = Bench::ready(Bench::nets(1));
    let (vf, _ram) = bench.vf(0, 0x1000);
    assert_eq!(vf.msix_vectors(), 4);
    for register in [16, 26] {
        assert_eq!(read(vf.as_ref(), register, Width::B2), 0xffff);
        for (vector, stored) in [(3, 3), (4, 0xffff), (0, 0), (0xfffe, 0xffff)] {
            write(vf.as_ref(), register, Width::B2, vector);
            assert_eq!(read(vf.as_ref(), register, Width::B2), stored);
        }
    }
}

#[test]
fn the_admin_queue_shows_once_it_is_negotiated() {
    let bench = Bench::new(Bench::nets(1));
    let pf = bench.pf.as_ref();
    assert_eq!((read(pf, 60, Width::B2), read(pf, 62, Width::B2), read(pf, 18, Width::B2)), (3, 1, 3));
    assert!(negotiate(pf, feature::VERSION_1));
    assert_eq!((read(pf, 60, Width::B2), read(pf, 62, Width::B2)), (0, 0));
    assert_eq!(offered(pf) & (feature::SR_IOV | feature::ADMIN_VQ), feature::SR_IOV | feature::ADMIN_VQ);
}

#[test]
fn accesses_outside_of_registers_do_nothing() {
    let bench = Bench::ready(Bench::nets(1));
    let (vf, _ram) = bench.vf(0, 0x1000);
    assert_eq!(read(vf.as_ref(), 62, Width::B8) >> 16, 0);
    assert_eq!(read(vf.as_ref(), 0xfff, Width::B1), 0);
    assert_eq!(read(vf.as_ref(), 0x2006, Width::B8), 1, "link status, and nothing after it");
    write(vf.as_ref(), 0x2000, Width::B4, 0);
    assert_eq!(read(vf.as_ref(), 0x2000, Width::B4), 0x1200_5452, "read-only for modern drivers");
    for (bar, offset, width) in
        [(2, 0x3fff, Width::B2), (2, u64::MAX, Width::B8), (0, 0, Width::B1), (4, 0x1000, Width::B1)]
    {
        assert!(vf.region_read(bar, offset, width).is_err(), "{bar} {offset:#x}");
        assert!(vf.region_write(bar, offset, width, 0).is_err(), "{bar} {offset:#x}");
    }
}
