// SPDX-License-Identifier: Apache-2.0
//! The notify address of a function: a 16-bit place in a BAR where a store of a queue's index kicks that queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::contract::{NotifyAddress, Width};
use crate::function::PciFunction;

/// The functions that notify addresses may be in.
pub(in crate::transitional) struct Reach {
    /// The VF.
    pub vf: Arc<dyn PciFunction>,
    /// The PF, if this process drives it.
    pub owner: Option<Arc<dyn PciFunction>>,
}

/// Where kicks are stored.
#[derive(Clone, Copy)]
pub(super) struct Doorbell<'a> {
    /// The function that has the BAR: the VF, or the PF.
    pub function: &'a Arc<dyn PciFunction>,
    /// BAR number.
    pub bar: u8,
    /// Bytes into the BAR.
    pub offset: u64,
    /// Whether it is the PF's.
    pub of_owner: bool,
}

impl<'a> Doorbell<'a> {
    /// The doorbell at the earliest of `addresses` that this process can reach. Without one, kicks are
    /// register writes.
    pub(super) fn find(addresses: &[NotifyAddress], reach: &'a Reach) -> Option<Self> {
        addresses.iter().find_map(|address| Self::at(*address, reach))
    }

    /// An address in the PF's BAR needs the PF. An address outside its BAR is ignored.
    fn at(address: NotifyAddress, reach: &'a Reach) -> Option<Self> {
        let (function, bar, offset, of_owner) = match address {
            NotifyAddress::Member { bar, offset } => (&reach.vf, bar, offset, false),
            NotifyAddress::Owner { bar, offset } => (reach.owner.as_ref()?, bar, offset, true),
        };
        let size = function.region(bar)?.size;
        let fits = offset % 2 == 0 && offset.checked_add(2).is_some_and(|end| end <= size) && offset <= OFFSET;
        fits.then_some(Self { function, bar, offset, of_owner })
    }

    /// Kicks `queue`.
    pub(super) fn ring(&self, queue: u16) -> crate::function::Result<()> {
        self.function.region_write(self.bar, self.offset, Width::B2, queue.into())
    }
}

impl std::fmt::Display for Doorbell<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whose = if self.of_owner { "owner" } else { "member" };
        write!(f, "{whose} BAR {} + {:#x}", self.bar, self.offset)
    }
}

/// There is a doorbell.
const PRESENT: u64 = 1 << 63;
/// It is the PF's.
const OWNER: u64 = 1 << 62;
/// Where the BAR's number is, three bits.
const BAR: u32 = 59;
/// The rest is the offset. No BAR is that large.
const OFFSET: u64 = (1 << BAR) - 1;

/// Which doorbell is in use, in one word: kicks read it without a lock and without a count, and it may change meanwhile.
#[derive(Default)]
pub(super) struct InUse(AtomicU64);

impl InUse {
    /// This one from now on.
    pub(super) fn set(&self, doorbell: Option<Doorbell<'_>>) {
        let word = doorbell.map_or(0, |at| {
            let owner = if at.of_owner { OWNER } else { 0 };
            PRESENT | owner | u64::from(at.bar & 7) << BAR | at.offset
        });
        self.0.store(word, Ordering::SeqCst);
    }

    /// The one that was set, in the functions that it was found in.
    pub(super) fn get<'a>(&self, reach: &'a Reach) -> Option<Doorbell<'a>> {
        let word = self.0.load(Ordering::SeqCst);
        if word & PRESENT == 0 {
            return None;
        }
        let of_owner = word & OWNER != 0;
        let function = if of_owner { reach.owner.as_ref()? } else { &reach.vf };
        Some(Doorbell { function, bar: (word >> BAR) as u8 & 7, offset: word & OFFSET, of_owner })
    }
}
