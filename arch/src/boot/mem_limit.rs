// SPDX-License-Identifier: Apache-2.0
//! What the command line leaves of memory. `mem=` is an option to the boot loader as well (boot.rst, "Special
//! command line options"): an initrd above that end is lost. Pure.

/// End of the memory that a kernel with this command line uses, exclusive; `u64::MAX` if nothing limits it.
///
/// `mem=N` and `memmap=N` end memory at address N, and the least counts. `mem=exactmap` (2.4) or
/// `memmap=exactmap` (2.6) replaces the whole map by regions `N@START`. All else that begins so, such as
/// `mem=nopentium` or `memmap=N$START`, says nothing of the end.
pub(super) fn of(cmdline: &str) -> u64 {
    let (mut end, mut exact, mut regions_end) = (u64::MAX, false, 0);
    // Quotes are for values with blanks; kernels take them off.
    let words = cmdline.split_ascii_whitespace().map(|word| word.trim_matches('"'));
    for value in words.filter_map(|word| word.strip_prefix("mem=").or_else(|| word.strip_prefix("memmap="))) {
        // Since 3.x one memmap= has several regions with commas.
        for part in value.trim_matches('"').split(',') {
            match part.split_once('@') {
                _ if part == "exactmap" => exact = true,
                Some((size, start)) => {
                    let region = size_of(size).zip(size_of(start)).and_then(|(size, start)| size.checked_add(start));
                    regions_end = region.unwrap_or(0).max(regions_end);
                }
                None => end = size_of(part).filter(|size| *size > 0).unwrap_or(u64::MAX).min(end),
            }
        }
    }
    if exact && regions_end > 0 { end.min(regions_end) } else { end }
}

/// A number as the kernel's `memparse` reads it: decimal, `0x` hexadecimal, `0` octal, with K, M, G or T
/// behind it in either case.
fn size_of(text: &str) -> Option<u64> {
    let (number, unit) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (&text[..at], 1 << 10),
        (at, 'm' | 'M') => (&text[..at], 1 << 20),
        (at, 'g' | 'G') => (&text[..at], 1 << 30),
        (at, 't' | 'T') => (&text[..at], 1 << 40),
        _ => (text, 1),
    };
    let (digits, radix) = match number.strip_prefix("0x").or_else(|| number.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if number.len() > 1 && number.starts_with('0') => (&number[1..], 8),
        None => (number, 10),
    };
    // Without this, a sign would be a number's.
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()?.checked_mul(unit)
}

#[cfg(test)]
#[path = "mem_limit_tests.rs"]
mod tests;
