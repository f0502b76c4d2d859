// SPDX-License-Identifier: Apache-2.0
//! Port 0x80: firmware leaves progress codes there, and Linux writes to it to pass a microsecond.

use std::sync::atomic::{AtomicU8, Ordering};

use super::bytewise;
use crate::bus::{Access, Effect, IoDevice};
use crate::contract::{Saved, StateError};

/// Number of ports.
pub const PORTS: u64 = 1;

/// Remembers the last code.
#[derive(Debug, Default)]
pub struct DebugPort(AtomicU8);

impl DebugPort {
    /// The last code written; 0 before.
    pub fn code(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The last code.
impl Saved for DebugPort {
    type State = u8;

    fn state(&self) -> u8 {
        self.code()
    }

    fn set_state(&self, code: u8) -> Result<(), StateError> {
        self.0.store(code, Ordering::Relaxed);
        Ok(())
    }
}

impl IoDevice for DebugPort {
    fn name(&self) -> &str {
        "debug-port"
    }
    fn read(&self, access: Access) -> u64 {
        bytewise::read(access, |offset| if offset == 0 { self.code() } else { 0xff })
    }
    fn write(&self, access: Access, value: u64) -> Effect {
        bytewise::write(access, value, |offset, code| {
            if offset == 0 {
                self.0.store(code, Ordering::Relaxed);
            }
            Effect::None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Width;

    #[test]
    fn keeps_the_last_code() {
        let port = DebugPort::default();
        let access = |width| Access { offset: 0, width, vcpu: 0 };
        assert_eq!(port.write(access(Width::B1), 0x5a), Effect::None);
        assert_eq!((port.code(), port.read(access(Width::B1))), (0x5a, 0x5a));
        let _ = port.write(access(Width::B2), 0x1234);
        assert_eq!(port.code(), 0x34, "the byte for port 0x81 is not ours");
    }
}
