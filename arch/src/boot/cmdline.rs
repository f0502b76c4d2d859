// SPDX-License-Identifier: Apache-2.0
//! The kernel command line: its limit by boot protocol, and its place in guest memory.

use vm_memory::{Address, Bytes, GuestMemoryBackend};

use super::{BootError, CmdlineError};
use crate::layout;

/// Limit of kernels before boot protocol 2.06, without terminator.
const OLD_LIMIT: usize = 255;
/// `COMMAND_LINE_SIZE` of x86 is 2048 with terminator; a `vmlinux` has no header that says so.
pub(super) const ELF_LIMIT: usize = 2047;

/// Longest command line without terminator; `cmdline_size` is the header field, 2.06 and later.
pub(super) fn limit(version: u16, cmdline_size: u32) -> usize {
    if version < 0x206 || cmdline_size == 0 {
        return OLD_LIMIT;
    }
    (cmdline_size as usize).min(layout::CMDLINE_ROOM - 1)
}

/// Writes the command line and its terminator to [`layout::CMDLINE`].
pub(super) fn write<M: GuestMemoryBackend>(mem: &M, cmdline: &str, max: usize) -> Result<(), BootError> {
    if cmdline.len() > max {
        return Err(CmdlineError::TooLong { actual: cmdline.len(), max }.into());
    }
    if cmdline.contains('\0') {
        return Err(CmdlineError::Nul.into());
    }
    mem.write_slice(cmdline.as_bytes(), layout::CMDLINE)?;
    mem.write_obj(0u8, layout::CMDLINE.unchecked_add(cmdline.len() as u64))?;
    Ok(())
}
