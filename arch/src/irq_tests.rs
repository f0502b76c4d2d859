// SPDX-License-Identifier: Apache-2.0
use super::*;

fn wire(slot: u8, pin: u8, gsi: u8) -> PciInterrupt {
    PciInterrupt { slot, pin, gsi }
}

#[test]
fn good_wiring_comes_back_sorted() {
    assert_eq!(checked(&[wire(3, 0, 11), wire(1, 1, 10)]), Ok(vec![wire(1, 1, 10), wire(3, 0, 11)]));
}

#[test]
fn bad_wiring_is_named() {
    assert_eq!(checked(&[wire(32, 0, 10)]), Err(WiringError::NoSuchPin(wire(32, 0, 10))));
    assert_eq!(checked(&[wire(1, 4, 10)]), Err(WiringError::NoSuchPin(wire(1, 4, 10))));
    assert_eq!(checked(&[wire(1, 0, 4)]), Err(WiringError::NotAPciLine(wire(1, 0, 4))));
    assert_eq!(checked(&[wire(1, 0, 10), wire(1, 0, 11)]), Err(WiringError::Twice(wire(1, 0, 10))));
}

#[test]
fn level_lines_are_what_pic_and_kvm_accept() {
    // KVM's PIC lets only these be level-triggered (elcr_mask in arch/x86/kvm/i8259.c).
    let elcr = LEVEL_LINES.iter().fold(0u16, |elcr, line| elcr | 1 << line);
    assert_eq!((elcr, elcr & !0xdef8), (0x0e00, 0));
    assert!(PCI_LINES.iter().all(|line| LEVEL_LINES.contains(line)));
}

#[test]
fn pins_swizzle_over_the_lines() {
    assert_eq!([1, 2, 3, 4, 5].map(|slot| pci_line(slot, 0)), [10, 10, 11, 11, 10]);
    assert_eq!([0, 1, 2, 3].map(|pin| pci_line(1, pin)), [10, 10, 11, 11]);
    assert_eq!([0, 1, 2, 3].map(|pin| pci_line(3, pin)), [11, 11, 10, 10]);
    assert_eq!((pci_line(0, 0), pci_line(255, 3)), (11, 10));
    assert_eq!(PciInterrupt::inta(3), wire(3, 0, 11));
}
