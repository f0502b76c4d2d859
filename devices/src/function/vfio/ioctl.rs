// SPDX-License-Identifier: Apache-2.0
//! The ioctls of VFIO and iommufd, one function each, and nothing that decides anything.
//!
//! Containers, address spaces of an iommufd and their mappings are those of vfio-ioctls and
//! iommufd-ioctls. What these crates do not have is here: groups, devices, ranges of IOVAs. Structures
//! come from vfio-bindings and iommufd-bindings.
//!
//! Source: Linux, include/uapi/linux/vfio.h and include/uapi/linux/iommufd.h.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

use iommufd_bindings as iommufd;
use iommufd_ioctls::{IommuFd, IommufdError};
use vfio_bindings::bindings::vfio;
use vfio_ioctls::{VfioContainer, VfioError, VfioOps};
use vm_memory::{Address, GuestMemoryRegion, GuestRegionMmap, MemoryRegionAddress};

use super::token::VfToken;

/// `_IO(';', number)`: both interfaces encode neither size nor direction.
const fn request(number: u32) -> libc::Ioctl {
    ((vfio::VFIO_TYPE as u32) << 8 | number) as libc::Ioctl
}
const _: () = assert!(vfio::VFIO_TYPE == iommufd::IOMMUFD_TYPE);

const SET_IOMMU: libc::Ioctl = request(vfio::VFIO_BASE + 2);
const GROUP_GET_STATUS: libc::Ioctl = request(vfio::VFIO_BASE + 3);
const GROUP_SET_CONTAINER: libc::Ioctl = request(vfio::VFIO_BASE + 4);
const GROUP_GET_DEVICE_FD: libc::Ioctl = request(vfio::VFIO_BASE + 6);
const DEVICE_GET_INFO: libc::Ioctl = request(vfio::VFIO_BASE + 7);
const DEVICE_GET_REGION_INFO: libc::Ioctl = request(vfio::VFIO_BASE + 8);
const DEVICE_GET_IRQ_INFO: libc::Ioctl = request(vfio::VFIO_BASE + 9);
const DEVICE_SET_IRQS: libc::Ioctl = request(vfio::VFIO_BASE + 10);
const DEVICE_RESET: libc::Ioctl = request(vfio::VFIO_BASE + 11);
const IOMMU_GET_INFO: libc::Ioctl = request(vfio::VFIO_BASE + 12);
const DEVICE_IOEVENTFD: libc::Ioctl = request(vfio::VFIO_BASE + 16);
const DEVICE_FEATURE: libc::Ioctl = request(vfio::VFIO_BASE + 17);
const DEVICE_BIND_IOMMUFD: libc::Ioctl = request(vfio::VFIO_BASE + 18);
const DEVICE_ATTACH_IOMMUFD_PT: libc::Ioctl = request(vfio::VFIO_BASE + 19);
const DEVICE_DETACH_IOMMUFD_PT: libc::Ioctl = request(vfio::VFIO_BASE + 20);
const IOAS_IOVA_RANGES: libc::Ioctl = request(iommufd::IOMMUFD_CMD_IOAS_IOVA_RANGES);

/// Answers with capability chains are at most this long; the kernel's have some hundred bytes.
const LONGEST_ANSWER: usize = 1 << 16;

const fn size<T>() -> u32 {
    size_of::<T>() as u32
}

/// The result of an ioctl that is not negative.
fn check(result: libc::c_int) -> io::Result<u32> {
    u32::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// An ioctl whose argument is a number or nothing.
///
/// # Safety
/// The kernel must not take `argument` for an address.
unsafe fn with_value(file: &impl AsRawFd, request: libc::Ioctl, argument: libc::c_ulong) -> io::Result<u32> {
    // SAFETY: the descriptor is open; the caller vouches for the argument.
    check(unsafe { libc::ioctl(file.as_raw_fd(), request, argument) })
}

/// An ioctl whose argument is a structure.
///
/// # Safety
/// The kernel must take the argument of `request` for a `T` and touch no more than it.
unsafe fn with<T>(file: &impl AsRawFd, request: libc::Ioctl, argument: &mut T) -> io::Result<u32> {
    // SAFETY: the descriptor is open, the structure is initialised and lives past the call; the caller
    // vouches for its type.
    check(unsafe { libc::ioctl(file.as_raw_fd(), request, std::ptr::from_mut(argument)) })
}

/// Gives a container its type of IOMMU; it has a group already.
pub(super) fn set_iommu(container: &VfioContainer, kind: u32) -> io::Result<()> {
    // SAFETY: the argument is a number.
    unsafe { with_value(container, SET_IOMMU, kind.into()) }.map(drop)
}

/// Flags of a group.
pub(super) fn group_flags(group: &File) -> io::Result<u32> {
    let mut status = vfio::vfio_group_status { argsz: size::<vfio::vfio_group_status>(), flags: 0 };
    // SAFETY: the structure of this request; the kernel goes by `argsz`.
    unsafe { with(group, GROUP_GET_STATUS, &mut status) }?;
    Ok(status.flags)
}

/// Puts a group into a container.
pub(super) fn set_container(group: &File, container: &VfioContainer) -> io::Result<()> {
    let mut fd: i32 = container.as_raw_fd();
    // SAFETY: the request takes the address of an `int`.
    unsafe { with(group, GROUP_SET_CONTAINER, &mut fd) }.map(drop)
}

/// Opens a device of a group that is in a container with an IOMMU.
pub(super) fn device_file(group: &File, name: &CStr) -> io::Result<File> {
    // SAFETY: the request takes the address of a string that ends with a zero byte; it only reads it.
    let fd = check(unsafe { libc::ioctl(group.as_raw_fd(), GROUP_GET_DEVICE_FD, name.as_ptr()) })?;
    // SAFETY: the kernel made this descriptor for us, and nobody else knows it.
    Ok(unsafe { File::from_raw_fd(fd as RawFd) })
}

/// Flags, and numbers of regions and interrupt kinds, of a device.
pub(super) fn device_info(device: &File) -> io::Result<vfio::vfio_device_info> {
    let mut info = vfio::vfio_device_info { argsz: size::<vfio::vfio_device_info>(), ..Default::default() };
    // SAFETY: the structure of this request; the kernel goes by `argsz`.
    unsafe { with(device, DEVICE_GET_INFO, &mut info) }?;
    Ok(info)
}

/// Asks for an answer that says how long it is, `first` being its fixed part with the size in front.
///
/// # Safety
/// `request` must take the address of a `T`, whose first member is the `argsz` that bounds what the
/// kernel writes. A `T` must be plain data.
unsafe fn long_answer<T: Copy>(file: &impl AsRawFd, request: libc::Ioctl, first: T) -> io::Result<(T, Vec<u8>)> {
    // 8-byte words, as no member needs a greater alignment.
    let fixed = size_of::<T>();
    let mut words = vec![0_u64; fixed.div_ceil(8)];
    for _ in 0..2 {
        let base = words.as_mut_ptr();
        // SAFETY: there are at least `fixed` bytes, aligned to 8.
        unsafe { base.cast::<T>().write(first) };
        let room = words.len() * 8;
        // SAFETY: the first member is a u32, says the caller.
        unsafe { base.cast::<u32>().write(room as u32) };
        // SAFETY: the buffer has `room` bytes, which the kernel knows from `argsz`.
        check(unsafe { libc::ioctl(file.as_raw_fd(), request, base) })?;
        // SAFETY: as above.
        let wanted = unsafe { base.cast::<u32>().read() } as usize;
        if wanted <= room {
            break;
        }
        if wanted > LONGEST_ANSWER {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is too long"));
        }
        words = vec![0; wanted.div_ceil(8)];
    }
    // SAFETY: at least `fixed` bytes that the kernel and we filled; plain data, says the caller.
    let answer = unsafe { words.as_ptr().cast::<T>().read() };
    Ok((answer, words.iter().flat_map(|word| word.to_ne_bytes()).collect()))
}

/// A region of a device, and the same with its capability chain as bytes.
pub(super) fn region_info(device: &File, index: u32) -> io::Result<(vfio::vfio_region_info, Vec<u8>)> {
    let first = vfio::vfio_region_info { index, ..Default::default() };
    // SAFETY: plain data that begins with `argsz`; the structure of this request.
    unsafe { long_answer(device, DEVICE_GET_REGION_INFO, first) }
}

/// A kind of interrupts of a device.
pub(super) fn irq_info(device: &File, index: u32) -> io::Result<vfio::vfio_irq_info> {
    let mut info = vfio::vfio_irq_info { argsz: size::<vfio::vfio_irq_info>(), index, ..Default::default() };
    // SAFETY: the structure of this request; the kernel goes by `argsz`.
    unsafe { with(device, DEVICE_GET_IRQ_INFO, &mut info) }?;
    Ok(info)
}

/// Sets up interrupts. A positive answer is the number of vectors that the host has room for.
pub(super) fn set_irqs(device: &File, set: &super::irq_set::IrqSet) -> io::Result<u32> {
    // SAFETY: `IrqSet` is a `vfio_irq_set` with the data that its `argsz` tells, aligned to 4; the
    // kernel only reads it.
    check(unsafe { libc::ioctl(device.as_raw_fd(), DEVICE_SET_IRQS, set.words().as_ptr()) })
}

/// Resets a device.
pub(super) fn reset(device: &File) -> io::Result<()> {
    // SAFETY: takes no argument.
    unsafe { with_value(device, DEVICE_RESET, 0) }.map(drop)
}

/// From now on a signal on `event` stores the 16-bit `value` at `offset` of the device file; with no
/// event, not any more.
pub(super) fn ioeventfd(device: &File, offset: u64, value: u16, event: Option<RawFd>) -> io::Result<()> {
    let mut link = vfio::vfio_device_ioeventfd {
        argsz: size::<vfio::vfio_device_ioeventfd>(),
        flags: vfio::VFIO_DEVICE_IOEVENTFD_16,
        offset,
        data: value.into(),
        fd: event.unwrap_or(-1),
        reserved: 0,
    };
    // SAFETY: the structure of this request; the kernel goes by `argsz`.
    unsafe { with(device, DEVICE_IOEVENTFD, &mut link) }.map(drop)
}

/// Gives a PF its token.
pub(super) fn set_token(device: &File, token: &VfToken) -> io::Result<()> {
    #[repr(C)]
    struct TokenFeature {
        header: [u32; 2],
        uuid: [u8; 16],
    }
    let flags = vfio::VFIO_DEVICE_FEATURE_SET | vfio::VFIO_DEVICE_FEATURE_PCI_VF_TOKEN;
    let mut feature = TokenFeature { header: [size::<TokenFeature>(), flags], uuid: *token.bytes() };
    // SAFETY: a `vfio_device_feature` (argsz, flags) with the 16 bytes of this feature behind; the
    // kernel goes by `argsz`.
    unsafe { with(device, DEVICE_FEATURE, &mut feature) }.map(drop)
}

/// Takes a device for an iommufd, with the token if there is one.
pub(super) fn bind_iommufd(device: &File, iommufd: &IommuFd, token: Option<&VfToken>) -> io::Result<()> {
    let mut bind = vfio::vfio_device_bind_iommufd {
        argsz: size::<vfio::vfio_device_bind_iommufd>(),
        flags: token.map_or(0, |_| vfio::VFIO_DEVICE_BIND_FLAG_TOKEN),
        iommufd: iommufd.as_raw_fd(),
        out_devid: 0,
        token_uuid_ptr: token.map_or(0, |token| token.bytes().as_ptr() as u64),
    };
    // SAFETY: the structure of this request; the kernel goes by `argsz`, and reads the 16 bytes of the
    // token, which outlive the call.
    unsafe { with(device, DEVICE_BIND_IOMMUFD, &mut bind) }.map(drop)
}

/// Attaches a device that is bound to an iommufd to one of its address spaces.
pub(super) fn attach_iommufd(device: &File, ioas: u32) -> io::Result<()> {
    let mut attach = vfio::vfio_device_attach_iommufd_pt {
        // Without the PASID, which is newer than the request.
        argsz: 12,
        pt_id: ioas,
        ..Default::default()
    };
    // SAFETY: the structure of this request; the kernel goes by `argsz`.
    unsafe { with(device, DEVICE_ATTACH_IOMMUFD_PT, &mut attach) }.map(drop)
}

/// Ends [`attach_iommufd`]: no mapping of the address space is the device's any more.
pub(super) fn detach_iommufd(device: &File) -> io::Result<()> {
    // Without the PASID, as above.
    let mut detach = vfio::vfio_device_detach_iommufd_pt { argsz: 8, ..Default::default() };
    // SAFETY: the structure of this request; the kernel goes by `argsz`.
    unsafe { with(device, DEVICE_DETACH_IOMMUFD_PT, &mut detach) }.map(drop)
}

/// What the IOMMU of a container can do, as bytes with the capability chain.
pub(super) fn iommu_info(container: &VfioContainer) -> io::Result<(vfio::vfio_iommu_type1_info, Vec<u8>)> {
    // SAFETY: plain data that begins with `argsz`; the structure of this request.
    unsafe { long_answer(container, IOMMU_GET_INFO, vfio::vfio_iommu_type1_info::default()) }
}

/// Ranges (first and last address) that an address space can map.
pub(super) fn iova_ranges(iommufd: &IommuFd, ioas: u32) -> io::Result<Vec<(u64, u64)>> {
    const MOST: usize = 256;
    let mut found = [iommufd::iommu_iova_range { start: 0, last: 0 }; MOST];
    let mut ranges = iommufd::iommu_ioas_iova_ranges {
        size: size::<iommufd::iommu_ioas_iova_ranges>(),
        ioas_id: ioas,
        num_iovas: MOST as u32,
        __reserved: 0,
        allowed_iovas: found.as_mut_ptr() as u64,
        out_iova_alignment: 0,
    };
    // SAFETY: the structure of this request; the kernel writes at most `num_iovas` elements to the
    // array, which lives past the call.
    unsafe { with(iommufd, IOAS_IOVA_RANGES, &mut ranges) }?;
    Ok(found.iter().take(ranges.num_iovas as usize).map(|range| (range.start, range.last)).collect())
}

/// Lets the devices of `space` read and write `len` bytes of `region` from `offset` on, at the IOVAs
/// that are as far from the region's own.
pub(super) fn map(space: &dyn VfioOps, region: &GuestRegionMmap<()>, offset: u64, len: u64) -> io::Result<()> {
    let outside = || io::Error::from(io::ErrorKind::InvalidInput);
    offset.checked_add(len).filter(|end| *end <= region.len()).ok_or_else(outside)?;
    let iova = region.start_addr().checked_add(offset).ok_or_else(outside)?;
    let address = region.get_host_address(MemoryRegionAddress(offset)).map_err(io::Error::other)?;
    // SAFETY: these bytes are the region's, which vm-memory accesses by volatile and atomic operations
    // on raw pointers alone. `Mappings` keeps the region until the bytes are unmapped.
    unsafe { space.vfio_dma_map(iova.0, len as usize, address) }.map_err(kernels_answer)
}

/// Ends all mappings inside a range, all of which is mapped.
pub(super) fn unmap(space: &dyn VfioOps, iova: u64, len: u64) -> io::Result<()> {
    space.vfio_dma_unmap(iova, len as usize).map_err(kernels_answer)
}

/// What the kernel answered, out of what the crates make of it.
pub(super) fn kernels_answer(error: VfioError) -> io::Error {
    use IommufdError::{IommuIoasAlloc, IommuIoasMap, IommuIoasUnmap};
    match error {
        VfioError::IommuDmaMap(answer)
        | VfioError::IommuDmaUnmap(answer)
        | VfioError::NewVfioIommufd(IommuIoasAlloc(answer))
        | VfioError::IommufdIoctlError(IommuIoasMap(answer) | IommuIoasUnmap(answer)) => answer.into(),
        other => io::Error::other(other),
    }
}
