// SPDX-License-Identifier: Apache-2.0
//! Expansion ROMs: one of our own that SeaBIOS executes, and files that are none.

use std::fs;

use tests::BootSector;

use super::seabios::Bench;

const SIZE: usize = 2048;
/// Offset of the PCI data structure.
const PCIR: usize = 0x20;
const CODE: usize = 0x40;

/// A ROM of a card that Heirloom does not have, which says that it runs and switches the machine off.
fn rom() -> Result<Vec<u8>, String> {
    let code = BootSector::empty()
        .code(&[0x0e, 0x1f, 0xfc]) // push cs; pop ds; cld
        .print("greeting")
        .jump(&[0xe9], "off")
        .end()
        .text("greeting", "EXPANSION ROM\r\n")
        .resolved(CODE as u16)?;
    let mut rom = vec![0; SIZE];
    // jmp CODE from offset 3
    rom[..6].copy_from_slice(&[0x55, 0xaa, (SIZE / 512) as u8, 0xe9, (CODE - 6) as u8, 0]);
    rom[0x18] = PCIR as u8;
    rom[PCIR..PCIR + 8].copy_from_slice(b"PCIR\x34\x12\x78\x56");
    rom[PCIR + 10] = 0x18;
    rom[PCIR + 16] = (SIZE / 512) as u8;
    rom[PCIR + 21] = 0x80;
    rom[CODE..CODE + code.len()].copy_from_slice(&code);
    rom[6] = 0_u8.wrapping_sub(rom.iter().fold(0, |sum, byte| sum.wrapping_add(*byte)));
    Ok(rom)
}

/// SeaBIOS finds the ROM by its BAR, finds that it belongs to the function, and executes it before any disk.
pub(crate) fn seabios_executes_the_rom_of_a_function() -> Result<(), String> {
    let bench = Bench::new(&[0; 512], "")?;
    let path = bench.path("card.rom");
    fs::write(&path, rom()?).map_err(|e| e.to_string())?;
    let keys = format!("--legacy-virtio=soft=net,loopback,rom={}", path.display());
    bench.run("", &[&keys]).finish()?.expect_code(0)?.expect_output("EXPANSION ROM")?;
    Ok(())
}

/// Each is refused before anything starts, with what is wrong.
pub(crate) fn files_that_are_no_rom() -> Result<(), String> {
    let bench = Bench::new(&[0; 512], "")?;
    let good = rom()?;
    let damaged = |at: usize| {
        let mut rom = good.clone();
        rom[at] ^= 0x10;
        rom
    };
    for (content, text) in [
        (Vec::new(), "this file has none"),
        (b"#!ipxe\nboot\n".to_vec(), "does not begin with 55 aa"),
        (damaged(PCIR), "no PCI data structure"),
        (damaged(SIZE - 1), "do not add up to 0"),
        (good[..SIZE - 1].to_vec(), "cut off"),
    ] {
        let path = bench.path("card.rom");
        fs::write(&path, content).map_err(|e| e.to_string())?;
        let keys = format!("--legacy-virtio=soft=net,loopback,rom={}", path.display());
        bench.run("", &[&keys]).finish()?.expect_code(3)?.expect_error(text)?;
    }
    let missing = bench.run("", &["--legacy-virtio=soft=net,loopback,rom=/nonexistent"]).finish()?;
    missing.expect_code(3)?.expect_error("cannot read the expansion ROM /nonexistent").map(drop)
}
