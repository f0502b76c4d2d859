// SPDX-License-Identifier: Apache-2.0
//! The register file in the I/O BAR, and how the device interrupts.

use super::ring::Ring;
use crate::interrupts;
use crate::pci::{self, Function};
use crate::port::{inb, inl, inw, outb, outl, outw};

pub const ACKNOWLEDGE: u8 = 1;
pub const DRIVER: u8 = 2;
pub const DRIVER_OK: u8 = 4;

/// How a device is to interrupt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Interrupts {
    /// INTx through the PICs.
    Pic,
    /// INTx through the I/O APIC.
    IoApic,
    /// One MSI-X vector for each queue.
    Msix,
    /// None: the driver looks at the used ring.
    Polled,
}

/// A legacy virtio device.
pub struct Transport {
    pub function: Function,
    pub interrupts: Interrupts,
    /// First interrupt vector with MSI-X.
    first_vector: u8,
}

impl Transport {
    /// Finds the `index`-th device of a type, resets it and says hello to it.
    pub fn open(device_type: u16, index: usize, interrupts: Interrupts) -> Result<Self, &'static str> {
        let function = Function::find(device_type, index).ok_or("no such device")?;
        // Memory too: the MSI-X table is there. Bus mastering is left off on purpose, as drivers
        // before Linux 2.6.34 do.
        function.set_command(pci::COMMAND_IO | pci::COMMAND_MEMORY);
        let this = Self { function, interrupts, first_vector: interrupts::APIC_BASE + index as u8 * 4 };
        this.reset();
        if this.status() != 0 {
            return Err("status is not 0 after a reset");
        }
        this.set_status(ACKNOWLEDGE);
        this.set_status(ACKNOWLEDGE | DRIVER);
        this.set_up_interrupts()?;
        Ok(this)
    }

    fn set_up_interrupts(&self) -> Result<(), &'static str> {
        let line = self.function.read8(0x3c);
        match self.interrupts {
            Interrupts::Polled => {}
            Interrupts::Pic | Interrupts::IoApic => {
                if self.function.read8(0x3d) != 1 {
                    return Err("the device has no INTA");
                }
                interrupts::acknowledge_at(self.port(19));
                if self.interrupts == Interrupts::Pic {
                    interrupts::unmask_pic(line);
                } else {
                    interrupts::unmask_ioapic(line);
                }
            }
            Interrupts::Msix => {
                for queue in 0..2u8 {
                    self.function.set_msix_vector(queue.into(), self.first_vector + queue).ok_or("no MSI-X")?;
                }
                self.function.enable_msix(true).ok_or("no MSI-X")?;
            }
        }
        Ok(())
    }

    /// Port of a register. Read afresh each time: the BAR may move.
    pub fn port(&self, offset: u16) -> u16 {
        self.function.io_base() + offset
    }

    pub fn reset(&self) {
        self.set_status(0);
    }
    pub fn status(&self) -> u8 {
        inb(self.port(18))
    }
    pub fn set_status(&self, value: u8) {
        outb(self.port(18), value);
    }
    pub fn features(&self) -> u32 {
        inl(self.port(0))
    }
    pub fn set_features(&self, value: u32) {
        outl(self.port(4), value);
    }

    /// Reads device configuration, one byte at a time as Linux does.
    pub fn config(&self, offset: u16) -> u8 {
        let start = if self.interrupts == Interrupts::Msix { 24 } else { 20 };
        inb(self.port(start + offset))
    }

    /// Sets up queue `index` on `ring` and gives it an interrupt.
    pub fn set_up_queue(&self, index: u16, ring: &mut Ring) -> Result<(), &'static str> {
        outw(self.port(14), index);
        let size = inw(self.port(12));
        if inl(self.port(8)) != 0 {
            return Err("the queue is in use after a reset");
        }
        ring.set_size(size)?;
        outl(self.port(8), ring.frame_number());
        if inl(self.port(8)) != ring.frame_number() {
            return Err("the queue's address does not read back");
        }
        if self.interrupts == Interrupts::Msix {
            outw(self.port(22), index);
            if inw(self.port(22)) != index {
                return Err("the queue's vector was refused");
            }
        }
        Ok(())
    }

    /// Puts queue `index` at a page, whatever is there; 0 takes it away.
    pub fn set_queue_frame(&self, index: u16, frame: u32) {
        outw(self.port(14), index);
        outl(self.port(8), frame);
    }

    /// Tells the device to look at a queue.
    pub fn kick(&self, queue: u16) {
        outw(self.port(16), queue);
    }

    /// Interrupts taken so far for `queue`.
    pub fn interrupt_count(&self, queue: u8) -> u32 {
        match self.interrupts {
            Interrupts::Polled => 0,
            Interrupts::Pic => interrupts::count(interrupts::PIC_BASE + self.function.read8(0x3c)),
            Interrupts::IoApic => interrupts::count(interrupts::APIC_BASE + 15),
            Interrupts::Msix => interrupts::count(self.first_vector + queue),
        }
    }

    /// Waits until `done`, halted where there are interrupts to wake us.
    pub fn wait(&self, done: impl FnMut() -> bool) -> Result<(), &'static str> {
        if self.interrupts != Interrupts::Polled {
            interrupts::wait_until(done);
            return Ok(());
        }
        Self::poll(200_000, done)
    }

    /// Waits no longer than a device takes that works at all.
    pub fn wait_briefly(&self, done: impl FnMut() -> bool) -> Result<(), &'static str> {
        Self::poll(5_000, done)
    }

    /// Each turn is a port read, so that the device gets to run where there is one processor.
    fn poll(turns: u32, mut done: impl FnMut() -> bool) -> Result<(), &'static str> {
        for _ in 0..turns {
            if done() {
                return Ok(());
            }
            inb(0x80);
        }
        Err("the device did not finish a request")
    }
}
