// SPDX-License-Identifier: Apache-2.0
//! Port 0x402: where SeaBIOS and others write what they do, a character at a time. A read of 0xe9 tells them that
//! somebody listens (SeaBIOS, src/hw/serialio.c); without this device they are silent.

use std::sync::{Mutex, PoisonError};

use super::bytewise;
use crate::bus::{Access, Effect, IoDevice};

/// Number of ports.
pub const PORTS: u64 = 1;
/// What a read gives.
const PRESENT: u8 = 0xe9;
/// Longest line that is kept together, in bytes: what comes in is the guest's.
const MAX_LINE: usize = 512;

/// Gathers lines and hands them on.
pub struct FirmwareLog {
    line: Mutex<Vec<u8>>,
    sink: Box<dyn Fn(&str) + Send + Sync>,
}

impl FirmwareLog {
    /// `sink` gets each line, without its end. Characters that are not printable ASCII are escaped.
    pub fn new(sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { line: Mutex::default(), sink: Box::new(sink) }
    }

    fn take(&self, byte: u8) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        match byte {
            b'\r' => return,
            b'\n' => {}
            byte => {
                line.push(byte);
                if line.len() < MAX_LINE {
                    return;
                }
            }
        }
        let whole = std::mem::take(&mut *line);
        drop(line);
        (self.sink)(&whole.escape_ascii().to_string());
    }
}

impl IoDevice for FirmwareLog {
    fn name(&self) -> &str {
        "firmware-log"
    }
    fn read(&self, access: Access) -> u64 {
        bytewise::read(access, |_| PRESENT)
    }
    fn write(&self, access: Access, value: u64) -> Effect {
        bytewise::write(access, value, |_, byte| {
            self.take(byte);
            Effect::None
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::bus::Width;

    #[test]
    fn lines_come_out_whole_and_harmless() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let log = FirmwareLog::new({
            let lines = lines.clone();
            move |line: &str| lines.lock().unwrap().push(line.to_owned())
        });
        let access = Access { offset: 0, width: Width::B1, vcpu: 0 };
        assert_eq!(log.read(access), 0xe9);
        for byte in b"SeaBIOS\r\n\x1b[2J\nhalf" {
            assert_eq!(log.write(access, (*byte).into()), Effect::None);
        }
        assert_eq!(*lines.lock().unwrap(), ["SeaBIOS", "\\x1b[2J"]);
        for _ in 0..MAX_LINE {
            let _ = log.write(access, b'x'.into());
        }
        assert_eq!(lines.lock().unwrap()[2].len(), MAX_LINE, "a line without end is cut");
    }
}
