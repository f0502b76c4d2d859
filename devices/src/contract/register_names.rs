// SPDX-License-Identifier: Apache-2.0
//! The legacy registers that are told apart in counters, reports and traces, and their names. Pure.

use super::area::Area;

/// Names of the registers in the standard, by [`register_index`]; the last one stands for all of device
/// configuration.
pub const REGISTER_NAMES: [&str; 11] = [
    "device_features",
    "driver_features",
    "queue_address",
    "queue_size",
    "queue_select",
    "queue_notify",
    "device_status",
    "isr_status",
    "config_msix_vector",
    "queue_msix_vector",
    "device_config",
];

/// Place of the register at `offset` of `area` in [`REGISTER_NAMES`].
pub const fn register_index(area: Area, offset: u8) -> usize {
    match (area, offset) {
        (Area::Common, 0..=11) => offset as usize / 4,
        (Area::Common, 12..=17) => offset as usize / 2 - 3,
        (Area::Common, 18..=19) => offset as usize - 12,
        (Area::Common, 20..=23) => offset as usize / 2 - 2,
        _ => REGISTER_NAMES.len() - 1,
    }
}
