// SPDX-License-Identifier: Apache-2.0
//! Reports at exit: where they go, and in which form. Their content is [`vmm::report`]'s, or a server's.

mod target;
mod text;

use std::io;

use vmm::report::Report;

pub(crate) use self::target::{ReportFormat, ReportTarget};

/// Writes what the guest's devices did where it is wanted.
///
/// # Errors
/// When that place cannot be written.
pub(crate) fn write(report: &Report, target: &ReportTarget) -> io::Result<()> {
    target.write(report, text::render)
}
