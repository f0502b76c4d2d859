// SPDX-License-Identifier: Apache-2.0
//! What a software PF and its VFs did so far. Figures only; nothing here changes a device.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::function::Function;
use crate::admin::opcode;

/// Administration commands that have a counter of their own: opcodes 0 to 6.
const COUNTED: usize = 7;

/// What one function did since power-on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FunctionReport {
    /// Name, such as `soft/vf0`.
    pub name: String,
    /// Virtio device type: 1 net, 2 block.
    pub device_type: u16,
    /// Whether it exists now. A VF does while VF Enable is set.
    pub present: bool,
    /// Buffers it gave back to its driver.
    pub buffers: u64,
    /// Accesses to addresses that nothing is mapped at. Hardware behind an IOMMU has these as DMA faults.
    pub dma_faults: u64,
    /// Address (IOVA) of the last of them.
    pub last_dma_fault: Option<u64>,
    /// How often its driver broke a queue: rings that are not in memory, chains that loop, indices that jump.
    pub rings_broken: u64,
    /// Requests that the host's storage failed: a full disk, an I/O error, a file that shrank.
    pub host_errors: u64,
    /// The last of them.
    pub last_host_error: Option<String>,
}

/// Administration commands that the PF was asked for since power-on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CommandReport {
    /// LIST_QUERY that were carried out; likewise the others.
    pub list_query: u64,
    /// LIST_USE.
    pub list_use: u64,
    /// LEGACY_COMMON_CFG_WRITE.
    pub common_write: u64,
    /// LEGACY_COMMON_CFG_READ.
    pub common_read: u64,
    /// LEGACY_DEV_CFG_WRITE.
    pub device_write: u64,
    /// LEGACY_DEV_CFG_READ.
    pub device_read: u64,
    /// LEGACY_NOTIFY_INFO.
    pub notify_info: u64,
    /// Commands of any opcode that were refused.
    pub refused: u64,
}

/// What a PF and its VFs did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SoftPfReport {
    /// The PF.
    pub pf: FunctionReport,
    /// Its administration commands.
    pub commands: CommandReport,
    /// The VFs, enabled or not, in order.
    pub vfs: Vec<FunctionReport>,
}

/// Counts commands. Anybody may read while commands are carried out.
#[derive(Debug, Default)]
pub(super) struct CommandCounts {
    done: [AtomicU64; COUNTED],
    refused: AtomicU64,
}

impl CommandCounts {
    /// Counts one command.
    pub(super) fn count(&self, opcode: u16, done: bool) {
        let counter = if done { self.done.get(usize::from(opcode)) } else { Some(&self.refused) };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The figures now.
    pub(super) fn report(&self) -> CommandReport {
        let done = |op: u16| self.done.get(usize::from(op)).map_or(0, |count| count.load(Ordering::Relaxed));
        CommandReport {
            list_query: done(opcode::LIST_QUERY),
            list_use: done(opcode::LIST_USE),
            common_write: done(opcode::LEGACY_COMMON_CFG_WRITE),
            common_read: done(opcode::LEGACY_COMMON_CFG_READ),
            device_write: done(opcode::LEGACY_DEV_CFG_WRITE),
            device_read: done(opcode::LEGACY_DEV_CFG_READ),
            notify_info: done(opcode::LEGACY_NOTIFY_INFO),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

/// What `function` did. Takes no lock.
pub(super) fn function(function: &Function) -> FunctionReport {
    let figures = &function.figures;
    let faults = figures.dma_faults();
    let (host_errors, last_host_error) = figures.host_errors();
    FunctionReport {
        name: function.name().to_owned(),
        device_type: function.device_type(),
        present: function.present.load(Ordering::Acquire),
        buffers: figures.buffers(),
        dma_faults: faults.count,
        last_dma_fault: faults.last,
        rings_broken: figures.rings_broken(),
        host_errors,
        last_host_error,
    }
}
