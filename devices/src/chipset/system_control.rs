// SPDX-License-Identifier: Apache-2.0
//! Port 0x92, "system control port A" of the PS/2: address line 20 and a reset that is quicker than the keyboard
//! controller's.
//!
//! Address line 20 is open, whatever is written: loaders close it by no other way either, see [`super::i8042`]. They
//! write back what they read with bit 1 set, so bit 0 reads as 0, and only its rise resets.
//!
//! Source: IBM PS/2 Hardware Interface Technical Reference, "System control port A"; arch/x86/boot/a20.c of Linux.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::bus::{Access, Effect, IoDevice};
use crate::contract::{Saved, StateError};

/// Number of ports.
pub const PORTS: u64 = 1;

/// Resets the processor when it rises.
const RESET: u8 = 1 << 0;
/// Address line 20 is open.
const A20: u8 = 1 << 1;

/// The port; its state is the byte that was written last.
#[derive(Debug)]
pub struct SystemControl(AtomicU8);

impl Default for SystemControl {
    /// As firmware leaves it.
    fn default() -> Self {
        Self(AtomicU8::new(A20))
    }
}

/// The byte that was written last.
impl Saved for SystemControl {
    type State = u8;

    fn state(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }

    fn set_state(&self, written: u8) -> Result<(), StateError> {
        self.0.store(written, Ordering::Relaxed);
        Ok(())
    }
}

impl IoDevice for SystemControl {
    fn name(&self) -> &str {
        "system-control"
    }

    fn read(&self, _: Access) -> u64 {
        (self.0.load(Ordering::Relaxed) & !RESET).into()
    }

    fn write(&self, _: Access, value: u64) -> Effect {
        let before = self.0.swap(value as u8, Ordering::Relaxed);
        if value as u8 & !before & RESET != 0 { Effect::Reset } else { Effect::None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Width;

    const ACCESS: Access = Access { offset: 0, width: Width::B1, vcpu: 0 };

    /// `enable_a20_fast` of Linux, and a loader that writes back what it read.
    #[test]
    fn p7_address_line_20_is_kept_and_resets_nothing() {
        let port = SystemControl::default();
        assert_eq!(port.read(ACCESS), 0x02);
        assert_eq!(port.write(ACCESS, 0x00), Effect::None);
        assert_eq!(port.read(ACCESS), 0x00);
        let value = port.read(ACCESS) & !1 | 2;
        assert_eq!(port.write(ACCESS, value), Effect::None);
        assert_eq!(port.read(ACCESS), 0x02);
    }

    #[test]
    fn p7_bit_0_resets_when_it_rises() {
        let port = SystemControl::default();
        assert_eq!(port.write(ACCESS, 0x03), Effect::Reset);
        assert_eq!(port.read(ACCESS), 0x02, "reads as 0");
        assert_eq!(port.write(ACCESS, 0x03), Effect::None, "it is high already");
        assert_eq!(port.write(ACCESS, 0x02), Effect::None);
        assert_eq!(port.write(ACCESS, 0x01), Effect::Reset);
    }
}
