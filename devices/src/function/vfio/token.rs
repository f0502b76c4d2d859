// SPDX-License-Identifier: Apache-2.0
//! VF tokens: the UUID that the user of a PF and the users of its VFs share (Linux,
//! `vfio_pci_validate_vf_token` in drivers/vfio/pci/vfio_pci_core.c). Pure.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A UUID, in the order of its text (`uuid_t` of the kernel).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VfToken([u8; 16]);

/// Not a UUID.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("not a UUID: a VF token looks like bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3; make one with: uuidgen")]
pub struct TokenError;

impl VfToken {
    /// A token of these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, in the order of the text.
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Where hyphens are, by byte: 8-4-4-4-12 digits.
const HYPHEN_BEFORE: [usize; 4] = [4, 6, 8, 10];

impl FromStr for VfToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut digits = text.bytes();
        let mut bytes = [0; 16];
        for (index, byte) in bytes.iter_mut().enumerate() {
            if HYPHEN_BEFORE.contains(&index) && digits.next() != Some(b'-') {
                return Err(TokenError);
            }
            for _ in 0..2 {
                let digit = digits.next().and_then(|d| char::from(d).to_digit(16)).ok_or(TokenError)?;
                *byte = (*byte << 4) | digit as u8;
            }
        }
        if digits.next().is_some() { Err(TokenError) } else { Ok(Self(bytes)) }
    }
}

impl fmt::Display for VfToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if HYPHEN_BEFORE.contains(&index) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// Whoever knows the token may open the VFs: it stays out of logs.
impl fmt::Debug for VfToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VfToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_in_any_case() {
        let token: VfToken = "BD8D9D2B-5a5f-4f5a-a211-f591514ba1f3".parse().unwrap();
        assert_eq!(token.bytes()[..5], [0xbd, 0x8d, 0x9d, 0x2b, 0x5a]);
        assert_eq!(token.bytes()[15], 0xf3);
        assert_eq!(token.to_string(), "bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3");
        assert!(!format!("{token:?}").contains("bd8d"));
    }

    #[test]
    fn what_is_no_uuid() {
        let wrong = [
            "",
            "bd8d9d2b5a5f4f5aa211f591514ba1f3",
            "bd8d9d2b-5a5f-4f5a-a211-f591514ba1f",
            "+d8d9d2b-5a5f-4f5a-a211-f591514ba1f3",
            "bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3 ",
            "bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3\0",
            "gd8d9d2b-5a5f-4f5a-a211-f591514ba1f3",
        ];
        for text in wrong {
            assert!(text.parse::<VfToken>().is_err(), "{text:?}");
        }
    }
}
