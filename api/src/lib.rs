// SPDX-License-Identifier: Apache-2.0
//! The interface of Heirloom: what a virtual machine is made of, what can be asked of it, and how that
//! goes over a unix socket.
//!
//! | module | what it is |
//! | --- | --- |
//! | `config`, `legacy_virtio`, [`types`], [`state`], `fault` | what goes over the wire; types only |
//! | [`operations`] | what can be asked: a type for each request, which everything else comes from |
//! | [`routes`] | what a route is |
//! | [`service`] | what the server needs of a virtual machine monitor; the table of all routes with their handlers |
//! | [`openapi`] | the OpenAPI document, made of the table |
//! | `reference` | docs/api.md, made of the same table by a test |
//! | [`decode`], [`compat`] | texts into types; Cloud Hypervisor's fields |
//! | [`options`] | the same types as `key=value` lists, with their help |
//! | [`server`], [`client`] | HTTP/1.1 on a unix socket |
//!
//! Nothing here opens a device or knows KVM. Names follow Cloud Hypervisor's schema where the two have
//! something in common, so that tools written for it feel at home.
#![forbid(unsafe_code)]

pub mod client;
pub mod compat;
mod config;
pub mod decode;
mod fault;
mod hardware;
mod id;
mod legacy_virtio;
mod lines;
mod mac;
pub mod openapi;
pub mod operations;
mod option_rom;
pub mod options;
mod origin;
mod probe;
#[cfg(test)]
mod reference;
pub mod routes;
mod sandbox;
mod screen;
pub mod server;
pub mod service;
mod shape;
mod size;
mod smbios;
pub mod state;
pub mod types;
mod unique;

pub use config::{
    BootProtocol, ConsoleConfig, ConsoleMode, CpuProfile, CpusConfig, MAX_MEMORY, MAX_VCPUS, MEMORY_UNIT, MIN_MEMORY,
    MemoryConfig, NewDevice, PayloadConfig, RtcBase, VmConfig, check_memory_size,
};
pub use fault::{Code, Fault};
pub use hardware::{AdminMode, DeviceConfig, FunctionOrigin, VfConfig, VfioConfig, VfioMode, VfioUserVfConfig};
pub use id::check_id;
pub use legacy_virtio::{
    DEFAULT_DEADLINE_MS, EarlyKicks, InterfaceMode, InterruptMode, LegacyVirtioConfig, NetBackend, NotifyMode,
    SoftDevice, VfOrigin,
};
pub use mac::{MacAddress, MacError};
pub use operations::{Operation, Serve};
pub use option_rom::OptionRomConfig;
pub use screen::{ScreenConfig, ScreenMode};
pub use service::Service;
pub use size::{SizeError, format_size, parse_size};
pub use smbios::SmbiosConfig;
pub use state::{StateSet, VmState};
