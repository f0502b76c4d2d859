// SPDX-License-Identifier: Apache-2.0
//! The vCPU threads: running guest code, turning exits into bus accesses, pause and stop, and
//! the one reason for which a VM ended.
//!
//! | item | what it is |
//! | --- | --- |
//! | [`handle_exit`] | one exit: bus accesses and an [`Outcome`]; needs no KVM |
//! | [`Vcpus`] | the threads of one VM: start, pause, resume, stop |
//! | [`ExitReason`], [`CrashReport`] | why the VM ended |
//! | [`VcpuStats`] | exits by kind |
#![forbid(unsafe_code)]

mod crash;
mod exit;
mod run;
mod state;
mod stats;
mod thread;

#[cfg(test)]
pub(crate) mod test_board;

pub use crash::{CrashCause, CrashReport};
pub use exit::{Buses, ExitContext, Outcome, Remap, handle_exit};
pub use run::{VcpuHandle, Vcpus};
pub use state::{ExitReason, VcpuError, VcpuState};
pub use stats::{ExitCounts, ExitKind, VcpuStats};
pub use thread::{Board, ThreadInit};
