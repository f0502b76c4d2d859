// SPDX-License-Identifier: Apache-2.0
//! Functions behind the kernel's VFIO: opened by group and container or by character device and
//! iommufd, with VF tokens.
//!
//! `unsafe` is only in `ioctl`. What the kernel answers is not trusted to lie in bounds; what a
//! device answers is data.
//!
//! | module | what it is | opens files |
//! | --- | --- | --- |
//! | [`bdf`](Bdf), [`token`](VfToken) | addresses and VF tokens | no |
//! | [`sysfs`] | what sysfs tells of functions | reads |
//! | `preflight` | can it be opened? | reads |
//! | `holders` | who has a node open? | reads `/proc` |
//! | `ioctl` | one function for each ioctl | no |
//! | `irq_set`, `info_chain`, `mappable`, `mappings` | pure parts | no |
//! | `dma` | [`DmaSpace`]: a container or an address space of an iommufd | no |
//! | `attachment` | a function in a space; leaves nothing behind | `/dev/vfio`, `/dev/iommu` |
//! | `device` | an open device: regions and configuration space | no |
//! | `interrupts` | INTx, MSI, MSI-X, and the events of the device itself | no |
//! | `function` | [`VfioFunction`] | no |
//! | `bar0` | [`VfioBar0Registers`]: the legacy registers that `virtio_vfio_pci` offers | no |

mod attachment;
mod bar0;
mod bdf;
mod device;
mod dma;
mod dma_error;
#[cfg(test)]
mod fixture;
mod function;
mod holders;
mod info_chain;
mod interrupts;
mod ioctl;
mod irq_set;
mod mappable;
mod mappings;
mod open_error;
mod preflight;
pub mod sysfs;
mod token;

pub use bar0::{Bar0Error, VfioBar0Registers};
pub use bdf::{Bdf, BdfError};
pub use dma::{DmaProgress, DmaSpace};
pub use dma_error::DmaError;
pub use function::VfioFunction;
pub use holders::{Holder, holders};
pub use open_error::OpenError;
pub use preflight::{HostPaths, Preflight, group_blockers, is_no_iommu_group, is_vfio_driver, preflight};
pub use token::{TokenError, VfToken};

/// How a function is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As the other functions of the space; for the earliest of them by character device where this
    /// user can open that and `/dev/iommu`, else by group.
    #[default]
    Auto,
    /// `/dev/vfio/N` and a container with a type 1 IOMMU.
    Group,
    /// `/dev/vfio/devices/vfioN` and an iommufd.
    Cdev,
}

/// Which function to open, and how.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Its address.
    pub bdf: Bdf,
    /// The way.
    pub mode: Mode,
    /// The token that the PF and its VFs share.
    pub token: Option<VfToken>,
    /// Where the kernel's files are.
    pub paths: HostPaths,
}

impl OpenOptions {
    /// `bdf`, by either way, without a token.
    pub fn new(bdf: Bdf) -> Self {
        Self { bdf, mode: Mode::Auto, token: None, paths: HostPaths::default() }
    }
}
