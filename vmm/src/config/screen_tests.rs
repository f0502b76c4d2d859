// SPDX-License-Identifier: Apache-2.0
use super::*;

#[test]
fn a_rom_has_a_signature_a_length_and_a_sum_of_zero() {
    let mut rom = vec![0; 1024];
    rom[..3].copy_from_slice(&[0x55, 0xaa, 2]);
    rom[1023] = 0u8.wrapping_sub(0x55).wrapping_sub(0xaa).wrapping_sub(2);
    assert!(is_rom(&rom));
    assert!(is_rom(&[&rom[..], &[0xff; 100]].concat()), "what is behind it does not count");
    for (at, value) in [(0, 0), (1, 0), (2, 3), (100, 1)] {
        let mut bad = rom.clone();
        bad[at] = value;
        assert!(!is_rom(&bad), "byte {at} is {value}");
    }
    rom.resize(65 << 10, 0);
    assert!(!is_rom(&rom), "too long");
    assert!(!is_rom(&[0x55, 0xaa, 0]) && !is_rom(&[0x55]));
}

#[test]
fn the_installed_vga_bios_is_one() {
    match first_installed(&BIOS_PATHS) {
        Some(_) => assert!(installed_bios().is_some()),
        None => eprintln!("SKIPPED: no VGA BIOS is installed"),
    }
}
