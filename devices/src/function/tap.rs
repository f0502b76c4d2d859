// SPDX-License-Identifier: Apache-2.0
//! Tap devices that the operator made: opened by name, or passed as a descriptor. Nothing is created: a
//! name without a device is an error, as a device made by accident has no addresses and hides the typing error.
//!
//! Header size and offloads belong to the *device*, and a persistent one keeps them from its last user. Both
//! are set here, always.

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

/// Bytes of `struct virtio_net_hdr` without `num_buffers` (virtio 1.3, 5.1.6.1, legacy).
pub const HEADER_LEN: usize = 10;

/// Why a descriptor is not a tap that can be used.
#[derive(Debug, Error)]
pub enum PassedError {
    /// No descriptor of the tun driver or of a macvtap.
    #[error("it is no tap")]
    NoTun,
    /// Layer 3.
    #[error("it is a tun device, which carries IP packets; a tap is needed: ip tuntap add NAME mode tap")]
    Tun,
    /// Each frame has four bytes in front that nobody here reads.
    #[error("it was opened with packet information in front of each frame; open it with IFF_NO_PI")]
    PacketInformation,
    /// The device is there, but not usable.
    #[error("its header size and offloads cannot be set: {0}")]
    Settings(io::Error),
}

/// Why a tap device could not be opened.
#[derive(Debug, Error)]
pub enum TapError {
    /// Not a name a network device can have.
    #[error("{name:?} is not a network device name; use 1 to 15 characters without '/', '%' and blanks")]
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
    #[error("{name} is not a tap device; make one with: ip tuntap add NAME mode tap")]
    NotATap {
        /// The name.
        name: String,
    },
    /// A device with several queues has to be opened as one.
    #[error("{name} is a tap with several queues (multi_queue); Heirloom uses one: ip tuntap add NAME mode tap")]
    MultiQueue {
        /// The name.
        name: String,
    },
    /// No tun driver.
    #[error("cannot open /dev/net/tun: {source}; load the driver with: modprobe tun")]
    Driver {
        /// The reason.
        source: io::Error,
    },
    /// Header size and offloads cannot be set.
    #[error("tap device {name}: {source}")]
    Settings {
        /// The name.
        name: String,
        /// The reason.
        source: PassedError,
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
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
    let driver = OpenOptions::new().read(true).write(true).custom_flags(flags).open("/dev/net/tun");
    let file = driver.map_err(|source| TapError::Driver { source })?;
    let offload = if vnet_hdr { libc::IFF_VNET_HDR } else { 0 };
    let single = libc::IFF_TAP | libc::IFF_NO_PI | offload;
    match attach(&file, &name, single) {
        Ok(()) => {}
        // The driver's answer for a name that belongs to another driver's device, to a tun, or to several queues.
        Err(source) if source.raw_os_error() == Some(libc::EINVAL) => {
            return Err(match attach(&file, &name, single | libc::IFF_MULTI_QUEUE) {
                Ok(()) => TapError::MultiQueue { name },
                Err(_) => TapError::NotATap { name },
            });
        }
        Err(source) => return Err(TapError::Open { name, source }),
    }
    settle(&file, vnet_hdr).map_err(|source| TapError::Settings { name, source })?;
    Ok(Tap { file, vnet_hdr })
}

/// A tap that somebody else opened, as it is: asked for what it puts in front of frames, and its header size and
/// offloads set.
///
/// # Errors
/// When it is not a tap, or one whose frames cannot be read here.
pub fn passed(file: File) -> Result<Tap, PassedError> {
    let flags = interface_flags(&file).map_err(|_| PassedError::NoTun)?;
    if flags & libc::IFF_TAP == 0 {
        return Err(PassedError::Tun);
    }
    if has_packet_information(&file, flags).map_err(PassedError::Settings)? {
        return Err(PassedError::PacketInformation);
    }
    let vnet_hdr = flags & libc::IFF_VNET_HDR != 0;
    settle(&file, vnet_hdr)?;
    Ok(Tap { file, vnet_hdr })
}

/// Sets header size and offloads: frames towards the guest come whole and with their checksums made, since no guest
/// is offered to do that itself.
fn settle(file: &File, vnet_hdr: bool) -> Result<(), PassedError> {
    if vnet_hdr {
        set_header_size(file, HEADER_LEN as libc::c_int).map_err(PassedError::Settings)?;
    }
    clear_offloads(file).map_err(PassedError::Settings)
}

/// Whether this process sees a network device of that name. Asked of the kernel, because a mounted
/// /sys may show another network namespace than the one this process is in.
#[allow(unsafe_code)]
fn exists(name: &str) -> bool {
    let Ok(name) = CString::new(name) else { return false };
    // SAFETY: takes a pointer to a string that ends with a zero byte and lives past the call.
    unsafe { libc::if_nametoindex(name.as_ptr()) != 0 }
}

/// Attaches a file of the tun driver to the device `name` (TUNSETIFF, `Documentation/networking/tuntap.rst`).
#[allow(unsafe_code)]
fn attach(file: &File, name: &str, flags: libc::c_int) -> io::Result<()> {
    let mut request = empty_request();
    // The length was checked, so the last byte stays 0.
    request.ifr_name.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from as libc::c_char);
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: `file` is an open descriptor, TUNSETIFF takes a pointer to an `ifreq`, and `request` is
    // one that lives past the call; the kernel writes no more than that structure.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as libc::Ioctl, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn empty_request() -> libc::ifreq {
    libc::ifreq { ifr_name: [0; libc::IFNAMSIZ], ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: 0 } }
}

/// Flags of the device that `file` is attached to: `IFF_TAP` and so on.
#[allow(unsafe_code)]
fn interface_flags(file: &File) -> io::Result<libc::c_int> {
    let mut request = empty_request();
    // SAFETY: TUNGETIFF writes an `ifreq`, and `request` is one that lives past the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNGETIFF as libc::Ioctl, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: every bit pattern is a short, and the kernel wrote this member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    Ok(libc::c_int::from(flags.cast_unsigned()))
}

/// Whether each frame has four bytes of packet information in front. The kernel answers TUNGETIFF with one bit for "no
/// packet information" and for "no filter" (`IFF_NO_PI` and `IFF_NOFILTER`), so a filter that takes every frame is
/// there for a moment, unless the device has one of its own.
fn has_packet_information(file: &File, flags: libc::c_int) -> io::Result<bool> {
    if flags & libc::IFF_NO_PI == 0 {
        return Ok(true);
    }
    if attach_filter(file).is_err() {
        // A macvtap takes no filter, and means the one thing by its bit.
        return Ok(false);
    }
    let flags = interface_flags(file);
    detach_filter(file)?;
    Ok(flags? & libc::IFF_NO_PI == 0)
}

/// A classic BPF program that takes every frame whole.
#[allow(unsafe_code)]
fn attach_filter(file: &File) -> io::Result<()> {
    let mut take_all = [libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: u32::MAX }];
    let program = libc::sock_fprog { len: take_all.len() as u16, filter: take_all.as_mut_ptr() };
    // SAFETY: TUNATTACHFILTER reads a `sock_fprog` and the instructions that it points to; both live past the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNATTACHFILTER as libc::Ioctl, &raw const program) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[allow(unsafe_code)]
fn detach_filter(file: &File) -> io::Result<()> {
    // SAFETY: TUNDETACHFILTER looks at no argument.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNDETACHFILTER as libc::Ioctl, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Bytes of the header in front of each frame.
#[allow(unsafe_code)]
fn set_header_size(file: &File, size: libc::c_int) -> io::Result<()> {
    // SAFETY: TUNSETVNETHDRSZ reads an int, and `size` is one that lives past the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETVNETHDRSZ as libc::Ioctl, &raw const size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// No segmentation and no open checksums in frames towards the guest.
#[allow(unsafe_code)]
fn clear_offloads(file: &File) -> io::Result<()> {
    let none: libc::c_ulong = 0;
    // SAFETY: TUNSETOFFLOAD takes a number, no pointer.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD as libc::Ioctl, none) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
#[path = "tap_tests.rs"]
mod tests;
