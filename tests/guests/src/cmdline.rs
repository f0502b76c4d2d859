// SPDX-License-Identifier: Apache-2.0
//! The kernel command line.

/// The command line that the VMM left in memory.
pub struct Cmdline {
    text: &'static str,
}

impl Cmdline {
    /// Finds the command line through `cmd_line_ptr` of the zero page.
    ///
    /// # Safety
    /// `zero_page` must be the address of a zero page as the Linux boot protocol describes it.
    pub unsafe fn from_zero_page(zero_page: usize) -> Self {
        // SAFETY: offset 0x228 of a zero page is cmd_line_ptr.
        let pointer = unsafe { core::ptr::read_unaligned((zero_page + 0x228) as *const u32) } as *const u8;
        let mut length = 0;
        // SAFETY: the protocol ends the command line with a zero byte; 2048 bounds a broken one.
        while length < 2048 && unsafe { *pointer.add(length) } != 0 {
            length += 1;
        }
        // SAFETY: these bytes were just read.
        let bytes = unsafe { core::slice::from_raw_parts(pointer, length) };
        Self { text: core::str::from_utf8(bytes).unwrap_or("") }
    }

    /// The value of `key=value`.
    pub fn value(&self, key: &str) -> Option<&'static str> {
        self.text.split_ascii_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// A number, or `default` where there is none.
    pub fn number(&self, key: &str, default: u32) -> u32 {
        self.value(key).and_then(|v| v.parse().ok()).unwrap_or(default)
    }
}
