// SPDX-License-Identifier: Apache-2.0
//! What goes wrong, as clients see it: one object, one code, one status. Pure data.

use std::error::Error;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

/// Longest chain of causes that is told.
const MAX_CAUSES: usize = 16;

/// Why a request has no result. The status follows from the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request is not HTTP as this server knows it.
    MalformedRequest,
    /// The body is not JSON.
    MalformedJson,
    /// A field or parameter is unknown, missing, of the wrong type or out of range.
    InvalidField,
    /// A field of Cloud Hypervisor's schema that Heirloom cannot honour.
    UnsupportedField,
    /// The fields are right one by one and make no machine together.
    InvalidConfig,
    /// A file or device that the configuration names cannot be used.
    FileUnusable,
    /// More, fewer or other file descriptors than the request refers to.
    InvalidDescriptors,
    /// There is nothing at this path.
    NotFound,
    /// There is no virtual machine.
    VmNotCreated,
    /// The machine has no such device.
    DeviceNotFound,
    /// The path is right and the method is not.
    MethodNotAllowed,
    /// The request took too long to arrive.
    RequestTimeout,
    /// The machine's state does not allow this.
    WrongState,
    /// There is a virtual machine already.
    VmAlreadyCreated,
    /// Another device has this id, address or file.
    DuplicateId,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// Too many requests wait, or too many clients are connected.
    Busy,
    /// The head of the request is larger than the limit.
    HeadTooLarge,
    /// A mistake in Heirloom.
    Internal,
    /// The host cannot do what the machine needs: KVM, memory.
    SetupFailed,
    /// The physical function, or the way to it, is down.
    PfUnavailable,
    /// This part of Heirloom is not there, or is ending.
    Unavailable,
    /// It did not end in the time it has. It may still come to an end.
    DeadlineExceeded,
}

impl Code {
    /// All of them, by status.
    pub const ALL: [Self; 23] = [
        Self::MalformedRequest,
        Self::MalformedJson,
        Self::InvalidField,
        Self::UnsupportedField,
        Self::InvalidConfig,
        Self::FileUnusable,
        Self::InvalidDescriptors,
        Self::NotFound,
        Self::VmNotCreated,
        Self::DeviceNotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::WrongState,
        Self::VmAlreadyCreated,
        Self::DuplicateId,
        Self::BodyTooLarge,
        Self::Busy,
        Self::HeadTooLarge,
        Self::Internal,
        Self::SetupFailed,
        Self::PfUnavailable,
        Self::Unavailable,
        Self::DeadlineExceeded,
    ];

    /// The status of a reply with this code.
    pub const fn status(self) -> u16 {
        match self {
            Self::MalformedRequest
            | Self::MalformedJson
            | Self::InvalidField
            | Self::UnsupportedField
            | Self::InvalidConfig
            | Self::FileUnusable
            | Self::InvalidDescriptors => 400,
            Self::NotFound | Self::VmNotCreated | Self::DeviceNotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::WrongState | Self::VmAlreadyCreated | Self::DuplicateId => 409,
            Self::BodyTooLarge => 413,
            Self::Busy => 429,
            Self::HeadTooLarge => 431,
            Self::Internal | Self::SetupFailed => 500,
            Self::PfUnavailable | Self::Unavailable => 503,
            Self::DeadlineExceeded => 504,
        }
    }

    /// What it means, as the documentation says it.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::MalformedRequest => "the request is not valid HTTP/1.1",
            Self::MalformedJson => "the body is not JSON; the message has line and column",
            Self::InvalidField => "a field or parameter is unknown, missing, of the wrong type or out of range",
            Self::UnsupportedField => "a field of Cloud Hypervisor's schema with a value that Heirloom cannot honour",
            Self::InvalidConfig => "each field is valid, but together they make no machine",
            Self::FileUnusable => "a file that the configuration names cannot be used",
            Self::InvalidDescriptors => "more, fewer or other file descriptors than the request refers to",
            Self::NotFound => "there is nothing at this path",
            Self::VmNotCreated => "there is no virtual machine: `vm.create` makes one",
            Self::DeviceNotFound => "the machine has no device of this id",
            Self::MethodNotAllowed => "the path does not take this method; `Allow` names the right one",
            Self::RequestTimeout => "the request took too long to arrive",
            Self::WrongState => "the machine's state does not allow this",
            Self::VmAlreadyCreated => "there is a virtual machine already: `vm.delete` removes it",
            Self::DuplicateId => "another device has this id, address or file",
            Self::BodyTooLarge => "the body is larger than 1 MiB",
            Self::Busy => "too many requests wait or too many clients are connected; try again",
            Self::HeadTooLarge => "request line and headers are larger than 16 KiB",
            Self::Internal => "a bug in Heirloom; please report it",
            Self::SetupFailed => "the host cannot do what the machine needs: KVM, memory or a device",
            Self::PfUnavailable => "the physical function cannot be reached",
            Self::Unavailable => "this part of Heirloom is not running, or is ending",
            Self::DeadlineExceeded => "it did not finish in time; it may still finish",
        }
    }

    /// The code as it is written: `wrong_state`.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            _ => String::new(),
        }
    }
}

/// The body of every reply with a status of 400 and above.
#[derive(Clone, Debug, PartialEq, Eq, ThisError, Serialize, Deserialize, JsonSchema)]
#[error("{message}")]
pub struct Fault {
    /// What went wrong, for people.
    #[serde(rename = "fault_message")]
    pub message: String,
    /// What went wrong, for programs.
    pub code: Code,
    /// Why, outermost cause at the front.
    pub causes: Vec<String>,
    /// The field of the body, or the parameter, that is to blame: `legacy_virtio[0].soft`.
    pub field: Option<String>,
}

impl Fault {
    /// A fault without causes.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), causes: Vec::new(), field: None }
    }

    /// A fault that says what `error` says, with its sources as causes.
    pub fn from_error(code: Code, error: &dyn Error) -> Self {
        let mut fault = Self::new(code, error.to_string());
        let mut source = error.source();
        while let Some(cause) = source.filter(|_| fault.causes.len() < MAX_CAUSES) {
            let text = cause.to_string();
            // An error that is transparent repeats what is inside it.
            if fault.causes.last().unwrap_or(&fault.message) != &text {
                fault.causes.push(text);
            }
            source = cause.source();
        }
        fault
    }

    /// Says which field is to blame.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The status of a reply with this fault.
    pub const fn status(&self) -> u16 {
        self.code.status()
    }
}
