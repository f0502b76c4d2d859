// SPDX-License-Identifier: Apache-2.0
//! Which parts of BARs are in the guest's memory. It compares what is mapped with what should be and
//! changes the difference, what has to go before what has to come: a BAR can move to where another
//! has just left. It touches nothing but mappings; whose windows are decoded is decided elsewhere.

use std::sync::Arc;

use super::{BarWindow, PciDevice};
use crate::contract::platform::{GuestMapper, Mapping};
use crate::function::MappableArea;

/// Most parts of one BAR that are mapped; a MSI-X table and pending bits leave three. The rest of a
/// function that claims more is reached by exits.
const MAX_AREAS: usize = 16;

/// A BAR that is decoded and has parts to map.
pub(super) struct Wanted {
    slot: u8,
    name: String,
    window: BarWindow,
    areas: Vec<MappableArea>,
}

impl Wanted {
    /// What `device` lets be mapped of a decoded memory window; `None` if nothing. Parts that are not
    /// whole pages of the window are left out: what lies beside them is somebody else's.
    pub(super) fn new(slot: u8, device: &dyn PciDevice, window: &BarWindow) -> Option<Self> {
        let mut areas = device.mappable(window.bar);
        areas.retain(|area| fits(area, window));
        areas.truncate(MAX_AREAS);
        (!areas.is_empty()).then(|| Self { slot, name: device.name().to_owned(), window: *window, areas })
    }
}

/// Whether an area is made of whole pages, lies inside its window, and the window starts at a page.
fn fits(area: &MappableArea, window: &BarWindow) -> bool {
    let pages = [area.offset, area.size, area.file_offset, window.base].into_iter().all(|n| n % 4096 == 0);
    let end = area.offset.checked_add(area.size);
    pages && area.size != 0 && end.is_some_and(|end| end <= window.size)
}

/// One BAR as it was mapped.
struct Live {
    slot: u8,
    window: BarWindow,
    /// Offsets and sizes of what was wanted: a function may change its mind.
    wanted: Vec<(u64, u64)>,
    bytes: u64,
    _mappings: Vec<Box<dyn Mapping>>,
}

impl Live {
    fn is(&self, wanted: &Wanted) -> bool {
        let areas = wanted.areas.iter().map(|area| (area.offset, area.size));
        self.slot == wanted.slot && self.window == wanted.window && areas.eq(self.wanted.iter().copied())
    }
}

/// The mapped BARs of a machine.
#[derive(Default)]
pub(super) struct MappedBars {
    mapper: Option<Arc<dyn GuestMapper>>,
    live: Vec<Live>,
    /// Slots whose failure was logged: a guest can cause one at will.
    logged: u32,
}

impl MappedBars {
    /// Whatever is to be mapped is mapped by `mapper`.
    pub(super) fn set_mapper(&mut self, mapper: Arc<dyn GuestMapper>) {
        self.mapper = Some(mapper);
    }

    /// Makes `wanted`, windows that do not overlap, be what is mapped.
    pub(super) fn set(&mut self, wanted: Vec<Wanted>) {
        self.live.retain(|live| wanted.iter().any(|wanted| live.is(wanted)));
        let Some(mapper) = self.mapper.clone() else { return };
        for wanted in wanted {
            if !self.live.iter().any(|live| live.is(&wanted)) {
                let live = self.map(mapper.as_ref(), &wanted);
                self.live.push(live);
            }
        }
    }

    /// Maps what can be mapped. What cannot is tried again when the BAR moves and not before.
    fn map(&mut self, mapper: &dyn GuestMapper, wanted: &Wanted) -> Live {
        let (mut mappings, mut bytes) = (Vec::new(), 0_u64);
        for area in &wanted.areas {
            // Inside a window, which does not wrap.
            match mapper.map(wanted.window.base.wrapping_add(area.offset), area) {
                Ok(mapping) => {
                    mappings.push(mapping);
                    bytes = bytes.saturating_add(area.size);
                }
                Err(error) => self.log(wanted, &error),
            }
        }
        let areas = wanted.areas.iter().map(|area| (area.offset, area.size)).collect();
        Live { slot: wanted.slot, window: wanted.window, wanted: areas, bytes, _mappings: mappings }
    }

    fn log(&mut self, wanted: &Wanted, error: &std::io::Error) {
        let bit = 1_u32.checked_shl(wanted.slot.into()).unwrap_or(0);
        if self.logged & bit == 0 {
            self.logged |= bit;
            let (device, bar, base) = (&wanted.name, wanted.window.bar, wanted.window.base);
            tracing::info!(device, bar, base, %error, "a BAR is not mapped into the guest; accesses exit to the VMM");
        }
    }

    /// Bytes mapped of the function in `slot`.
    pub(super) fn bytes(&self, slot: u8) -> u64 {
        self.live.iter().filter(|live| live.slot == slot).map(|live| live.bytes).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
#[path = "mapped_tests.rs"]
mod tests;
