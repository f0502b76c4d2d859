// SPDX-License-Identifier: Apache-2.0
//! Where a network card's frames go: names and descriptors. Opens nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use api::NetBackend;
use devices::function::tap;
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
                let descriptor = descriptors
                    .get(index)
                    .ok_or_else(|| wrong("no such descriptor came with the request".to_owned()))?;
                let vnet_hdr = has_header(descriptor).map_err(wrong)?;
                Ok(Self::Descriptor { descriptor: Arc::clone(descriptor), vnet_hdr })
            }
        }
    }
}

/// Whether frames have a `virtio_net_hdr` in front: never on a socket; a tap is asked, and set up.
fn has_header(descriptor: &OwnedFd) -> Result<bool, String> {
    if let Ok(kind) = sockopt::socket_type(descriptor) {
        let datagrams = matches!(kind, SocketType::DGRAM | SocketType::SEQPACKET);
        return if datagrams { Ok(false) } else { Err("it is a socket, but not a datagram socket".to_owned()) };
    }
    let file = descriptor.try_clone().map(File::from).map_err(|error| format!("it cannot be looked at: {error}"))?;
    match tap::passed(file) {
        Ok(tap) => Ok(tap.vnet_hdr),
        Err(tap::PassedError::NoTun) => Err("it is neither a tap nor a datagram socket".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
#[path = "net_tests.rs"]
mod tests;
