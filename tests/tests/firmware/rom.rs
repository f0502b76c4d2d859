// SPDX-License-Identifier: Apache-2.0
//! Firmware of our own, a few instructions long: where it lies, where the processor starts, what a reset does.

use std::fs;

use tempfile::TempDir;
use tests::{Finished, Heirloom};

/// Where the code is in a ROM of 64 KiB, and what the reset vector jumps to.
const CODE: usize = 0x100;

/// A ROM of `size` bytes whose reset vector jumps to `code` at f000:0100, in the copy below 1 MiB.
fn rom(size: usize, code: &[u8]) -> Vec<u8> {
    let mut rom = vec![0xf4; size];
    let last = size - 0x1_0000;
    rom[last + CODE..last + CODE + code.len()].copy_from_slice(code);
    rom[size - 16..size - 11].copy_from_slice(&[0xea, CODE as u8, (CODE >> 8) as u8, 0x00, 0xf0]);
    rom
}

/// `mov al, byte; mov dx, port; out dx, al`
fn out(port: u16, byte: u8) -> Vec<u8> {
    let [low, high] = port.to_le_bytes();
    vec![0xb0, byte, 0xba, low, high, 0xee]
}

fn run(rom: &[u8], words: &[&str]) -> Result<Finished, String> {
    let dir = TempDir::new().map_err(|e| e.to_string())?;
    let path = dir.path().join("rom.bin");
    fs::write(&path, rom).map_err(|e| e.to_string())?;
    Heirloom::run(&["--cpu=legacy", "--memory=16M", "--report=-", "--firmware"]).arg(path).args(words).finish()
}

/// The processor starts at the reset vector; the code runs from the copy below 1 MiB.
pub(crate) fn starts_at_the_reset_vector() -> Result<(), String> {
    for size in [64 << 10, 128 << 10, 256 << 10] {
        let code = [out(0x3f8, b'R'), out(0x3f8, b'\n'), out(0xcf9, 6)].concat();
        run(&rom(size, &code), &["--no-reboot"])?.expect_code(6)?.expect_output("R\n")?;
    }
    Ok(())
}

/// A ROM does not change, the copy in RAM does; a reset brings a new copy, and the machine starts at the vector again.
pub(crate) fn a_reset_starts_the_firmware_again() -> Result<(), String> {
    // CMOS 0x40 counts the boots? It is new as well: the second boot is told by what the operator limits. So the first
    // instruction of the copy is overwritten by hlt before the reset: a machine that kept its RAM would stay there.
    let spoil = [0x2e, 0xc6, 0x06, CODE as u8, (CODE >> 8) as u8, 0xf4]; // mov byte cs:[CODE], hlt
    let code = [out(0x3f8, b'R'), spoil.to_vec(), out(0xcf9, 6)].concat();
    let dir = TempDir::new().map_err(|e| e.to_string())?;
    let path = dir.path().join("rom.bin");
    fs::write(&path, rom(64 << 10, &code)).map_err(|e| e.to_string())?;
    let mut child = Heirloom::run(&["--cpu=legacy", "--memory=16M", "--firmware"]).arg(path).start()?;
    let mut output = child.stdout.take().ok_or("no output")?;
    let mut two = [0; 2];
    std::io::Read::read_exact(&mut output, &mut two).map_err(|e| e.to_string())?;
    if &two == b"RR" { Ok(()) } else { Err(format!("{two:?}")) }
}

/// The image itself, below 4 GiB, is a ROM: `mov eax, 0xfffffff0` by a flat segment is more than a few bytes, so the
/// code looks from where it starts: the first instruction is fetched there. It writes to it by CS, and reads it back.
pub(crate) fn the_image_below_4_gib_cannot_be_written() -> Result<(), String> {
    // At the vector itself, CS base is 0xffff0000: a short jump back stays in the flash.
    let mut image = rom(64 << 10, &[]);
    let code = [
        vec![0x2e, 0xc6, 0x06, 0x00, 0x80, b'W'], // mov byte cs:[0x8000], 'W'
        vec![0x2e, 0xa0, 0x00, 0x80],             // mov al, cs:[0x8000]
        vec![0xba, 0xf8, 0x03, 0xee],             // mov dx, 0x3f8; out dx, al
        out(0xcf9, 6),
    ]
    .concat();
    image[0x8000] = b'O';
    image[0xff00..0xff00 + code.len()].copy_from_slice(&code);
    // jmp near from 0xfff0 to 0xff00: e9 rel16
    let relative = (0xff00_u16).wrapping_sub(0xfff3).to_le_bytes();
    image[0xfff0..0xfff3].copy_from_slice(&[0xe9, relative[0], relative[1]]);
    run(&image, &["--no-reboot"])?.expect_code(6)?.expect_output("O")?;
    Ok(())
}

/// What is no firmware is refused before anything starts.
pub(crate) fn bad_images() -> Result<(), String> {
    let hlt = out(0x3f8, b'R');
    let odd = {
        let mut odd = rom(64 << 10, &hlt);
        odd.push(0);
        odd
    };
    for (image, text) in [
        (odd, "a multiple of 64 KiB"),
        (Vec::new(), "a multiple of 64 KiB"),
        (vec![0; 17 << 20], "at most 16 MiB"),
        (vec![0xff; 64 << 10], "have no jump: it is not PC firmware"),
    ] {
        run(&image, &[])?.expect_code(3)?.expect_error(text)?;
    }
    Heirloom::run(&["--firmware=/nonexistent"]).finish()?.expect_code(3)?.expect_error("cannot read the firmware")?;
    let both = Heirloom::run(&["--firmware=/nonexistent", "--kernel=/nonexistent"]).finish()?.expect_code(2)?;
    both.expect_error("cannot be used with").map(drop)
}
