// SPDX-License-Identifier: Apache-2.0
//! Why an operation failed, in a form that an API client can act on. Pure.

use std::error::Error;
use std::io;
use std::time::Duration;

use api::{Code, Fault};
use devices::admin::{AdminError, PfCause, PfError};
use thiserror::Error;

use super::state::{Operation, Refusal};
use crate::config::ConfigError;
use crate::machine::{HardwareError, SetupError};
use crate::vcpu::VcpuError;

/// What kind of failure it is, and so what the client can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// The configuration is wrong. HTTP 400.
    InvalidConfig,
    /// A file or device that the configuration names cannot be used. HTTP 400.
    FileUnusable,
    /// There is no virtual machine. HTTP 404.
    NotCreated,
    /// It has no such device. HTTP 404.
    DeviceNotFound,
    /// Not possible in this state. HTTP 409.
    WrongState,
    /// There is a virtual machine already. HTTP 409.
    AlreadyCreated,
    /// Another device has the id. HTTP 409.
    DuplicateId,
    /// Too many requests wait already. HTTP 429.
    Busy,
    /// KVM or the host cannot. HTTP 500.
    SetupFailed,
    /// A mistake in this program. HTTP 500.
    Internal,
    /// The PF does not answer. HTTP 503.
    PfUnavailable,
    /// The process is about to end. HTTP 503.
    ShuttingDown,
    /// Not done in time. HTTP 504.
    Deadline,
}

/// A failed operation.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct LifecycleError {
    /// What kind of failure.
    pub category: Category,
    /// What went wrong, in one sentence.
    pub message: String,
    /// Why, the nearest cause before the deeper ones.
    pub causes: Vec<String>,
    /// The part of the configuration that is to blame, such as `payload.kernel`.
    pub field: Option<String>,
}

impl LifecycleError {
    /// Without causes.
    pub fn new(category: Category, message: impl Into<String>) -> Self {
        Self { category, message: message.into(), causes: Vec::new(), field: None }
    }

    /// An error with the chain of its sources.
    pub fn from_error(category: Category, error: &dyn Error) -> Self {
        let mut causes = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        Self { category, message: error.to_string(), causes, field: None }
    }

    /// Names the part of the configuration that is to blame.
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// An operation that the state does not allow.
    pub fn refused(operation: Operation, refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotCreated => Self::new(
                Category::NotCreated,
                format!("cannot {operation} the virtual machine: there is none; create one first"),
            ),
            Refusal::AlreadyCreated => Self::new(
                Category::AlreadyCreated,
                "there is a virtual machine already: delete it before another one is created",
            ),
            Refusal::WrongState(state) => {
                let states: Vec<_> = operation.states().map(|state| state.to_string()).collect();
                let states = states.join(" or ");
                Self::new(
                    Category::WrongState,
                    format!("cannot {operation} the virtual machine: it is {state}, and would have to be {states}"),
                )
            }
        }
    }

    /// There is no device `id`.
    pub fn no_device(id: &str) -> Self {
        Self::new(Category::DeviceNotFound, format!("the virtual machine has no device '{id}'")).at("id")
    }

    /// An operation that takes longer than its client waits.
    pub fn deadline(limit: Duration, begun: bool) -> Self {
        let fate = if begun { "it goes on and may still succeed" } else { "it was not begun and will not be" };
        Self::new(Category::Deadline, format!("the operation did not end within {limit:?}: {fate}"))
    }
}

impl From<&ConfigError> for LifecycleError {
    fn from(error: &ConfigError) -> Self {
        let category = match error {
            ConfigError::Usage(_) | ConfigError::Value { .. } | ConfigError::Descriptor { .. } => {
                Category::InvalidConfig
            }
            ConfigError::DuplicateId { .. } => Category::DuplicateId,
            ConfigError::Open { .. }
            | ConfigError::NotAFile { .. }
            | ConfigError::Disk(_)
            | ConfigError::Firmware(_) => Category::FileUnusable,
        };
        Self { field: error.field(), ..Self::from_error(category, error) }
    }
}

impl From<&SetupError> for LifecycleError {
    fn from(error: &SetupError) -> Self {
        let category = match error {
            SetupError::Pf(_) | SetupError::HostPf { .. } => of_pf(error),
            SetupError::Device { source, .. } | SetupError::Passthrough { source, .. } => of_device(source.as_ref()),
            // What the configuration names is not there or not free, as with a missing kernel.
            SetupError::Boot { .. } | SetupError::Serial { .. } => Category::FileUnusable,
            SetupError::AddressWidth { .. } | SetupError::Layout(_) => Category::InvalidConfig,
            SetupError::Internal(_) | SetupError::MainLoop(_) => Category::Internal,
            // It ended while it was told what to do.
            SetupError::Vcpu(VcpuError::Ended) => Category::WrongState,
            SetupError::Vcpu(VcpuError::Timeout { .. }) => Category::Deadline,
            _ => Category::SetupFailed,
        };
        let field = match error {
            SetupError::Boot { .. } => Some("payload.kernel".to_owned()),
            SetupError::AddressWidth { .. } | SetupError::Layout(_) => Some("memory.size".to_owned()),
            SetupError::Serial { .. } => Some("serial.file".to_owned()),
            SetupError::Device { id, .. } => Some(format!("legacy_virtio[{id}]")),
            SetupError::Passthrough { id, .. } => Some(format!("devices[{id}]")),
            _ => None,
        };
        Self { field, ..Self::from_error(category, error) }
    }
}

impl From<LifecycleError> for Fault {
    fn from(error: LifecycleError) -> Self {
        let code = match error.category {
            Category::InvalidConfig => Code::InvalidConfig,
            Category::FileUnusable => Code::FileUnusable,
            Category::NotCreated => Code::VmNotCreated,
            Category::DeviceNotFound => Code::DeviceNotFound,
            Category::WrongState => Code::WrongState,
            Category::AlreadyCreated => Code::VmAlreadyCreated,
            Category::DuplicateId => Code::DuplicateId,
            Category::Busy => Code::Busy,
            Category::SetupFailed => Code::SetupFailed,
            Category::Internal => Code::Internal,
            Category::PfUnavailable => Code::PfUnavailable,
            Category::ShuttingDown => Code::Unavailable,
            Category::Deadline => Code::DeadlineExceeded,
        };
        Self { message: error.message, code, causes: error.causes, field: error.field }
    }
}

/// A PF that is not there is a mistake of the configuration, as is one that cannot do what is asked of it. One that
/// is there and fails is down, and may be up when the client tries again.
fn of_pf(error: &SetupError) -> Category {
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
            Some(PfCause::Admin(AdminError::Timeout)) => return Category::Deadline,
            Some(PfCause::VfCount { .. } | PfCause::NoSrIov | PfCause::VfReadOnly { .. }) => {
                return Category::InvalidConfig;
            }
            _ => {}
        }
        match error.downcast_ref::<HardwareError>() {
            Some(HardwareError::Token(_)) => return Category::SetupFailed,
            Some(_) => return Category::InvalidConfig,
            None => {}
        }
        match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => return Category::FileUnusable,
            Some(io::ErrorKind::TimedOut) => return Category::Deadline,
            _ => {}
        }
        next = error.source();
    }
    Category::PfUnavailable
}

/// As a file that cannot be opened; but a server that listens and is silent, or is dying, is no matter of names.
fn of_device(error: &(dyn Error + 'static)) -> Category {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::TimedOut) => return Category::Deadline,
            _ => next = error.source(),
        }
    }
    Category::FileUnusable
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
