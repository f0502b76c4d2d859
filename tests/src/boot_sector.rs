// SPDX-License-Identifier: Apache-2.0
//! Boot sectors of our own: real-mode code with labels, put together by hand.

use std::collections::BTreeMap;

/// Where a BIOS puts a boot sector.
pub(crate) const ORIGIN: u16 = 0x7c00;

/// How a label is meant where it is used.
#[derive(Clone, Copy)]
enum Use {
    Address,
    Relative,
}

/// Code under construction. Calls append; names are resolved at the end.
#[derive(Default)]
pub struct BootSector {
    bytes: Vec<u8>,
    labels: BTreeMap<&'static str, u16>,
    uses: Vec<(usize, &'static str, Use)>,
}

impl BootSector {
    /// Segments at 0, a stack below the code, interrupts on; DL is still the drive.
    pub fn new() -> Self {
        // cli; xor ax,ax; mov ds,ax; mov es,ax; mov ss,ax; mov sp,7c00h; sti; cld
        Self::empty().code(&[0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0, 0x7c, 0xfb, 0xfc])
    }

    /// Nothing yet.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Instructions as they are.
    pub fn code(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// An instruction whose last two bytes are the address of `name`.
    pub fn address(self, opcode: &[u8], name: &'static str) -> Self {
        self.using(opcode, name, Use::Address)
    }

    /// A jump or call whose last two bytes say how far `name` is.
    pub fn jump(self, opcode: &[u8], name: &'static str) -> Self {
        self.using(opcode, name, Use::Relative)
    }

    fn using(self, opcode: &[u8], name: &'static str, how: Use) -> Self {
        let mut this = self.code(opcode);
        this.uses.push((this.bytes.len(), name, how));
        this.code(&[0; 2])
    }

    /// `name` is here.
    pub fn label(mut self, name: &'static str) -> Self {
        self.labels.insert(name, self.bytes.len() as u16);
        self
    }

    /// Reads or writes (`function` 0x42 or 0x43) one sector by INT 13h, `packet` says which; to `failed` on an error.
    pub fn disk(self, function: u8, packet: &'static str) -> Self {
        // mov si, packet; mov ax, function << 8; int 13h; jc failed
        self.address(&[0xbe], packet).code(&[0xb8, 0, function, 0xcd, 0x13]).jump(&[0x0f, 0x82], "failed")
    }

    /// The disk address packet `name`: sector `lba`, memory at `to`.
    pub fn packet(self, name: &'static str, to: u16, lba: u8) -> Self {
        let [low, high] = to.to_le_bytes();
        self.label(name).code(&[16, 0, 1, 0, low, high, 0, 0, lba, 0, 0, 0, 0, 0, 0, 0])
    }

    /// Prints the text `name` by INT 10h. The sector needs [`Self::end`].
    pub fn print(self, name: &'static str) -> Self {
        self.address(&[0xbe], name).jump(&[0xe8], "print")
    }

    /// A text with an end that [`Self::print`] finds.
    pub fn text(self, name: &'static str, text: &str) -> Self {
        self.label(name).code(text.as_bytes()).code(&[0])
    }

    /// `off` switches the machine off by its ACPI port, `failed` says so before; `print` and `flush` are here too.
    pub fn end(self) -> Self {
        self.label("off")
            .jump(&[0xe8], "flush")
            // mov dx, 604h; mov ax, 3400h; out dx, ax; hlt
            .code(&[0xba, 0x04, 0x06, 0xb8, 0x00, 0x34, 0xef, 0xf4])
            .label("failed")
            .print("failure")
            .jump(&[0xe9], "off")
            .label("print")
            // push dx; next: lodsb; test al,al; jz done; mov ah,0eh; mov bx,7; int 10h; jmp next; done: pop dx; ret
            .code(&[0x52, 0xac, 0x84, 0xc0, 0x74, 0x09, 0xb4, 0x0e, 0xbb, 0x07, 0, 0xcd, 0x10, 0xeb, 0xf2, 0x5a, 0xc3])
            .label("flush")
            // The serial console writes what it keeps at the next tick of the clock: sti; hlt; hlt; hlt; ret
            .code(&[0xfb, 0xf4, 0xf4, 0xf4, 0xc3])
            .text("failure", "FAILED\r\n")
    }

    /// The sector with its signature.
    pub fn sector(self) -> Result<[u8; 512], String> {
        let bytes = self.resolved(ORIGIN)?;
        if bytes.len() > 510 {
            return Err(format!("a boot sector of {} bytes", bytes.len()));
        }
        let mut sector = [0; 512];
        sector[..bytes.len()].copy_from_slice(&bytes);
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        Ok(sector)
    }

    /// All bytes, for code that runs with its first byte at offset `origin` of its segments.
    pub fn resolved(mut self, origin: u16) -> Result<Vec<u8>, String> {
        for (at, name, how) in std::mem::take(&mut self.uses) {
            let label = *self.labels.get(name).ok_or_else(|| format!("there is no label {name}"))?;
            let value = match how {
                Use::Address => origin + label,
                Use::Relative => label.wrapping_sub(at as u16 + 2),
            };
            self.bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        Ok(self.bytes)
    }
}
