// SPDX-License-Identifier: Apache-2.0
use super::*;

fn wire(slot: u8, pin: u8, gsi: u8) -> PciInterrupt {
    PciInterrupt { slot, pin, gsi }
}

#[test]
fn good_wiring_comes_back_sorted() {
    assert_eq!(checked(&[wire(3, 0, 11), wire(1, 1, 5)]), Ok(vec![wire(1, 1, 5), wire(3, 0, 11)]));
}

#[test]
fn bad_wiring_is_named() {
    assert_eq!(checked(&[wire(32, 0, 5)]), Err(WiringError::NoSuchPin(wire(32, 0, 5))));
    assert_eq!(checked(&[wire(1, 4, 5)]), Err(WiringError::NoSuchPin(wire(1, 4, 5))));
    assert_eq!(checked(&[wire(1, 0, 4)]), Err(WiringError::NotAPciLine(wire(1, 0, 4))));
    assert_eq!(checked(&[wire(1, 0, 5), wire(1, 0, 10)]), Err(WiringError::Twice(wire(1, 0, 5))));
}

#[test]
fn level_lines_of_both_pics() {
    let (mut master, mut slave) = (kvm_pic_state::default(), kvm_pic_state::default());
    set_level_lines(&mut master, 0);
    set_level_lines(&mut slave, 8);
    // KVM accepts only these bits (elcr_mask in arch/x86/kvm/i8259.c).
    assert_eq!((master.elcr, slave.elcr), (1 << 5, 1 << 1 | 1 << 2 | 1 << 3));
    assert_eq!((master.elcr & !0xf8, slave.elcr & !0xde), (0, 0));
}
