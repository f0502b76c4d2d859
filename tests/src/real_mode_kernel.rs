// SPDX-License-Identifier: Apache-2.0
//! A bzImage whose setup code does all: it says which command line it got, prints the start of its initial RAM disk,
//! which lies above 1 MiB, and switches the machine off. For boot loaders, which enter a kernel there.

use crate::BootSector;

/// Where the loaders put the header in the file (Linux boot protocol, "The real-mode kernel header").
const HEADER: usize = 0x1f1;
/// The setup code's first byte, and the file offset that its labels count from.
const SETUP: u16 = 0x200;
const SETUP_SECTORS: u8 = 4;

/// The image.
///
/// # Errors
/// A mistake in the code below.
pub fn real_mode_kernel() -> Result<Vec<u8>, String> {
    let code = BootSector::empty()
        .code(&[0xeb, 0x3e]) // jump over the header
        .code(&[0; 0x3e])
        // mov ax,cs; sub ax,20h; mov ds,ax; mov es,ax; cld: the segments of the whole image
        .code(&[0x8c, 0xc8, 0x2d, 0x20, 0x00, 0x8e, 0xd8, 0x8e, 0xc0, 0xfc])
        .print("kernel")
        // mov eax,[228h]; mov bx,ax; and bx,15; shr eax,4; push ds; mov ds,ax; mov si,bx
        .code(&[
            0x66, 0xa1, 0x28, 0x02, 0x89, 0xc3, 0x83, 0xe3, 0x0f, 0x66, 0xc1, 0xe8, 0x04, 0x1e, 0x8e, 0xd8, 0x89, 0xde,
        ])
        .jump(&[0xe8], "print")
        .code(&[0x1f]) // pop ds
        .print("line")
        // mov eax,[218h]; the source's base
        .code(&[0x66, 0xa1, 0x18, 0x02])
        .address(&[0xbf], "source")
        .jump(&[0xe8], "base")
        // xor eax,eax; mov ax,ds; shl eax,4; add ax,4000h: the buffer's
        .code(&[0x66, 0x31, 0xc0, 0x8c, 0xd8, 0x66, 0xc1, 0xe0, 0x04, 0x66, 0x05, 0x00, 0x40, 0x00, 0x00])
        .address(&[0xbf], "buffer")
        .jump(&[0xe8], "base")
        // mov cx,32; mov ah,87h; int 15h
        .address(&[0xbe], "gdt")
        .code(&[0xb9, 0x20, 0x00, 0xb4, 0x87, 0xcd, 0x15])
        .jump(&[0x0f, 0x82], "failed")
        .print("initrd")
        .code(&[0xbe, 0x00, 0x40]) // mov si,4000h
        .jump(&[0xe8], "print")
        .print("line")
        .jump(&[0xe9], "off")
        // mov [di+2],ax; shr eax,16; mov [di+4],al; mov [di+7],ah; ret
        .label("base")
        .code(&[0x89, 0x45, 0x02, 0x66, 0xc1, 0xe8, 0x10, 0x88, 0x45, 0x04, 0x88, 0x65, 0x07, 0xc3])
        .end()
        .text("kernel", "KERNEL ")
        .text("initrd", "INITRD ")
        .text("line", "\r\n")
        .label("gdt")
        .code(&[0; 16])
        .label("source")
        .code(&[0xff, 0xff, 0, 0, 0, 0x93, 0, 0])
        .label("buffer")
        .code(&[0xff, 0xff, 0, 0, 0, 0x93, 0, 0])
        .code(&[0; 16])
        .resolved(SETUP)?;
    let start = usize::from(SETUP);
    let mut image = vec![0; start + usize::from(SETUP_SECTORS) * 512 + 0x1_0000];
    image[start..start + code.len()].copy_from_slice(&code);
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(HEADER, &[SETUP_SECTORS]);
    put(0x1f4, &0x1000_u32.to_le_bytes()); // size of the protected-mode part, in paragraphs
    put(0x1fe, &[0x55, 0xaa]);
    put(0x202, b"HdrS");
    put(0x206, &0x0203_u16.to_le_bytes());
    put(0x211, &[0x81]); // loaded high, with a heap
    put(0x214, &0x10_0000_u32.to_le_bytes());
    put(0x224, &0x8000_u16.to_le_bytes());
    put(0x22c, &0x37ff_ffff_u32.to_le_bytes());
    Ok(image)
}
