// SPDX-License-Identifier: Apache-2.0
//! Traces of the guest's legacy accesses: from the ring of `devices::transitional` to files and live readers. Touches
//! no device.
//!
//! | module | what it is | pure |
//! | --- | --- | --- |
//! | `hub` | the thread that takes records; who gets them | |
//! | `file` | a trace's file | |
//! | `text` | the same for people | yes |
#![forbid(unsafe_code)]

mod file;
mod hub;
#[cfg(test)]
mod test_device;
mod text;

pub use devices::transitional::trace_line as line;
pub use file::{TraceFile, TraceFormat, TraceTarget};
pub use hub::{NextLine, TraceHub, TraceSubscription};
pub use text::{Kinds, Span, TEXT_HEAD, status_names, text};
