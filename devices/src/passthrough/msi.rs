// SPDX-License-Identifier: Apache-2.0
//! The MSI capability as the guest sees it, and the interrupts behind it. Source: PCI Local Bus 3.0,
//! 6.8.1. Pending bits read as 0: a masked vector's signal waits in its eventfd all the same.

use std::io;
use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

use crate::bus::Width;
use crate::contract::platform::{MsiInterrupt, MsiMessage, MsiSource};
use crate::pci::ConfigSpace;

const ENABLE: u16 = 1;
const IS_64BIT: u16 = 1 << 7;
const MASKABLE: u16 = 1 << 8;
/// Most vectors, as a power of two.
const MAX_LOG2: u16 = 5;

/// Where the capability is, and what it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MsiCapability {
    at: u16,
    /// Vectors the guest may enable, as a power of two: 0 to 5.
    log2: u16,
    is_64bit: bool,
    maskable: bool,
}

/// What the guest has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MsiSetting {
    /// Vectors in use; 0 is MSI off.
    pub vectors: u16,
    message: MsiMessage,
    masked: u32,
}

impl MsiCapability {
    /// The capability at `at` whose message control reads `control`, of a function with `vectors`
    /// vectors. `None` if there are none, or the capability does not fit into 256 bytes.
    pub(super) fn new(at: u16, control: u16, vectors: u16) -> Option<Self> {
        let log2 = u16::try_from(vectors.checked_ilog2()?).ok()?.min(MAX_LOG2).min(control >> 1 & 7);
        let capability = Self { at, log2, is_64bit: control & IS_64BIT != 0, maskable: control & MASKABLE != 0 };
        (usize::from(at) + 2 + capability.registers().0.len() <= 256).then_some(capability)
    }

    /// Most vectors.
    pub(super) const fn vectors(&self) -> u16 {
        1 << self.log2
    }

    /// Registers behind the header, and which of their bits a guest can write.
    pub(super) fn registers(&self) -> (Vec<u8>, Vec<u8>) {
        let mut control = self.log2 << 1;
        control |= if self.is_64bit { IS_64BIT } else { 0 } | if self.maskable { MASKABLE } else { 0 };
        let mut body = control.to_le_bytes().to_vec();
        let mut writable = vec![0x71, 0, 0xfc, 0xff, 0xff, 0xff];
        if self.is_64bit {
            writable.extend([0xff; 4]);
        }
        writable.extend([0xff, 0xff]);
        if self.maskable {
            writable.extend([0, 0]);
            let mask = u32::MAX >> (32 - u32::from(self.vectors()));
            writable.extend(mask.to_le_bytes());
            writable.extend([0; 4]);
        }
        body.resize(writable.len(), 0);
        (body, writable)
    }

    /// What the guest has written to `space`.
    pub(super) fn setting(&self, space: &ConfigSpace) -> MsiSetting {
        let control = space.read(self.at + 2, Width::B2) as u16;
        let high = if self.is_64bit { space.read(self.at + 8, Width::B4) } else { 0 };
        let data = self.at + if self.is_64bit { 12 } else { 8 };
        let masked = if self.maskable { space.read(data + 4, Width::B4) } else { 0 };
        let wanted = 1 << (control >> 4 & 7).min(self.log2);
        MsiSetting {
            vectors: if control & ENABLE != 0 { wanted } else { 0 },
            message: MsiMessage {
                address: u64::from(high) << 32 | u64::from(space.read(self.at + 4, Width::B4)),
                data: space.read(data, Width::B2),
            },
            masked,
        }
    }
}

/// The interrupts of one function's MSI.
pub(super) struct Msi {
    interrupts: Vec<Arc<dyn MsiInterrupt>>,
    routed: Vec<Option<MsiMessage>>,
}

impl Msi {
    /// For as many vectors as the capability has, all off.
    pub(super) fn new(capability: &MsiCapability, source: &dyn MsiSource) -> io::Result<Self> {
        let interrupts = (0..capability.vectors()).map(|_| source.allocate()).collect::<io::Result<Vec<_>>>()?;
        Ok(Self { routed: vec![None; interrupts.len()], interrupts })
    }

    /// What the function signals, vector by vector.
    pub(super) fn events(&self, vectors: u16) -> Vec<Option<&EventFd>> {
        self.interrupts.iter().take(vectors.into()).map(|interrupt| Some(interrupt.event())).collect()
    }

    /// Delivers what the guest wants delivered. The vector's number replaces the low bits of the data.
    pub(super) fn apply(&mut self, setting: &MsiSetting) -> io::Result<()> {
        let mut result = Ok(());
        let low = u32::from(setting.vectors.max(1)) - 1;
        let wanted = |vector: u32| {
            let open = vector < setting.vectors.into() && setting.masked >> vector & 1 == 0;
            open.then_some(MsiMessage { data: setting.message.data & !low | vector, ..setting.message })
        };
        // All before the first is enabled: see `MsiInterrupt::announce`.
        for ((vector, interrupt), routed) in (0..).zip(&self.interrupts).zip(&self.routed) {
            if let Some(message) = wanted(vector).filter(|message| *routed != Some(*message)) {
                interrupt.announce(message);
            }
        }
        for ((vector, interrupt), routed) in (0..).zip(&self.interrupts).zip(&mut self.routed) {
            let wanted = wanted(vector);
            if *routed == wanted {
                continue;
            }
            *routed = None;
            let done = match wanted {
                Some(message) => interrupt.enable(message),
                None => interrupt.disable(),
            };
            match done {
                Ok(()) => *routed = wanted,
                Err(error) => {
                    // The old message must not go on being delivered.
                    let _ = interrupt.disable();
                    result = Err(error);
                }
            }
        }
        result
    }
}

#[cfg(test)]
#[path = "msi_tests.rs"]
mod tests;
