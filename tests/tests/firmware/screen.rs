// SPDX-License-Identifier: Apache-2.0
//! SeaBIOS with the VGA BIOS that Debian built, and a boot sector that writes by INT 10h and into memory: what it wrote
//! is on the screen as the API tells it, while the guest runs and in the report.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::report::{boot_count, check, last_boot};
use tests::{BootSector, Heirloom};

use super::seabios::Bench;

const VGA_BIOS: &str = "/usr/share/seabios/vgabios-isavga.bin";
/// Longest a boot may take. A safety net.
const LIMIT: Duration = Duration::from_secs(300);
/// White on blue.
const WHITE_ON_BLUE: u64 = 0x1f;
/// Yellow on red.
const YELLOW_ON_RED: u64 = 0x4e;

/// Why these tests cannot run.
pub(crate) fn lack() -> Option<&'static str> {
    (!Path::new(VGA_BIOS).is_file()).then_some("no VGA BIOS is installed (Debian: apt install seabios)")
}

/// Mode 3, which clears what the BIOS said. Two lines, and the first scrolls away. Text and coloured characters at a
/// cursor that was set. One character straight into memory, last.
fn writes() -> Result<[u8; 512], String> {
    BootSector::new()
        .code(&[0xb8, 0x03, 0x00, 0xcd, 0x10]) // mov ax, 3; int 10h
        .print("lines")
        // mov ax, 601h (scroll up by a line); mov bh, 7; xor cx, cx; mov dx, 184fh; int 10h
        .code(&[0xb8, 0x01, 0x06, 0xb7, 0x07, 0x31, 0xc9, 0xba, 0x4f, 0x18, 0xcd, 0x10])
        // mov ah, 2 (cursor); mov bh, 0; mov dx, 0a14h; int 10h
        .code(&[0xb4, 0x02, 0xb7, 0x00, 0xba, 0x14, 0x0a, 0xcd, 0x10])
        .print("here")
        // mov ax, 92ah ('*' with its colours); mov bx, 4eh; mov cx, 3; int 10h
        .code(&[0xb8, 0x2a, 0x09, 0xbb, 0x4e, 0x00, 0xb9, 0x03, 0x00, 0xcd, 0x10])
        // mov ax, b800h; mov es, ax; mov word [es:24*160], 'D' white on blue
        .code(&[0xb8, 0x00, 0xb8, 0x8e, 0xc0, 0x26, 0xc7, 0x06, 0x00, 0x0f, b'D', WHITE_ON_BLUE as u8])
        .code(&[0xfb, 0xf4, 0xeb, 0xfd]) // sti; stay: hlt; jmp stay
        .end()
        .text("lines", "first\r\nsecond\r\n")
        .text("here", "here")
        .sector()
}

fn ask(socket: &str, words: &[&str]) -> Result<String, String> {
    Ok(Heirloom::plain(&["ctl", "--api-socket", socket]).args(words).finish()?.expect_code(0)?.stdout)
}

/// The screen, once its last line begins with 'D'.
fn finished_screen(socket: &str) -> Result<Value, String> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let words = ["ctl", "--api-socket", socket, "--json", "screen", "--attributes"];
        let answer = Heirloom::plain(&words).finish()?;
        let screen: Value = serde_json::from_str(&answer.stdout).unwrap_or_default();
        if screen["lines"][24].as_str().is_some_and(|line| line.starts_with('D')) {
            return Ok(screen);
        }
        if Instant::now() > deadline {
            return Err(format!("the boot sector did not come to its end: {answer}"));
        }
        thread::sleep(Duration::from_millis(200)); // Clock: between two looks.
    }
}

pub(crate) fn shows_what_a_boot_sector_writes_by_int_10h() -> Result<(), String> {
    let bench = Bench::new(&writes()?, "")?;
    let socket = bench.path("api.sock").display().to_string();
    let mut child = bench.run("", &["--serial=none", "--api-socket", &socket]).start()?;
    let screen = finished_screen(&socket)?;
    let shape = (screen["columns"].as_u64(), screen["lines"].as_array().map_or(0, Vec::len));
    check(shape == (Some(80), 25), "not 80 by 25", &screen)?;
    check(screen["lines"][0] == "second", "it did not scroll", &screen)?;
    check(screen["lines"][10] == format!("{}here***", " ".repeat(20)), "nothing at the cursor's place", &screen)?;
    let cursor = (screen["cursor"]["row"].as_u64(), screen["cursor"]["column"].as_u64());
    check(cursor == (Some(10), Some(24)), "the cursor is elsewhere", &screen)?;
    let attribute = |row: usize, column: usize| screen["attributes"][row][column].as_u64();
    check(attribute(10, 24) == Some(YELLOW_ON_RED), "other colours", &screen)?;
    check(attribute(24, 0) == Some(WHITE_ON_BLUE), "other colours", &screen)?;

    let text = ask(&socket, &["screen"])?;
    let lines: Vec<_> = text.lines().collect();
    if lines.len() != 25 || !lines[24].starts_with('D') {
        return Err(format!("other lines for people: {lines:?}"));
    }
    ask(&socket, &["shutdown-vmm"])?;
    child.wait().map_err(|e| e.to_string())?;
    let boot = last_boot(&bench.path("report.json"))?;
    check(boot_count(&bench.path("report.json"))? == 1 && boot["screen"][0] == "second", "not in the report", &boot)
}

/// Without a boot sector the BIOS itself is on the screen, and on the serial port as before.
pub(crate) fn the_bios_is_on_the_screen_and_on_the_serial_port() -> Result<(), String> {
    let sector = BootSector::new().print("text").end().text("text", "BOOT SECTOR\r\n").sector()?;
    for (words, on_screen) in [(&[][..], true), (&["--vga=off"][..], false)] {
        let bench = Bench::new(&sector, "")?;
        bench
            .run("", words)
            .finish()?
            .expect_code(0)?
            .expect_output("SeaBIOS (version")?
            .expect_output("BOOT SECTOR")?;
        let boot = last_boot(&bench.path("report.json"))?;
        let screen = boot["screen"].as_array().map_or(&[][..], Vec::as_slice);
        let has = |text: &str| screen.iter().any(|line| line.as_str().is_some_and(|line| line.contains(text)));
        for text in ["SeaBIOS (version", "Booting from Hard Disk...", "BOOT SECTOR"] {
            check(has(text) == on_screen, text, &boot["screen"])?;
        }
    }
    Ok(())
}
