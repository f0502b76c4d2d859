// SPDX-License-Identifier: Apache-2.0
//! The guest's accesses to BAR0 by register and direction. Pure; counting never blocks.

use serde::Serialize;

use super::decode::{Direction, Register, Target};
use super::stats::Counter;

/// Names of the registers in the standard; all of device configuration is one, and so is what is none.
const NAMES: [&str; 12] = [
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
    "none",
];

const fn index(target: &Target) -> usize {
    match target {
        Target::Common { register, .. } => match register {
            Register::DeviceFeatures => 0,
            Register::DriverFeatures => 1,
            Register::QueueAddress => 2,
            Register::QueueSize => 3,
            Register::QueueSelect => 4,
            Register::Status => 6,
            Register::ConfigVector => 8,
            Register::QueueVector => 9,
        },
        Target::Notify => 5,
        Target::Isr => 7,
        Target::Device(_) => 10,
        Target::Nothing => 11,
    }
}

/// Name of the register in the standard; `device_config` for all of device configuration, `none` for holes.
pub(super) fn register_name(target: &Target) -> &'static str {
    NAMES.get(index(target)).copied().unwrap_or("none")
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
pub struct AccessCounts {
    reads: [Counter; NAMES.len()],
    writes: [Counter; NAMES.len()],
}

impl AccessCounts {
    /// One access.
    pub fn count(&self, target: &Target, direction: Direction) {
        let counters = match direction {
            Direction::Read => &self.reads,
            Direction::Write => &self.writes,
        };
        if let Some(counter) = counters.get(index(target)) {
            counter.add();
        }
    }

    /// All of them so far.
    pub fn snapshot(&self) -> Vec<RegisterAccesses> {
        let counts = self.reads.iter().zip(&self.writes);
        let of = |(register, (reads, writes)): (&&'static str, (&Counter, &Counter))| RegisterAccesses {
            register,
            reads: reads.get(),
            writes: writes.get(),
        };
        NAMES.iter().zip(counts).map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::bus::Width;
    use crate::transitional::bench::Bench;

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
        let report = bench.device.report().accesses;
        assert_eq!((reads, writes), (report.reads, report.writes));
        assert_eq!((reads, writes), (32, 33));
    }
}
