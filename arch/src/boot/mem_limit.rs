// SPDX-License-Identifier: Apache-2.0
//! What the command line leaves of memory. `mem=` is an option to the boot loader as well (boot.rst, "Special
//! command line options"): an initrd above that end is lost. Pure.

/// End of the memory that a kernel with this command line uses, exclusive; `u64::MAX` if nothing limits it.
///
/// `mem=N` and `memmap=N` end memory at address N, and the least counts. `mem=exactmap` (2.4) or
/// `memmap=exactmap` (2.6) replaces the whole map by regions `N@START`. Without it, `mem=N@START` is a region of the only
/// ones for 2.4 and the same as `mem=N` for later kernels: the largest N is memory for both. All else that begins so, such
/// as `mem=nopentium` or `memmap=N$START`, says nothing of the end.
pub(super) fn of(cmdline: &str) -> u64 {
    let (mut end, mut exact, mut regions_end, mut largest) = (u64::MAX, false, 0, None);
    // Quotes are for values with blanks; kernels take them off.
    for word in cmdline.split_ascii_whitespace().map(|word| word.trim_matches('"')) {
        let (is_map, value) = match (word.strip_prefix("memmap="), word.strip_prefix("mem=")) {
            (Some(value), _) => (true, value),
            (None, Some(value)) => (false, value),
            (None, None) => continue,
        };
        // Since 3.13 one memmap= has several regions with commas.
        for part in value.trim_matches('"').split(',') {
            exact |= part.starts_with("exactmap");
            let Some((size, rest)) = number(part).filter(|(size, _)| *size > 0) else { continue };
            match rest.chars().next() {
                Some('@') => {
                    let start = number(&rest[1..]).map_or(0, |(start, _)| start);
                    regions_end = size.saturating_add(start).max(regions_end);
                    if !is_map {
                        largest = largest.max(Some(size));
                    }
                }
                Some('#' | '$' | '!' | '%') if is_map => {}
                _ => end = end.min(size),
            }
        }
    }
    if exact && regions_end > 0 { end.min(regions_end) } else { end.min(largest.unwrap_or(u64::MAX)) }
}

/// A number at the beginning, as the kernel's `memparse` reads it (lib/cmdline.c), and what follows: decimal, `0x`
/// hexadecimal, `0` octal, with K, M, G, T, P or E behind it in either case. `None` if there is none, or it has more than
/// 64 bits.
fn number(text: &str) -> Option<(u64, &str)> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match hexadecimal.filter(|rest| rest.starts_with(|c: char| c.is_ascii_hexdigit())) {
        Some(digits) => (digits, 16),
        None => (text, if text.starts_with('0') { 8 } else { 10 }),
    };
    let (number, rest) = digits.split_at(digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len()));
    let number = u64::from_str_radix(number, radix).ok()?;
    let unit = rest.chars().next().and_then(|unit| "KMGTPE".find(unit.to_ascii_uppercase()));
    match unit {
        Some(power) => Some((number.checked_mul(1 << (10 * (power + 1)))?, &rest[1..])),
        None => Some((number, rest)),
    }
}

#[cfg(test)]
#[path = "mem_limit_tests.rs"]
mod tests;
