// SPDX-License-Identifier: Apache-2.0
//! Which entries of a LEGACY_NOTIFY_INFO result can be used (virtio 1.4, driver normative of "Legacy
//! Interface" commands). Pure.

use super::wire::{NotifyEntry, NotifyInfo};
use crate::contract::NotifyAddress;

/// Usable addresses in the device's order of preference. `region_size` gives the bytes of BAR `bar`
/// of the owner (flags 1) or the member (flags 2), `None` where there is no such BAR. Entries that
/// the standard tells drivers to ignore are skipped; the reason is logged at debug level.
pub fn usable_addresses(info: &NotifyInfo, region_size: impl Fn(u8, u8) -> Option<u64>) -> Vec<NotifyAddress> {
    let listed = info.entries.iter().take_while(|entry| entry.flags != NotifyEntry::END);
    listed
        .filter_map(|entry| match check(entry, &region_size) {
            Ok(address) => Some(address),
            Err(why) => {
                tracing::debug!(?entry, why, "notify address skipped");
                None
            }
        })
        .collect()
}

fn check(entry: &NotifyEntry, region_size: impl Fn(u8, u8) -> Option<u64>) -> Result<NotifyAddress, &'static str> {
    let NotifyEntry { flags, bar, offset } = *entry;
    if !matches!(flags, NotifyEntry::OWNER | NotifyEntry::MEMBER) {
        return Err("reserved flags");
    }
    if !(1..=5).contains(&bar) {
        return Err("BAR number not in 1..=5");
    }
    if offset % 2 != 0 {
        return Err("odd offset");
    }
    let size = region_size(flags, bar).ok_or("the function has no such BAR")?;
    if offset.checked_add(2).is_none_or(|end| end > size) {
        return Err("offset outside the BAR");
    }
    Ok(match flags {
        NotifyEntry::MEMBER => NotifyAddress::Member { bar, offset },
        _ => NotifyAddress::Owner { bar, offset },
    })
}

#[cfg(test)]
#[path = "notify_tests.rs"]
mod tests;
