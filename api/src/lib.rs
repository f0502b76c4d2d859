// SPDX-License-Identifier: Apache-2.0
//! The configuration of a virtual machine, as the command line, a file or an API client gives it.
//!
//! Types only: nothing here opens a file or knows a device. Names follow Cloud Hypervisor's schema
//! where the two have something in common, so that tools written for it feel at home.
#![forbid(unsafe_code)]

mod config;
mod hardware;
mod probe;
mod size;

pub use config::{
    ConsoleConfig, ConsoleMode, CpuProfile, CpusConfig, InterruptMode, LegacyVirtioConfig, MacAddress, MacError,
    MemoryConfig, NetBackend, NotifyMode, PayloadConfig, SoftDevice, VmConfig,
};
pub use hardware::{AdminMode, DeviceConfig, VfConfig, VfioConfig, VfioMode, VfioUserVfConfig};
pub use probe::{ProbeCheck, ProbeReport, ProbeResult};
pub use size::{SizeError, format_size, parse_size};
