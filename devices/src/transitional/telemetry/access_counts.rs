// SPDX-License-Identifier: Apache-2.0
//! The guest's accesses to BAR0 by register and direction. Pure; counting never blocks.

use serde::Serialize;

use crate::contract::{Area, Counter, REGISTER_NAMES, register_index};
use crate::spec::virtio::legacy::{ISR_STATUS, QUEUE_NOTIFY};
use crate::transitional::layout::decode::{Direction, Target};

/// Registers, and what is none.
const PLACES: usize = REGISTER_NAMES.len() + 1;
/// Name of what is not a register.
const NONE: &str = "none";

const fn index(target: &Target) -> usize {
    match target {
        Target::Common { register, .. } => register_index(Area::Common, register.offset()),
        Target::Notify => register_index(Area::Common, QUEUE_NOTIFY),
        Target::Isr => register_index(Area::Common, ISR_STATUS),
        Target::Device(_) => register_index(Area::Device, 0),
        Target::Nothing => REGISTER_NAMES.len(),
    }
}

/// Name of the register in the standard; `device_config` for all of device configuration, `none` for holes.
pub(in crate::transitional) fn register_name(target: &Target) -> &'static str {
    REGISTER_NAMES.get(index(target)).copied().unwrap_or(NONE)
}

/// Accesses of the guest to one register. Notifications that need no exit are not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RegisterAccesses {
    /// Name of the register; `device_config` for all of device configuration, `none` for holes.
    pub register: &'static str,
    /// Reads, whoever answered.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

/// Counts of one function.
#[derive(Debug, Default)]
pub(crate) struct AccessCounts {
    reads: [Counter; PLACES],
    writes: [Counter; PLACES],
}

impl AccessCounts {
    /// One access.
    pub(crate) fn count(&self, target: &Target, direction: Direction) {
        let counters = match direction {
            Direction::Read => &self.reads,
            Direction::Write => &self.writes,
        };
        if let Some(counter) = counters.get(index(target)) {
            counter.add();
        }
    }

    /// All of them so far.
    pub(crate) fn snapshot(&self) -> Vec<RegisterAccesses> {
        let counts = self.reads.iter().zip(&self.writes);
        let of = |(register, (reads, writes)): (&&'static str, (&Counter, &Counter))| RegisterAccesses {
            register,
            reads: reads.get(),
            writes: writes.get(),
        };
        REGISTER_NAMES.iter().chain([&NONE]).zip(counts).map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::bus::Width;
    use crate::transitional::tests::bench::Bench;

    #[test]
    fn every_access_is_counted_once_under_its_register() {
        let bench = Bench::net();
        for offset in 0..32 {
            bench.read(offset, Width::B1);
            bench.write(offset, Width::B1, 0);
        }
        bench.w16(16, 1);
        let of = |name| {
            let counts = bench.device.register_accesses();
            let found = counts.iter().find(|c| c.register == name).unwrap();
            (found.reads, found.writes)
        };
        assert_eq!((of("device_features"), of("isr_status"), of("device_status")), ((4, 0), (1, 0), (1, 1)));
        assert!(of("none").1 >= 5, "writes to what is read-only are nobody's");
        assert_eq!(of("config_msix_vector"), (0, 0), "MSI-X is off");
        let (reads, writes) =
            bench.device.register_accesses().iter().fold((0, 0), |sum, c| (sum.0 + c.reads, sum.1 + c.writes));
        let report = bench.device.report();
        assert_eq!(
            (reads, writes),
            (
                report.count(crate::transitional::DeviceCounter::Reads),
                report.count(crate::transitional::DeviceCounter::Writes)
            )
        );
        assert_eq!((reads, writes), (32, 33));
    }
}
