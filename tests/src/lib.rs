// SPDX-License-Identifier: Apache-2.0
//! What the integration tests share: running `heirloom` with a time limit, and reading what it says.
//!
//! A test that this machine cannot run is listed as ignored, with the reason as its kind.

mod boot_sector;
mod console;
mod disk;
pub mod fuse;
mod host;
mod machine;
mod old_kernel;
mod real_mode_kernel;
pub mod report;
pub mod sysfs;
pub mod trials;

pub use boot_sector::BootSector;
pub use console::Console;
pub use disk::{TestDisk, fnv1a};
pub use host::{Kvm, free_memory, small_guest, wait_until, wait_until_ok, workspace};
pub use machine::{Finished, Heirloom, Messages, Running, binary, signal_mask};
pub use old_kernel::OldKernel;
pub use real_mode_kernel::real_mode_kernel;
pub use rustix::process::Signal;
