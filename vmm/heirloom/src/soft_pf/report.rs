// SPDX-License-Identifier: Apache-2.0
//! The report of a server at its end.

use std::fmt::{self, Write as _};
use std::io;

use api::types::SandboxInfo;
use devices::soft_pf::{FunctionReport, SoftPfReport};
use serde::Serialize;
use vmm::sandbox;

use crate::report::ReportTarget;

/// What a server did.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Version of this program.
    pub version: &'static str,
    /// PF and VFs.
    #[serde(flatten)]
    pub functions: SoftPfReport,
    /// What this process could do meanwhile.
    pub(super) sandbox: SandboxInfo,
}

impl Report {
    /// Writes the report where it is wanted.
    ///
    /// # Errors
    /// When that place cannot be written.
    pub(super) fn write(&self, target: &ReportTarget) -> io::Result<()> {
        target.write(self, Self::to_string)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "heirloom {} soft-pf report", self.version)?;
        writeln!(f, "sandbox: {}", sandbox::summary(&self.sandbox))?;
        let functions = &self.functions;
        let mut text = String::new();
        [&functions.pf].into_iter().chain(&functions.vfs).try_for_each(|function| line(&mut text, function))?;
        f.write_str(&text)?;
        let c = &functions.commands;
        writeln!(
            f,
            "admin commands: LIST_QUERY {}, LIST_USE {}, common write {}, common read {}, device write {}, device read \
             {}, NOTIFY_INFO {}, refused {}",
            c.list_query,
            c.list_use,
            c.common_write,
            c.common_read,
            c.device_write,
            c.device_read,
            c.notify_info,
            c.refused
        )
    }
}

fn line(text: &mut String, function: &FunctionReport) -> fmt::Result {
    let kind = match function.device_type {
        1 => "net",
        2 => "blk",
        _ => "other",
    };
    let name = &function.name;
    let state = if function.present { "" } else { " (not enabled)" };
    write!(text, "{name} {kind}{state}: {} buffers, {} DMA faults", function.buffers, function.dma_faults)?;
    if let Some(address) = function.last_dma_fault {
        write!(text, " (last at {address:#x})")?;
    }
    write!(text, ", {} rings broken", function.rings_broken)?;
    match &function.last_host_error {
        Some(error) => writeln!(text, ", {} host errors, the last: {error}", function.host_errors),
        None => writeln!(text),
    }
}
