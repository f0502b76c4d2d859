// SPDX-License-Identifier: Apache-2.0
//! Which entries of a LEGACY_NOTIFY_INFO result can be used (virtio 1.4, driver normative of "Legacy
//! Interface" commands). Pure.

use super::notify_bars::NotifyBars;
use super::wire::{NotifyEntry, NotifyInfo};
use crate::contract::NotifyAddress;

/// Usable addresses in the device's order of preference: in the BARs of the owner (flags 1) or of the member
/// (flags 2), and on none of their structures. Entries that the standard tells drivers to ignore are skipped; the
/// reason is logged at debug level.
pub fn usable_addresses(info: &NotifyInfo, owner: &NotifyBars, member: &NotifyBars) -> Vec<NotifyAddress> {
    let listed = info.entries.iter().take_while(|entry| entry.flags != NotifyEntry::END);
    listed
        .filter_map(|entry| match check(entry, owner, member) {
            Ok(address) => Some(address),
            Err(why) => {
                tracing::debug!(?entry, why, "notify address skipped");
                None
            }
        })
        .collect()
}

fn check(entry: &NotifyEntry, owner: &NotifyBars, member: &NotifyBars) -> Result<NotifyAddress, &'static str> {
    let NotifyEntry { flags, bar, offset } = *entry;
    let (bars, address) = match flags {
        NotifyEntry::OWNER => (owner, NotifyAddress::Owner { bar, offset }),
        NotifyEntry::MEMBER => (member, NotifyAddress::Member { bar, offset }),
        _ => return Err("reserved flags"),
    };
    if !(1..=5).contains(&bar) {
        return Err("BAR number not in 1..=5");
    }
    if offset % 2 != 0 {
        return Err("odd offset");
    }
    bars.check(bar, offset).map(|()| address)
}

#[cfg(test)]
#[path = "notify_tests.rs"]
mod tests;
