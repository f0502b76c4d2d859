// SPDX-License-Identifier: Apache-2.0
//! What SeaBIOS makes of disks: their order, their sizes, and boot sectors that mean no good.

use std::fs::{self, File};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::time::Duration;

use tests::{BootSector, Console, Heirloom, Signal};

use super::seabios::Bench;

/// For one that hangs.
const LIMIT: Duration = Duration::from_secs(300);
const SECTOR: u64 = 512;
/// Where a boot sector reads to.
const BUFFER: u16 = 0x7e00;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// Prints sector 1 of the drives 0x80 to 0x82, and switches off.
fn tells_drives() -> Result<[u8; 512], String> {
    let drive = |code: BootSector, number: u8| {
        // mov dl, number; ...; mov si, BUFFER
        code.code(&[0xb2, number])
            .disk(0x42, "second")
            .code(&[0xbe, BUFFER as u8, (BUFFER >> 8) as u8])
            .jump(&[0xe8], "print")
    };
    [0x80, 0x81, 0x82]
        .into_iter()
        .fold(BootSector::new(), drive)
        .jump(&[0xe9], "off")
        .end()
        .packet("second", BUFFER, 1)
        .sector()
}

/// A small disk with this boot sector and name.
fn disk(bench: &Bench, file: &str, sector: &[u8; 512]) -> Result<String, String> {
    let mut bytes = vec![0; 1 << 20];
    bytes[..512].copy_from_slice(sector);
    bytes[512..512 + file.len()].copy_from_slice(file.as_bytes());
    bytes[512 + file.len()] = b' ';
    fs::write(bench.path(file), bytes).map_err(|e| e.to_string())?;
    Ok(format!("--legacy-virtio=soft=blk,file={}", bench.path(file).display()))
}

/// The second and the third disk come first by their places; each is a BIOS drive.
pub(crate) fn three_disks_in_another_order() -> Result<(), String> {
    let bench = Bench::new(&[0; 512], "disk ")?;
    let [second, third] = ["second", "third"].map(|file| disk(&bench, file, &tells_drives()?));
    let (second, third) = (second? + ",bootindex=7", third? + ",bootindex=1");
    let finished = bench.run("", &[&second, &third]).finish()?.expect_code(0)?;
    finished.expect_output("third second disk")?;
    let twice = bench.run(",bootindex=1", &[&third]).finish()?.expect_code(2)?;
    twice.expect_error("bootindex=1 is given twice")?;
    let kernel = Heirloom::run(&["--kernel=/nonexistent", &second]).finish()?.expect_code(2)?;
    kernel.expect_error("bootindex=7 is for the firmware").map(drop)
}

/// Escape calls SeaBIOS's menu, whose second entry is the second disk.
pub(crate) fn a_disk_chosen_from_the_menu() -> Result<(), String> {
    let wrong = BootSector::new().print("text").jump(&[0xe9], "off").end().text("text", "THE FIRST").sector()?;
    let bench = Bench::new(&wrong, "disk ")?;
    let [second, third] = ["second", "third"].map(|file| disk(&bench, file, &tells_drives()?));
    let run = bench.run("", &["--boot-menu=30", &second?, &third?]);
    let (status, text) = Console::talk(run, &[("Press ESC", b"\x1b"), ("3. ", b"2")], LIMIT)?;
    let chosen = status.success() && text.contains("second disk third") && !text.contains("THE FIRST");
    if chosen { Ok(()) } else { Err(format!("{status}\n{text}")) }
}

/// Prints in hexadecimal: the number of sectors by function 48h, then what 08h leaves in CX and DX; and the text in the
/// last sector, by its number.
fn tells_sizes(sectors: u64) -> Result<[u8; 512], String> {
    let packet = [&[16, 0, 1, 0][..], &BUFFER.to_le_bytes(), &[0, 0], &(sectors - 1).to_le_bytes()].concat();
    let last = BUFFER + 23;
    BootSector::new()
        // mov ah,48h; mov word [BUFFER],1eh; mov si,BUFFER; int 13h
        .code(&[0xb4, 0x48, 0xc7, 0x06, BUFFER as u8, (BUFFER >> 8) as u8, 0x1e, 0])
        .code(&[0xbe, BUFFER as u8, (BUFFER >> 8) as u8, 0xcd, 0x13])
        .jump(&[0x0f, 0x82], "failed")
        // mov di,last; mov cx,8; next: mov al,[di]; call hex; dec di; loop next
        .code(&[0xbf, last as u8, (last >> 8) as u8, 0xb9, 8, 0, 0x8a, 0x05])
        .jump(&[0xe8], "hex")
        .code(&[0x4f, 0xe2, 0xf8])
        .print("space")
        // mov ah,8; mov dl,80h; int 13h; push dx; push cx; mov al,ch
        .code(&[0xb4, 0x08, 0xb2, 0x80, 0xcd, 0x13, 0x52, 0x51, 0x88, 0xe8])
        .jump(&[0xe8], "hex")
        .code(&[0x59, 0x88, 0xc8]) // pop cx; mov al,cl
        .jump(&[0xe8], "hex")
        .code(&[0x5a, 0x52, 0x88, 0xf0]) // pop dx; push dx; mov al,dh
        .jump(&[0xe8], "hex")
        .code(&[0x5a, 0x88, 0xd0]) // pop dx; mov al,dl
        .jump(&[0xe8], "hex")
        .print("space")
        .code(&[0xb2, 0x80])
        .disk(0x42, "packet")
        .code(&[0xbe, BUFFER as u8, (BUFFER >> 8) as u8])
        .jump(&[0xe8], "print")
        .jump(&[0xe9], "off")
        .end()
        .label("hex")
        // push ax; shr al,4; call digit; pop ax; and al,0fh; digit: cmp al,10; jb +2; add al,7; add al,30h;
        // mov ah,0eh; mov bx,7; int 10h; ret
        .code(&[0x50, 0xc0, 0xe8, 0x04, 0xe8, 3, 0, 0x58, 0x24, 0x0f, 0x3c, 10, 0x72, 2, 0x04, 7, 0x04, 0x30])
        .code(&[0xb4, 0x0e, 0xbb, 7, 0, 0xcd, 0x10, 0xc3])
        .text("space", " ")
        .label("packet")
        .code(&packet)
        .sector()
}

/// Below and above what cylinders, heads and sectors can count (8 GiB), and above what 32 bits can (2 TiB).
pub(crate) fn sizes_of_disks() -> Result<(), String> {
    // CX: last cylinder and last sector; DX: last head, and drives. The last cylinder is kept back, as BIOSes do: of
    // 520 with 64 heads, and of the 1024 with 255 heads that are the most.
    for (size, geometry) in [(GIB, "06BF3F01"), (8 * GIB, "FEFFFE01"), (3 * TIB, "FEFFFE01")] {
        let sectors = size / SECTOR;
        let bench = Bench::new(&tells_sizes(sectors)?, "")?;
        let failed = |e: std::io::Error| e.to_string();
        let mut image = File::options().write(true).open(bench.path("disk.img")).map_err(failed)?;
        image.set_len(size).map_err(failed)?;
        image.seek(SeekFrom::Start(size - SECTOR)).map_err(failed)?;
        image.write_all(b"THE LAST SECTOR\r\n").map_err(failed)?;
        drop(image);
        let wanted = format!("{sectors:016X} {geometry} THE LAST SECTOR");
        bench.run("", &[]).finish()?.expect_code(0)?.expect_output(&wanted)?;
    }
    Ok(())
}

/// mov dx,3f8h; mov al,'~'; out dx,al
const SAY: [u8; 6] = [0xba, 0xf8, 0x03, 0xb0, b'~', 0xee];

/// Every byte below 1 MiB is overwritten, segment after segment: the BIOS, interrupt vectors, the code itself. Whatever
/// the processor does then, the machine can be ended.
pub(crate) fn a_boot_sector_that_writes_everywhere() -> Result<(), String> {
    // cli; mov ax,1000h; again: mov es,ax; xor di,di; mov cx,8000h; mov bx,ax; mov ax,0ffffh; cld; rep stosw;
    // mov ax,bx; add ax,1000h; jmp again
    let code =
        [0xfa, 0xb8, 0, 0x10, 0x8e, 0xc0, 0x31, 0xff, 0xb9, 0, 0x80, 0x89, 0xc3, 0xb8, 0xff, 0xff, 0xfc, 0xf3, 0xab];
    let sector = BootSector::new().code(&SAY).code(&code).code(&[0x89, 0xd8, 0x05, 0, 0x10, 0xeb, 0xea]).sector()?;
    match ended_after(&sector, b'~')? {
        // By the signal, or by a triple fault, or what KVM cannot go on with, before.
        Some(143 | 4 | 6) => Ok(()),
        code => Err(format!("{code:?}")),
    }
}

/// Runs the boot sector until it prints `byte`, then asks the machine to end; returns the exit code.
fn ended_after(sector: &[u8; 512], byte: u8) -> Result<Option<i32>, String> {
    let bench = Bench::new(sector, "")?;
    let mut child = bench.run("", &["--no-reboot"]).start()?;
    let output = child.stdout.take().ok_or("no output")?;
    let printed = BufReader::new(output).bytes().map_while(Result::ok).any(|seen| seen == byte);
    if !printed {
        return Err("it ended before it began".to_owned());
    }
    child.signal(Signal::TERM)?;
    Ok(child.wait().map_err(|e| e.to_string())?.code())
}

/// A machine whose boot sector does nothing, interrupts off, can still be ended.
pub(crate) fn a_boot_sector_that_loops() -> Result<(), String> {
    let sector = BootSector::new().code(&SAY).code(&[0xfa, 0xeb, 0xfe]).sector()?;
    match ended_after(&sector, b'~')? {
        Some(143) => Ok(()),
        code => Err(format!("{code:?}")),
    }
}
