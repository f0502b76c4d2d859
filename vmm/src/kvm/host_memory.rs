// SPDX-License-Identifier: Apache-2.0
//! Whether the host can give a guest the memory it is configured with. Reading files and judging
//! them are apart, so that the judgement is tested without a host.
#![forbid(unsafe_code)]

use std::fs;

use super::KvmError;

const MIB: u64 = 1 << 20;

/// What the host says about its memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HostMemory {
    total: u64,
    available: u64,
    swap_total: u64,
    swap_free: u64,
    /// `vm.overcommit_memory=1`: the operator promises that guests do not use all they are given.
    overcommit_always: bool,
    /// Smallest `memory.max` of this process's control groups (version 2).
    cgroup_max: Option<u64>,
}

impl HostMemory {
    /// Asks the host. `None` where `/proc` does not tell, and then nothing can be checked.
    pub(super) fn read() -> Option<Self> {
        let mut memory = Self::parse(&fs::read_to_string("/proc/meminfo").ok()?)?;
        let policy = fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap_or_default();
        memory.overcommit_always = policy.trim() == "1";
        memory.cgroup_max = cgroup_limit();
        Some(memory)
    }

    /// The figures of `/proc/meminfo` (proc(5)).
    fn parse(meminfo: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            kib.checked_mul(1024)
        };
        Some(Self {
            total: field("MemTotal")?,
            available: field("MemAvailable")?,
            swap_total: field("SwapTotal").unwrap_or(0),
            swap_free: field("SwapFree").unwrap_or(0),
            overcommit_always: false,
            cgroup_max: None,
        })
    }

    /// Whether a guest of `wanted` bytes can be started.
    ///
    /// # Errors
    /// [`KvmError::NotEnoughMemory`] naming the limit that is in the way.
    pub(super) fn check(&self, wanted: u64) -> Result<(), KvmError> {
        let host = if self.overcommit_always {
            (self.total.saturating_add(self.swap_total), "all memory and swap; vm.overcommit_memory is 1")
        } else {
            (self.available.saturating_add(self.swap_free), "memory available and free swap")
        };
        let cgroup = (self.cgroup_max.unwrap_or(u64::MAX), "memory.max of the control group");
        let (limit, why) = if cgroup.0 < host.0 { cgroup } else { host };
        if wanted <= limit {
            return Ok(());
        }
        Err(KvmError::NotEnoughMemory { wanted_mib: wanted.div_ceil(MIB), limit_mib: limit / MIB, why })
    }
}

/// The smallest limit from this process's group up to the root. Other systems than a plain version 2
/// hierarchy say nothing.
fn cgroup_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?.trim_end_matches('/');
    let mut smallest = None;
    while !path.is_empty() {
        let limit = fs::read_to_string(format!("/sys/fs/cgroup/{path}/memory.max")).ok();
        let limit = limit.and_then(|text| text.trim().parse::<u64>().ok());
        smallest = smallest.into_iter().chain(limit).min();
        path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    smallest
}

#[cfg(test)]
#[path = "host_memory_tests.rs"]
mod tests;
