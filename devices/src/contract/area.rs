// SPDX-License-Identifier: Apache-2.0
//! The two parts of the legacy register space.

/// The two parts of the legacy register space (virtio 1.3, "Legacy Interfaces: A Note on PCI Device
/// Layout"). Offsets are relative to their part, so MSI-X on or off does not move them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Area {
    /// Virtio header: offsets 0..=19, and the MSI-X vectors at 20 and 22.
    Common,
    /// Device-specific configuration, from 0.
    Device,
}
