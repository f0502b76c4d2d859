// SPDX-License-Identifier: Apache-2.0
//! Opening a tap device that the operator made. Nothing is created or configured: a name without a
//! device is an error, as a device made by accident has no addresses and hides the typing error.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use thiserror::Error;

/// An open tap device.
#[derive(Debug)]
pub struct Tap {
    /// Reads and writes one Ethernet frame each; non-blocking.
    pub file: File,
    /// Whether each frame has a 10-byte `virtio_net_hdr` in front.
    pub vnet_hdr: bool,
}

/// Why a tap device could not be opened.
#[derive(Debug, Error)]
pub enum TapError {
    /// Not a name a network device can have.
    #[error("{name:?} is no network device name; it takes 1 to 15 characters without '/', '%' and blanks")]
    Name {
        /// The name.
        name: String,
    },
    /// No such tap device.
    #[error("there is no tap device {name}; make it with: ip tuntap add {name} mode tap")]
    Missing {
        /// The name.
        name: String,
    },
    /// A network device, but no tap device.
    #[error("{name} is no tap device; make one with: ip tuntap add NAME mode tap")]
    NotATap {
        /// The name.
        name: String,
    },
    /// The system refused.
    #[error("cannot open tap device {name}: {source}; it must belong to this user and have no other user")]
    Open {
        /// The name.
        name: String,
        /// The reason.
        source: io::Error,
    },
}

/// Opens the tap device `name`. With `vnet_hdr`, frames carry offload requests both ways.
pub fn open(name: &str, vnet_hdr: bool) -> Result<Tap, TapError> {
    // '%' in a name asks the kernel to make up a number, and so a device.
    let fits = (1..libc::IFNAMSIZ).contains(&name.len());
    if !fits || name == "." || name == ".." || name.bytes().any(|b| !b.is_ascii_graphic() || b"/%".contains(&b)) {
        return Err(TapError::Name { name: name.to_owned() });
    }
    if !exists(name) {
        return Err(TapError::Missing { name: name.to_owned() });
    }
    let name = name.to_owned();
    match attach(&name, vnet_hdr) {
        Ok(file) => Ok(Tap { file, vnet_hdr }),
        // The driver's answer for a name that belongs to another driver's device, or to a tun.
        Err(source) if source.raw_os_error() == Some(libc::EINVAL) => Err(TapError::NotATap { name }),
        Err(source) => Err(TapError::Open { name, source }),
    }
}

/// Whether this process sees a network device of that name. Asked of the kernel, because a mounted
/// /sys may show another network namespace than the one this process is in.
#[allow(unsafe_code)]
fn exists(name: &str) -> bool {
    let Ok(name) = CString::new(name) else { return false };
    // SAFETY: takes a pointer to a string that ends with a zero byte and lives past the call.
    unsafe { libc::if_nametoindex(name.as_ptr()) != 0 }
}

/// Opens the tun driver and attaches the file to the device.
#[allow(unsafe_code)]
fn attach(name: &str, vnet_hdr: bool) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open("/dev/net/tun")?;
    let mut request =
        libc::ifreq { ifr_name: [0; libc::IFNAMSIZ], ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: 0 } };
    // The length was checked, so the last byte stays 0.
    request.ifr_name.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from as libc::c_char);
    let offload = if vnet_hdr { libc::IFF_VNET_HDR } else { 0 };
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | offload) as libc::c_short;
    // SAFETY: `file` is an open descriptor, TUNSETIFF takes a pointer to an `ifreq`, and `request` is
    // one that lives past the call; the kernel writes no more than that structure.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as libc::Ioctl, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(file) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_make_a_device_are_refused() {
        for name in ["", "tap%d", "a/b", "..", "0123456789abcdef", "a b", "tap\0"] {
            assert!(matches!(open(name, false), Err(TapError::Name { .. })), "{name:?}");
        }
    }

    #[test]
    fn a_device_that_is_not_there_or_is_no_tap_is_not_made() {
        for name in ["hl-no-such-tap", "lo"] {
            let error = open(name, false).unwrap_err();
            // Without access to the driver the second one is not even asked.
            let expected = matches!(error, TapError::Missing { .. } | TapError::NotATap { .. } | TapError::Open { .. });
            assert!(expected, "{error}");
        }
        assert!(!exists("hl-no-such-tap"));
        assert!(exists("lo"));
    }
}
