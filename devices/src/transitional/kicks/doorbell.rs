// SPDX-License-Identifier: Apache-2.0
//! The notify address of a function: a 16-bit place in a BAR where a store of a queue's index kicks that queue.

use std::sync::Arc;

use crate::contract::{NotifyAddress, Width};
use crate::function::PciFunction;

/// Where kicks are stored.
#[derive(Clone)]
pub(super) struct Doorbell {
    /// The function that has the BAR: the VF, or the PF.
    pub function: Arc<dyn PciFunction>,
    /// BAR number.
    pub bar: u8,
    /// Bytes into the BAR.
    pub offset: u64,
    /// Whether it is the PF's.
    pub of_owner: bool,
}

impl Doorbell {
    /// The doorbell at the earliest of `addresses` that this process can reach. Without one, kicks are
    /// register writes.
    pub(super) fn find(
        addresses: &[NotifyAddress],
        vf: &Arc<dyn PciFunction>,
        owner: Option<&Arc<dyn PciFunction>>,
    ) -> Option<Self> {
        addresses.iter().find_map(|address| Self::at(*address, vf, owner))
    }

    /// An address in the PF's BAR needs the PF. An address outside its BAR is ignored.
    fn at(address: NotifyAddress, vf: &Arc<dyn PciFunction>, owner: Option<&Arc<dyn PciFunction>>) -> Option<Self> {
        let (function, bar, offset, of_owner) = match address {
            NotifyAddress::Member { bar, offset } => (vf, bar, offset, false),
            NotifyAddress::Owner { bar, offset } => (owner?, bar, offset, true),
        };
        let size = function.region(bar)?.size;
        let fits = offset % 2 == 0 && offset.checked_add(2).is_some_and(|end| end <= size);
        fits.then(|| Self { function: Arc::clone(function), bar, offset, of_owner })
    }

    /// Kicks `queue`.
    pub(super) fn ring(&self, queue: u16) -> crate::function::Result<()> {
        self.function.region_write(self.bar, self.offset, Width::B2, queue.into())
    }
}

impl std::fmt::Display for Doorbell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whose = if self.of_owner { "owner" } else { "member" };
        write!(f, "{whose} BAR {} + {:#x}", self.bar, self.offset)
    }
}
