// SPDX-License-Identifier: Apache-2.0
//! PCI by configuration mechanism 1.

use crate::port::{inb, inl, inw, outl, outw};

/// COMMAND register bits.
pub const COMMAND_IO: u16 = 1;
pub const COMMAND_MEMORY: u16 = 1 << 1;

/// A function on bus 0.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Function {
    slot: u8,
}

impl Function {
    /// The `index`-th transitional virtio function whose subsystem id is the virtio `device_type`.
    pub fn find(device_type: u16, index: usize) -> Option<Self> {
        (0..32)
            .map(|slot| Self { slot })
            .filter(|f| {
                f.read16(0) == 0x1af4 && (0x1000..0x1040).contains(&f.read16(2)) && f.read16(0x2e) == device_type
            })
            .nth(index)
    }

    fn select(self, offset: u8) -> u16 {
        outl(0xcf8, 1 << 31 | u32::from(self.slot) << 11 | u32::from(offset & 0xfc));
        0xcfc + u16::from(offset & 3)
    }

    pub fn read8(self, offset: u8) -> u8 {
        inb(self.select(offset))
    }
    pub fn read16(self, offset: u8) -> u16 {
        inw(self.select(offset))
    }
    pub fn read32(self, offset: u8) -> u32 {
        inl(self.select(offset))
    }
    pub fn write16(self, offset: u8, value: u16) {
        outw(self.select(offset), value);
    }
    pub fn write32(self, offset: u8, value: u32) {
        outl(self.select(offset), value);
    }

    pub fn command(self) -> u16 {
        self.read16(4)
    }
    pub fn set_command(self, value: u16) {
        self.write16(4, value);
    }

    /// Base of the I/O BAR.
    pub fn io_base(self) -> u16 {
        (self.read32(0x10) & 0xfffc) as u16
    }
    /// Moves the I/O BAR.
    pub fn set_io_base(self, base: u16) {
        self.write32(0x10, u32::from(base));
    }

    /// Offset of the capability `id`.
    pub fn capability(self, id: u8) -> Option<u8> {
        let mut at = self.read8(0x34);
        for _ in 0..48 {
            if at < 0x40 {
                return None;
            }
            if self.read8(at) == id {
                return Some(at);
            }
            at = self.read8(at + 1);
        }
        None
    }

    /// Address of a memory BAR.
    pub fn memory_base(self, bar: u8) -> usize {
        let register = 0x10 + bar * 4;
        let low = self.read32(register);
        let high = if low & 6 == 4 { self.read32(register + 4) } else { 0 };
        (u64::from(high) << 32 | u64::from(low & !0xf)) as usize
    }

    /// Sets MSI-X vector `index` to interrupt `vector` on the boot processor, unmasked.
    pub fn set_msix_vector(self, index: u16, vector: u8) -> Option<()> {
        let capability = self.capability(0x11)?;
        let table = self.read32(capability + 4);
        let entry = self.memory_base((table & 7) as u8) + (table & !7) as usize + usize::from(index) * 16;
        for (word, value) in [0xfee0_0000, 0, u32::from(vector), 0].into_iter().enumerate() {
            // SAFETY: the MSI-X table of this function, in a BAR that is identity-mapped below 4 GiB.
            unsafe { core::ptr::write_volatile((entry + word * 4) as *mut u32, value) };
        }
        Some(())
    }

    /// Switches MSI-X.
    pub fn enable_msix(self, on: bool) -> Option<()> {
        let control = self.capability(0x11)? + 2;
        let value = self.read16(control) & !(1 << 14);
        self.write16(control, if on { value | 1 << 15 } else { value & !(1 << 15) });
        Some(())
    }
}
