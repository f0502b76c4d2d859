// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::contract::mock::MockMsi;
use crate::pci::{Identity, Subsystem};

fn space(capability: &MsiCapability) -> ConfigSpace {
    let mut space = ConfigSpace::new(&Identity {
        vendor_id: 1,
        device_id: 2,
        revision_id: 0,
        class_code: [0; 3],
        subsystem: Subsystem { vendor_id: 0, id: 0 },
    });
    let (body, writable) = capability.registers();
    space.define(0x52, &body, &writable);
    space
}

#[test]
fn no_more_vectors_than_the_capability_and_the_function_have() {
    let vectors = |control, vectors| MsiCapability::new(0x50, control, vectors).map(|c| c.vectors());
    assert_eq!(vectors(0x0a, 32), Some(32));
    assert_eq!(vectors(0x06, 32), Some(8));
    assert_eq!(vectors(0x0a, 5), Some(4), "a power of two");
    assert_eq!(vectors(0x0e, u16::MAX), Some(32), "a reserved value is no licence");
    assert_eq!(vectors(0x0a, 0), None);
    assert_eq!(MsiCapability::new(0xf0, 0x18a, 1), None, "past the end");
    assert!(MsiCapability::new(0xe8, 0x18a, 1).is_some());
}

#[test]
fn registers_of_each_form_are_where_the_standard_has_them() {
    for (control, len, data) in [(0x0, 8, 8), (0x80, 12, 12), (0x100, 18, 8), (0x180, 22, 12)] {
        let capability = MsiCapability::new(0x50, control | 0x04, 4).unwrap();
        assert_eq!(capability.registers().0.len(), len, "{control:#x}");
        let mut space = space(&capability);
        let _ = space.write(0x54, Width::B4, 0xfee0_0003);
        let _ = space.write(0x58, Width::B4, 0x1);
        let _ = space.write(0x50 + data, Width::B2, 0x4020);
        let _ = space.write(0x52, Width::B2, 0xffff);
        let setting = capability.setting(&space);
        assert_eq!(setting.vectors, 4, "seven means 128: as many as there are");
        let address = if control & 0x80 != 0 { 0x1_fee0_0000 } else { 0xfee0_0000 };
        assert_eq!(setting.message, MsiMessage { address, data: 0x4020 });
    }
}

#[test]
fn vectors_are_routed_with_their_number_and_masks_hold_them_back() {
    let capability = MsiCapability::new(0x50, 0x184, 4).unwrap();
    let source = MockMsi::default();
    let mut msi = Msi::new(&capability, &source).unwrap();
    let routes = || source.routes().into_iter().map(|(n, m)| (n, m.data)).collect::<Vec<_>>();
    let mut space = space(&capability);
    let _ = space.write(0x5c, Width::B2, 0x4021);
    let _ = space.write(0x52, Width::B2, 0x11);
    msi.apply(&capability.setting(&space)).unwrap();
    assert_eq!(routes(), [(0, 0x4020), (1, 0x4021)], "two vectors");
    let _ = space.write(0x60, Width::B4, 1);
    msi.apply(&capability.setting(&space)).unwrap();
    assert_eq!(routes(), [(1, 0x4021)]);
    let _ = space.write(0x52, Width::B2, 0);
    msi.apply(&capability.setting(&space)).unwrap();
    assert_eq!(routes(), []);
}
