// SPDX-License-Identifier: Apache-2.0
//! PCI functions over a socket: the vfio-user protocol, version 0.x, both sides of it.
//!
//! [`Server`] offers any [`PciFunction`](super::PciFunction) to a client such as QEMU's `vfio-user-pci` or
//! [`VfioUserFunction`], which is a function that some server offers. Neither side trusts the
//! other: a bad message is an error reply or the end of the connection.
//!
//! | module | what it is | pure |
//! | --- | --- | --- |
//! | [`wire`] | messages as bytes | yes |
//! | [`version`] | limits that the sides tell each other | yes |
//! | `channel` | messages and descriptors over a socket | |
//! | `server` | listens; one client at a time | |
//! | `session` | what a server does with each message | |
//! | `dma` | memory that a client mapped | |
//! | `irqs` | interrupts that a client set up | |
//! | `client` | the function behind a socket | |
//! | `connection`, `watcher` | requests and replies of many threads; requests of the server | |
//! | `discovery` | what a client asks a server when it connects | |
#![allow(unsafe_code)] // Views of mapped files in `dma`, eventfds and descriptors in `irqs` and `channel`.

mod channel;
mod client;
mod connection;
mod discovery;
mod dma;
#[cfg(test)]
mod interop_tests;
mod irqs;
mod server;
mod session;
#[cfg(test)]
mod testing;
pub mod version;
mod watcher;
pub mod wire;

use std::io;

use super::FunctionError;
pub use client::{DEADLINE, VfioUserFunction};
pub use server::{Server, ServerError};

/// Index of configuration space among the regions; 0 to 5 are the BARs.
const CONFIG_REGION: u32 = 7;
/// Regions that there are: BARs, expansion ROM, configuration space, VGA.
const REGIONS: u32 = 9;

/// The errno that tells a peer what an error was.
fn errno(error: &FunctionError) -> i32 {
    match error {
        FunctionError::OutOfRange { .. } => libc::EINVAL,
        FunctionError::Unsupported { .. } => libc::EOPNOTSUPP,
        FunctionError::Gone { .. } => libc::ENODEV,
        FunctionError::Io { source, .. } => source.raw_os_error().unwrap_or(match source.kind() {
            io::ErrorKind::AlreadyExists => libc::EEXIST,
            io::ErrorKind::NotFound => libc::ENOENT,
            _ => libc::EIO,
        }),
    }
}
