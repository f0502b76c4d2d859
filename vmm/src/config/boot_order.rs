// SPDX-License-Identifier: Apache-2.0
//! Places in the firmware's boot order. Pure.

use api::VmConfig;

use super::ConfigError;

/// Checks the places of all functions: each once, and none where no firmware asks for them.
pub(super) fn check(config: &VmConfig) -> Result<(), ConfigError> {
    let mut given = Vec::new();
    let of_vfs = config.legacy_virtio.iter().map(|device| ("legacy_virtio.bootindex", device.bootindex));
    let others = config.devices.iter().map(|device| ("devices.bootindex", device.bootindex));
    for (field, index) in of_vfs.chain(others) {
        let Some(index) = index else { continue };
        let wrong = |text: String| Err(ConfigError::Value { field, text });
        if config.payload.kernel.is_some() {
            return wrong(format!("bootindex={index} is for the firmware: leave it out, or the kernel"));
        }
        if given.contains(&index) {
            return wrong(format!(
                "bootindex={index} is given twice: each function has its own place in the boot order"
            ));
        }
        given.push(index);
    }
    Ok(())
}

/// Slots in boot order, from the functions in slot order: those with a place first.
pub(crate) fn sorted(slots: &[(u8, Option<u8>)]) -> Vec<u8> {
    let mut slots = slots.to_vec();
    slots.sort_by_key(|(slot, index)| (index.is_none(), *index, *slot));
    slots.into_iter().map(|(slot, _)| slot).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_with_a_place_come_first() {
        let slots = [(2, None), (3, Some(7)), (4, None), (5, Some(0))];
        assert_eq!(sorted(&slots), [5, 3, 2, 4]);
    }
}
