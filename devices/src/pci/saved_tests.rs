// SPDX-License-Identifier: Apache-2.0
//! States of the bus and of its bridges.

use super::{Bridge, PciDevice, PciRoot};
use crate::bus::{Access, IoDevice, Width};
use crate::contract::Saved;
use crate::contract::mock::{make_up_states, move_state};

fn at(port: u64, width: Width) -> Access {
    Access { offset: port - 0xcf8, width, vcpu: 0 }
}

/// Between the write of CONFIG_ADDRESS and the access to CONFIG_DATA.
#[test]
fn a_configuration_access_goes_on_in_the_middle() {
    let (first, second) = (PciRoot::new(), PciRoot::new());
    let _ = first.write(at(0xcf8, Width::B4), 0x8000_0008);
    let _ = first.write(at(0xcf9, Width::B1), 2);
    move_state(&first, &second);
    assert_eq!(second.read(at(0xcfe, Width::B2)), 0x0600, "class code of the host bridge");
    assert_eq!(second.read(at(0xcf9, Width::B1)), 2);
    make_up_states(&second, |_| {
        assert_eq!(second.read(at(0xcf8, Width::B4)) & 3, 0);
        second.read(at(0xcfc, Width::B4));
        assert_eq!(second.read(at(0xcf9, Width::B1)) & !2, 0, "no reset is started");
    });
}

fn check<T: Saved + PciDevice>(make: impl Fn() -> T, offset: u16, kept: u32) {
    let (first, second) = (make(), make());
    let identity = first.config_read(0, Width::B4);
    let _ = first.config_write(offset, Width::B4, u32::MAX);
    move_state(&first, &second);
    assert_eq!((first.config_read(offset, Width::B4), second.config_read(offset, Width::B4)), (kept, kept));
    make_up_states(&second, |_| assert_eq!(second.config_read(0, Width::B4), identity));
}

#[test]
fn bridges_keep_what_firmware_wrote() {
    check(Bridge::host, 0x58, u32::MAX);
    check(Bridge::isa, 0x60, 0x8f8f_8f8f);
}
