// SPDX-License-Identifier: Apache-2.0
//! Sizes as people write them: `512M`, `4G`, `1048576`.

use thiserror::Error;

/// Why a text is not a size.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SizeError {
    /// Not digits with an optional suffix.
    #[error(
        "'{0}' is not a size: write a whole number of bytes, or one with the suffix K, M, G or T (powers of 1024), such as 512M"
    )]
    Malformed(String),
    /// More than 64 bits.
    #[error("'{0}' is more than 2^64 bytes")]
    TooLarge(String),
}

/// Bytes in `text`: a decimal number, with an optional K, M, G or T (either case, `iB` may follow).
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let malformed = || SizeError::Malformed(text.to_owned());
    let trimmed = text.trim();
    let digits_end = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (digits, suffix) = trimmed.split_at(digits_end);
    let shift = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err(malformed()),
    };
    if digits.is_empty() {
        return Err(malformed());
    }
    let too_large = || SizeError::TooLarge(text.to_owned());
    let number: u64 = digits.parse().map_err(|_| too_large())?;
    number.checked_mul(1 << shift).ok_or_else(too_large)
}

/// The shortest exact form: `512M` for 536870912, plain bytes where no suffix divides it.
pub fn format_size(bytes: u64) -> String {
    [("T", 40), ("G", 30), ("M", 20), ("K", 10)]
        .into_iter()
        .find(|(_, shift)| bytes != 0 && bytes.trailing_zeros() >= *shift)
        .map_or_else(|| bytes.to_string(), |(suffix, shift)| format!("{}{suffix}", bytes >> shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("512M", 512 << 20),
            ("512m", 512 << 20),
            ("4G", 4 << 30),
            ("4GiB", 4 << 30),
            ("1t", 1 << 40),
            ("7K", 7 << 10),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_says_so() {
        for text in ["", "M", "-1", "1.5G", "12X", "0x100", "1 G2"] {
            assert!(matches!(parse_size(text), Err(SizeError::Malformed(_))), "{text}");
        }
        for text in ["99999999999999999999", "99999999T"] {
            assert!(matches!(parse_size(text), Err(SizeError::TooLarge(_))), "{text}");
        }
    }

    #[test]
    fn formatting_loses_nothing() {
        for bytes in [0, 1, 1023, 1024, 1536 << 20, 3 << 30, u64::MAX] {
            assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }
        assert_eq!(format_size(512 << 20), "512M");
    }
}
