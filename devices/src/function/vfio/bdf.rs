// SPDX-License-Identifier: Apache-2.0
//! The address of a PCI function on the host, in the form of sysfs. Pure.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Domain, bus, device and function, such as `0000:41:00.3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bdf {
    /// PCI domain (segment); wider than 16 bits for controllers behind VMD.
    pub domain: u32,
    /// Bus, 0 to 255.
    pub bus: u8,
    /// Device, 0 to 31.
    pub device: u8,
    /// Function, 0 to 7.
    pub function: u8,
}

/// Not the address of a PCI function.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "{0:?} is not a PCI address; it looks like 0000:41:00.3 (domain:bus:device.function, hexadecimal), see lspci -D"
)]
pub struct BdfError(String);

impl fmt::Display for Bdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.device, self.function)
    }
}

impl FromStr for Bdf {
    type Err = BdfError;

    /// Takes `0000:41:00.3`, and `41:00.3` for domain 0.
    fn from_str(text: &str) -> Result<Self, BdfError> {
        parse(text).ok_or_else(|| BdfError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Bdf> {
    let (place, function) = text.split_once('.')?;
    let (bus, device) = place.rsplit_once(':')?;
    let (domain, bus) = bus.rsplit_once(':').unwrap_or(("0000", bus));
    let bdf = Bdf {
        domain: hex(domain, 4..=8)?,
        bus: u8::try_from(hex(bus, 2..=2)?).ok()?,
        device: u8::try_from(hex(device, 2..=2)?).ok().filter(|d| *d < 32)?,
        function: u8::try_from(hex(function, 1..=1)?).ok().filter(|f| *f < 8)?,
    };
    Some(bdf)
}

/// `from_str_radix` alone would take a sign.
fn hex(digits: &str, len: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let good = len.contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if good { u32::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in ["0000:41:00.3", "0000:00:1f.7", "10000:e1:00.0", "ffff:ff:00.0"] {
            assert_eq!(text.parse::<Bdf>().unwrap().to_string(), text);
        }
        assert_eq!("41:00.3".parse::<Bdf>().unwrap().to_string(), "0000:41:00.3");
        assert_eq!("0000:AB:0c.1".parse::<Bdf>().unwrap().bus, 0xab);
    }

    #[test]
    fn refuses_what_is_no_address() {
        let wrong = [
            "",
            "41:00",
            "0000:41:00",
            "0000:41:20.0",
            "0000:41:00.8",
            "0000:41:0.0",
            "000:41:00.0",
            "0000:4:00.0",
            "0000:41:00.3 ",
            "+000:41:00.3",
            "0000:41:00.3/..",
            "../0000:41:00.3",
            "0000:0000:41:00.3",
            "0000:41:00.33",
        ];
        for text in wrong {
            assert!(text.parse::<Bdf>().is_err(), "{text:?}");
        }
    }
}
