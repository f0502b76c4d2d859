// SPDX-License-Identifier: Apache-2.0
//! What a driver in this process can do to a PCI function, whatever stands behind it: a software
//! function in this process, a function of the host behind the kernel's VFIO, a server of vfio-user.
//!
//! One trait for each concern, so that a user that needs only configuration space asks for no more, and one that
//! has no interrupts writes nothing about them. [`PciFunction`] is their sum. All methods may be called
//! from any thread. Users may not ask what kind a function is.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;

use thiserror::Error;
use vm_memory::GuestRegionMmap;
use vmm_sys_util::eventfd::EventFd;

use super::Width;

/// A piece of memory that a function may reach by DMA. Its start address is the IOVA.
pub type DmaRegion = Arc<GuestRegionMmap<()>>;

/// Why an operation on a function failed.
#[derive(Debug, Error)]
pub enum FunctionError {
    /// The access is not inside the region or the configuration space.
    #[error("{name}: {width}-byte access at {offset:#x} is outside {what}")]
    OutOfRange {
        /// The function.
        name: String,
        /// "BAR 2" or "configuration space".
        what: String,
        /// Offset of the access.
        offset: u64,
        /// Its width in bytes.
        width: usize,
    },
    /// The function, or what stands behind it, cannot do this.
    #[error("{name}: {what} is not supported")]
    Unsupported {
        /// The function.
        name: String,
        /// The operation.
        what: &'static str,
    },
    /// The function is gone: unplugged, or its VF was disabled.
    #[error("{name}: the function is gone")]
    Gone {
        /// The function.
        name: String,
    },
    /// The system refused.
    #[error("{name}: cannot {what}")]
    Io {
        /// The function.
        name: String,
        /// The operation.
        what: &'static str,
        /// The reason.
        source: io::Error,
    },
}

/// Result of an operation on a function.
pub type Result<T> = std::result::Result<T, FunctionError>;

/// Size and kind of a BAR of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Bytes; a power of two.
    pub size: u64,
    /// Whether it is an I/O BAR; it is neither 64-bit nor prefetchable then.
    pub is_io: bool,
    /// Whether the BAR is a 64-bit one.
    pub is_64bit: bool,
    /// Whether the BAR is prefetchable.
    pub prefetchable: bool,
}

/// A part of a memory BAR that may be mapped, so that accesses to it need nobody's help. Parts of one
/// BAR are sorted and do not overlap; pages of the MSI-X table and pending bits are in none of them.
#[derive(Clone, Debug)]
pub struct MappableArea {
    /// Where it begins in the BAR; a multiple of 4096.
    pub offset: u64,
    /// Bytes; a multiple of 4096.
    pub size: u64,
    /// What to map, shared.
    pub file: Arc<File>,
    /// Where the area begins in `file`.
    pub file_offset: u64,
}

/// The eventfds of a level-triggered INTx pin.
#[derive(Clone, Copy, Debug)]
pub struct IntxEvents<'a> {
    /// Signalled when the function asserts its pin; the pin is masked then.
    pub trigger: &'a EventFd,
    /// A signal on it unmasks the pin: the guest has handled the interrupt.
    pub unmask: &'a EventFd,
}

/// Counts the writes that an ioeventfd link made to the function; drop it to end the link.
pub trait KickLink: Send + Sync {
    /// Writes made so far, where the function can tell.
    fn count(&self) -> Option<u64>;
}

/// A function, by the name that logs and errors have.
pub trait Named: Send + Sync + fmt::Debug {
    /// Address or name, such as `0000:41:00.3` or `soft/vf1`.
    fn name(&self) -> &str;

    /// The error of an operation that this function does not have.
    fn unsupported(&self, what: &'static str) -> FunctionError {
        FunctionError::Unsupported { name: self.name().to_owned(), what }
    }
}

/// The configuration space of a function: 4096 bytes, little-endian (PCI Express, "Configuration Space").
pub trait Configuration: Named {
    /// Reads configuration space.
    fn config_read(&self, offset: u16, width: Width) -> Result<u32>;
    /// Writes configuration space.
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<()>;
}

/// The BARs of a function.
pub trait Bars: Named {
    /// The BAR `bar` (0..=5), or `None` where the function has none.
    fn region(&self, bar: u8) -> Option<Region>;
    /// Reads a BAR; the value has no bits above `width`.
    fn region_read(&self, bar: u8, offset: u64, width: Width) -> Result<u64>;
    /// Writes a BAR.
    fn region_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> Result<()>;

    /// The parts of a BAR that may be mapped; none where every access must be made by
    /// [`Self::region_read`] and [`Self::region_write`].
    fn mappable(&self, _bar: u8) -> Result<Vec<MappableArea>> {
        Ok(Vec::new())
    }

    /// From now on a signal on `event` writes the 16-bit `value` at `offset` of `bar`, without the VMM.
    fn link_ioeventfd(&self, _bar: u8, _offset: u64, _value: u16, _event: &EventFd) -> Result<Box<dyn KickLink>> {
        Err(self.unsupported("ioeventfd"))
    }
}

/// The interrupts of a function, each an eventfd that it signals. A function has none of a kind unless it
/// says so. Another process may have the eventfds too, so a function signals them without waiting, as
/// the kernel does.
pub trait Interrupts: Named {
    /// Number of MSI-X vectors the function has; 0 means no MSI-X.
    fn msix_vectors(&self) -> u16 {
        0
    }
    /// Enables MSI-X on the function with vector `n` signalling `events[n]`; `None` leaves that
    /// vector silent. Replaces what was set before. The driver does not touch the MSI-X
    /// capability or table itself.
    fn set_msix(&self, _events: &[Option<&EventFd>]) -> Result<()> {
        Err(self.unsupported("MSI-X"))
    }
    /// Disables MSI-X on the function.
    fn disable_msix(&self) -> Result<()> {
        Ok(())
    }

    /// Number of MSI vectors the function has; 0 means no MSI.
    fn msi_vectors(&self) -> u16 {
        0
    }
    /// As [`Self::set_msix`], for MSI. An empty slice disables it.
    fn set_msi(&self, _events: &[Option<&EventFd>]) -> Result<()> {
        Err(self.unsupported("MSI"))
    }

    /// Whether the function has an INTx pin.
    fn has_intx(&self) -> bool {
        false
    }
    /// Enables INTx with these eventfds, or disables it.
    fn set_intx(&self, _events: Option<IntxEvents<'_>>) -> Result<()> {
        Err(self.unsupported("INTx"))
    }
}

/// What memory a function reaches.
pub trait Dma: Named {
    /// Lets the function reach `region` by DMA, at IOVA `region.start_addr()`.
    fn dma_map(&self, region: &DmaRegion) -> Result<()>;
    /// Ends [`Self::dma_map`] of the region that starts at `iova`. No access is made to it afterwards.
    fn dma_unmap(&self, iova: u64) -> Result<()>;
}

/// How a function starts over, and how it ends.
pub trait Lifetime: Named {
    /// Function-level reset: everything but the DMA mappings, and perhaps memory decoding, is as after
    /// power-on, MSI-X and bus mastering are off. No DMA is made any more when this returns.
    fn reset(&self) -> Result<()>;

    /// Signalled when the system wants the function back, also when it is being unplugged: whoever
    /// uses it must let go of it soon. `None` where that cannot happen.
    fn removal_event(&self) -> Option<&EventFd> {
        None
    }
    /// Signalled when the function reports an error that it cannot recover from.
    fn error_event(&self) -> Option<&EventFd> {
        None
    }
    /// Ends all waiting for whoever has the function, on whatever thread: it is gone from then on. Does nothing for a
    /// function whose accesses do not wait for another process.
    fn give_up(&self) {}
}

/// One PCI function as its driver sees it.
pub trait PciFunction: Configuration + Bars + Interrupts + Dma + Lifetime {}

impl<T: Configuration + Bars + Interrupts + Dma + Lifetime> PciFunction for T {}
