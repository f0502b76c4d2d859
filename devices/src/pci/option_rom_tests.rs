// SPDX-License-Identifier: Apache-2.0
use super::*;

/// Where the PCI data structure of these images is.
const PCIR: usize = 0x40;

/// An image of `units` units for a card of another maker, with the right sum.
fn image(units: u8, code_type: u8, last: bool) -> Vec<u8> {
    let mut image = vec![0; usize::from(units) * UNIT];
    image[..3].copy_from_slice(&[0x55, 0xaa, units]);
    image[DATA_POINTER] = PCIR as u8;
    image[PCIR..PCIR + 8].copy_from_slice(b"PCIR\x34\x12\x78\x56");
    image[PCIR + IMAGE_LENGTH] = units;
    image[PCIR + CODE_TYPE] = code_type;
    image[PCIR + INDICATOR] = if last { 0x80 } else { 0 };
    image[CHECKSUM] = 0_u8.wrapping_sub(sum(&image));
    image
}

fn refused(bytes: Vec<u8>) -> OptionRomError {
    OptionRom::new(bytes).unwrap_err()
}

#[test]
fn what_is_no_rom_is_told_why() {
    let good = image(2, CODE_BIOS, true);
    assert_eq!(refused(Vec::new()), OptionRomError::Size(0));
    assert_eq!(refused(vec![0; MAX_SIZE + 1]), OptionRomError::Size(MAX_SIZE + 1));
    assert_eq!(refused(vec![0x55]), OptionRomError::Signature);
    assert_eq!(refused(vec![0x55, 0xaa]), OptionRomError::NoPcir);
    assert_eq!(refused(b"#!/bin/sh\n".to_vec()), OptionRomError::Signature);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        refused(bytes)
    };
    assert_eq!(with(PCIR, b'p'), OptionRomError::NoPcir);
    assert_eq!(with(DATA_POINTER + 1, 0xff), OptionRomError::NoPcir);
    assert_eq!(with(PCIR + IMAGE_LENGTH, 0), OptionRomError::CutOff { says: 0, has: 1024 });
    assert_eq!(with(PCIR + IMAGE_LENGTH, 3), OptionRomError::CutOff { says: 1536, has: 1024 });
    assert_eq!(with(LENGTH, 3), OptionRomError::CutOff { says: 1536, has: 1024 });
    assert_eq!(with(LENGTH, 0), OptionRomError::CutOff { says: 0, has: 1024 });
    assert_eq!(with(1000, 1), OptionRomError::Checksum);
    assert_eq!(refused(image(1, 3, true)), OptionRomError::NoBiosCode);
    // Every beginning of a good one: none panics, none is taken.
    for length in 0..good.len() {
        refused(good[..length].to_vec());
    }
}

#[test]
fn the_bios_image_is_found_behind_others_and_gets_the_ids_of_the_function() {
    let other = image(1, 3, false);
    let bytes = [other.clone(), image(2, CODE_BIOS, true)].concat();
    let rom = OptionRom::new(bytes.clone()).unwrap().for_function(0x1af4, 0x1000);
    assert_eq!(rom.bytes[..UNIT], other, "the other image is as it was");
    assert_eq!(rom.bytes[UNIT + PCIR + VENDOR..][..4], [0xf4, 0x1a, 0x00, 0x10]);
    assert_eq!(sum(&rom.bytes[UNIT..]), 0);
    assert_eq!(rom.bytes.iter().zip(&bytes).filter(|(new, old)| new != old).count(), 5, "four bytes and the sum");
}

#[test]
fn the_bar_is_a_power_of_two_with_ones_behind_the_end() {
    let rom = |units| OptionRom::new(image(units, CODE_BIOS, true)).unwrap();
    assert_eq!([1, 4, 5, 148].map(|units| rom(units).bar_size()), [2048, 2048, 4096, 128 << 10]);
    let rom = rom(5);
    assert_eq!(rom.read(0, Width::B2), 0xaa55);
    assert_eq!(rom.read(PCIR as u64 + 4, Width::B4), 0x5678_1234);
    assert_eq!(rom.read(5 * 512 - 4, Width::B8), 0xffff_ffff_0000_0000);
    assert_eq!(rom.read(4095, Width::B8), u64::MAX);
    assert_eq!(rom.read(u64::MAX, Width::B4), 0xffff_ffff);
}
