// SPDX-License-Identifier: Apache-2.0
//! Failures of configuration and set-up as the API's faults: which code, which causes, which field is to blame. Pure.

use std::error::Error;
use std::io;

use api::{Code, Fault};
use devices::admin::{AdminError, PfCause, PfError};

use crate::config::ConfigError;
use crate::machine::{HardwareError, SetupError};
use crate::sandbox;
use crate::vcpu::VcpuError;

/// There is no device `id`.
pub(super) fn no_device(id: &str) -> Fault {
    Fault::new(Code::DeviceNotFound, format!("the virtual machine has no device '{id}'")).at("id")
}

impl From<&ConfigError> for Fault {
    fn from(error: &ConfigError) -> Self {
        let code = match error {
            ConfigError::Usage(_) | ConfigError::Value { .. } | ConfigError::Descriptor { .. } => Code::InvalidConfig,
            ConfigError::DuplicateId { .. } => Code::DuplicateId,
            ConfigError::Open { .. }
            | ConfigError::NotAFile { .. }
            | ConfigError::Unanswered { .. }
            | ConfigError::Disk(_)
            | ConfigError::Firmware(_)
            | ConfigError::Rom(_) => Code::FileUnusable,
        };
        let mut fault = Self { field: error.field(), ..Self::from_error(code, error) };
        if sandbox::held().files_bound && is_permission(error) {
            fault.causes.push("this process opens the files that it was started with, and those of --allow".to_owned());
        }
        fault
    }
}

/// Whether the system did not permit it.
fn is_permission(error: &(dyn Error + 'static)) -> bool {
    let here = error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    here || error.source().is_some_and(is_permission)
}

impl From<&SetupError> for Fault {
    fn from(error: &SetupError) -> Self {
        let code = match error {
            SetupError::Pf(_) | SetupError::HostPf { .. } => of_pf(error),
            SetupError::Device { source, .. } | SetupError::Passthrough { source, .. } => of_device(source.as_ref()),
            // What the configuration names is not there or not free, as with a missing kernel.
            SetupError::Boot { .. } | SetupError::Serial { .. } => Code::FileUnusable,
            SetupError::AddressWidth { .. } | SetupError::Layout(_) => Code::InvalidConfig,
            SetupError::Internal(_) | SetupError::MainLoop(_) => Code::Internal,
            // It ended while it was told what to do.
            SetupError::Vcpu(VcpuError::Ended) => Code::WrongState,
            SetupError::Vcpu(VcpuError::Timeout { .. }) => Code::DeadlineExceeded,
            _ => Code::SetupFailed,
        };
        let field = match error {
            SetupError::Boot { .. } => Some("payload.kernel".to_owned()),
            SetupError::AddressWidth { .. } | SetupError::Layout(_) => Some("memory.size".to_owned()),
            SetupError::Serial { .. } => Some("serial.file".to_owned()),
            SetupError::Device { id, .. } => Some(format!("legacy_virtio[{id}]")),
            SetupError::Passthrough { id, .. } => Some(format!("devices[{id}]")),
            _ => None,
        };
        Self { field, ..Self::from_error(code, error) }
    }
}

/// A PF that is not there is a mistake of the configuration, as is one that cannot do what is asked of it. One that
/// is there and fails is down, and may be up when the client tries again.
fn of_pf(error: &SetupError) -> Code {
    let mut next: Option<&(dyn Error + 'static)> = match error {
        SetupError::Pf(error) => Some(&error.cause),
        error => Some(error),
    };
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<PfError>() {
            next = Some(&error.cause);
            continue;
        }
        match error.downcast_ref::<PfCause>() {
            Some(PfCause::Admin(AdminError::Timeout)) => return Code::DeadlineExceeded,
            Some(PfCause::VfCount { .. } | PfCause::NoSrIov | PfCause::VfReadOnly { .. }) => {
                return Code::InvalidConfig;
            }
            _ => {}
        }
        match error.downcast_ref::<HardwareError>() {
            Some(HardwareError::Token(_)) => return Code::SetupFailed,
            Some(_) => return Code::InvalidConfig,
            None => {}
        }
        match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => return Code::FileUnusable,
            Some(io::ErrorKind::TimedOut) => return Code::DeadlineExceeded,
            _ => {}
        }
        next = error.source();
    }
    Code::PfUnavailable
}

/// As a file that cannot be opened; but a server that listens and is silent, or is dying, is no matter of names.
fn of_device(error: &(dyn Error + 'static)) -> Code {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::TimedOut) => return Code::DeadlineExceeded,
            _ => next = error.source(),
        }
    }
    Code::FileUnusable
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
