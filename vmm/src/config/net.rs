// SPDX-License-Identifier: Apache-2.0
//! Where a network card's frames go: names and descriptors. Opens nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::sync::Arc;

use api::NetBackend;
use rustix::net::{SocketType, sockopt};

use super::ConfigError;

/// Descriptors that a configuration refers to by number.
pub type Descriptors = BTreeMap<u32, Arc<OwnedFd>>;

/// Where frames go.
#[derive(Clone, Debug)]
pub enum NetSource {
    /// A tap by name, to be opened for each machine.
    Tap(String),
    /// A tap or socket that somebody else opened.
    Descriptor {
        /// It. Machines work on duplicates, so that a reboot still has it.
        descriptor: Arc<OwnedFd>,
        /// Whether frames have a `virtio_net_hdr` in front: those of a tap have.
        vnet_hdr: bool,
    },
    /// A host inside this process.
    Loopback,
}

impl NetSource {
    /// Checks that a descriptor is there and can carry frames.
    pub(super) fn check(backend: &NetBackend, descriptors: &Descriptors) -> Result<Self, ConfigError> {
        match backend {
            NetBackend::Tap(name) => Ok(Self::Tap(name.clone())),
            NetBackend::Loopback => Ok(Self::Loopback),
            NetBackend::Fd(index) => {
                let wrong = |problem| ConfigError::Descriptor { index: *index, problem };
                let descriptor = descriptors.get(index).ok_or_else(|| wrong("no such descriptor came along"))?;
                let vnet_hdr = has_header(descriptor).map_err(wrong)?;
                Ok(Self::Descriptor { descriptor: Arc::clone(descriptor), vnet_hdr })
            }
        }
    }
}

/// Whether it is a tap, and not a socket.
fn has_header(descriptor: &OwnedFd) -> Result<bool, &'static str> {
    let useless = "it is neither a tap nor a socket for datagrams";
    if let Ok(kind) = sockopt::socket_type(descriptor) {
        return if matches!(kind, SocketType::DGRAM | SocketType::SEQPACKET) { Ok(false) } else { Err(useless) };
    }
    let file = descriptor.as_fd().try_clone_to_owned().map(File::from);
    let kind = file.and_then(|file| file.metadata()).map_err(|_| "it cannot be looked at")?;
    // A tap is a character device; who passes another one gets errors of its reads, and no frames.
    if kind.file_type().is_char_device() { Ok(true) } else { Err(useless) }
}

#[cfg(test)]
#[path = "net_tests.rs"]
mod tests;
