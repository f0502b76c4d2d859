// SPDX-License-Identifier: Apache-2.0
//! A software PF with an administration virtqueue, and its virtual functions: what a DPU offers,
//! without the DPU.
//!
//! Everything is driven through [`PciFunction`] and nothing else, so that a driver that works here
//! has no reason to work differently on hardware. The device is strict: what the standard forbids
//! a driver does not work. [`Quirks`] say where to be more like this or that real device.
//!
//! | module | what it is |
//! | --- | --- |
//! | `layout` | BARs and configuration space of all functions |
//! | `function`, `threaded`, `pf`, `vf` | PCI functions |
//! | `slot` | a VF that is connected whether it exists or not |
//! | `sriov` | SR-IOV capability |
//! | `device` | state of a virtio device; `modern` and `legacy` are its registers |
//! | `queue`, `ring`, `chain`, `memory` | virtqueues, buffers, memory for DMA |
//! | `model` | what a device type is: `blk`, `net` (with `net_filter`, its host end `wire`, and the `loopback` host), `pf_model` |
//! | `commands` | administration commands |
//! | `worker` | a function's thread |
//! | `job`, `io_pool`, `in_flight` | requests without the device's lock: what is done with them, by whom, and which are under way |
//! | `disk`, `host_errors` | a disk's file, and what is told when the host cannot read or write it |
//! | `figures` | what a function counts |
//! | `report` | what all of them did |
#![forbid(unsafe_code)]

mod blk;
mod chain;
mod commands;
mod device;
mod disk;
mod event_loop;
mod figures;
mod function;
mod host_errors;
#[cfg(test)]
mod host_storage_tests;
#[cfg(test)]
mod hostile_tests;
mod in_flight;
mod io_pool;
mod job;
mod layout;
mod legacy;
mod loopback;
mod memory;
mod model;
mod modern;
mod net;
mod net_filter;
mod pf;
mod pf_model;
mod queue;
mod quirks;
mod report;
mod ring;
mod slot;
mod sriov;
#[cfg(test)]
mod testing;
mod threaded;
mod vf;
mod wire;
mod worker;

use std::fs::File;
use std::io;
use std::num::NonZeroU16;
use std::sync::Arc;

use arc_swap::ArcSwap;
use std::time::Instant;
use thiserror::Error;

use self::figures::Figures;
use self::host_errors::HostErrors;
use crate::function::{PciFunction, Result as FunctionResult};
use crate::pci::ConfigError;
pub use figures::HostErrorListener;
pub use quirks::{ListQuirks, NotifyQuirk, Quirks, ReplyQuirks, VfQuirks};
pub use report::{CommandReport, FunctionReport, SoftPfReport};
pub use slot::HiddenConfig;
pub use wire::NetBackend;

/// The disk of a PF whose VFs are disks and which was given none: bytes, and its serial number.
const PF_DISK_SIZE: u64 = 1 << 20;
const PF_DISK_ID: &str = "soft-pf";
/// Address of a PF that was given none; locally administered.
const PF_MAC: [u8; 6] = [0x52, 0x54, 0x00, 0xca, 0xfe, 0x00];

/// What a virtual function is; a PF can be the same.
#[derive(Debug)]
pub enum VfSpec {
    /// A disk.
    Blk {
        /// Bytes of `file` if they are known: storage that does not answer is not asked for them then.
        size: Option<u64>,
        /// Its content, all whole 512-byte sectors.
        file: File,
        /// Refuses writes, and says so to the driver. The file need not be writable.
        read_only: bool,
        /// Serial number; the first 20 bytes count.
        id: String,
    },
    /// A network interface.
    Net {
        /// What is at the other end.
        backend: NetBackend,
        /// Its address.
        mac: [u8; 6],
    },
}

/// Why a software PF could not be made.
#[derive(Debug, Error)]
pub enum SoftPfError {
    /// Too many VFs.
    #[error("a software PF has at most {most} VFs, not {wanted}")]
    TooMany {
        /// How many were asked for.
        wanted: usize,
        /// How many there can be.
        most: usize,
    },
    /// No memory for the PF's own disk.
    #[error("cannot make the PF's own disk in memory: {0}")]
    PfDisk(io::Error),
    /// The size of a disk's file cannot be found.
    #[error("function {member}: cannot find the size of the disk's file: {source}")]
    Disk {
        /// Member id, from 1; 0 is the PF.
        member: usize,
        /// The reason.
        source: io::Error,
    },
    /// No eventfd.
    #[error("cannot make an eventfd: {0}; the limit of open files may be too low")]
    Event(io::Error),
    /// No event loop.
    #[error("cannot make an event loop: {0:?}; the limit of open files may be too low")]
    Loop(event_manager::Error),
    /// No thread.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// The configuration space does not fit; a bug in this module.
    #[error("configuration space: {0}")]
    Config(#[from] ConfigError),
    /// A queue has an impossible size; a bug in this module.
    #[error("virtqueue: {0}")]
    Queue(#[from] virtio_queue::Error),
}

/// A software PF and its VFs. Dropping it stops all threads; its functions are gone then, even for those who still
/// hold one.
pub struct SoftPf {
    pf: Arc<pf::Pf>,
    vfs: Vec<Arc<vf::Vf>>,
    workers: Vec<worker::Worker>,
    quirks: quirks::SharedQuirks,
}

impl SoftPf {
    /// Makes a PF named `name` with these VFs, which get the names `name/vf0`, `name/vf1`, ... No VF exists before the
    /// PF's SR-IOV capability enables it; [`Self::enable_vfs`] does that.
    ///
    /// The PF has the type of its VFs, as members of a group have their owner's type (virtio 1.3, 2.12.1): a small
    /// empty disk in memory, or a network device with a host in this process at the other end. Where VFs differ it
    /// is a network device, and the VF Device ID of its capability is the first VF's; each VF's own id is right.
    pub fn new(name: &str, specs: Vec<VfSpec>) -> Result<Self, SoftPfError> {
        let disks = specs.iter().filter(|spec| matches!(spec, VfSpec::Blk { .. })).count();
        let pf = if disks > 0 && disks == specs.len() {
            let memory = rustix::fs::memfd_create("soft-pf-disk", rustix::fs::MemfdFlags::CLOEXEC);
            let file = File::from(memory.map_err(|error| SoftPfError::PfDisk(error.into()))?);
            file.set_len(PF_DISK_SIZE).map_err(SoftPfError::PfDisk)?;
            VfSpec::Blk { size: None, file, read_only: false, id: PF_DISK_ID.to_owned() }
        } else {
            VfSpec::Net { backend: NetBackend::Loopback, mac: PF_MAC }
        };
        Self::with_pf(name, pf, specs)
    }

    /// As [`Self::new`], with a PF that is `pf`.
    pub fn with_pf(name: &str, pf: VfSpec, specs: Vec<VfSpec>) -> Result<Self, SoftPfError> {
        if specs.len() > layout::MAX_VFS {
            return Err(SoftPfError::TooMany { wanted: specs.len(), most: layout::MAX_VFS });
        }
        let quirks = quirks::SharedQuirks::new(ArcSwap::default());
        let (mut vfs, mut workers) = (Vec::new(), Vec::new());
        for (index, spec) in specs.into_iter().enumerate() {
            let events = event_loop::Loop::new().map_err(SoftPfError::Loop)?;
            let figures = Arc::new(Figures::new(&format!("{name}/vf{index}")));
            let (model, endpoint) = (model(spec, index + 1, &figures)?, events.remote_endpoint());
            let threaded = Arc::new(threaded::Threaded::new(model, figures, quirks.clone(), endpoint)?);
            workers.push(worker::Worker::spawn(events, threaded.clone())?);
            vfs.push(Arc::new(vf::Vf { threaded }));
        }
        let events = event_loop::Loop::new().map_err(SoftPfError::Loop)?;
        let figures = Arc::new(Figures::new(&format!("{name}/pf")));
        let (model, endpoint) = (model(pf, 0, &figures)?, events.remote_endpoint());
        let pf = Arc::new(pf::Pf::new(model, figures, vfs.clone(), quirks.clone(), endpoint)?);
        workers.push(worker::Worker::spawn(events, pf.threaded.clone())?);
        Ok(Self { pf, vfs, workers, quirks })
    }

    /// The PF.
    pub fn pf(&self) -> Arc<dyn PciFunction> {
        self.pf.clone()
    }

    /// The VF with this index, from 0; its member id is one more.
    pub fn vf(&self, index: usize) -> Option<Arc<dyn PciFunction>> {
        Some(self.vfs.get(index)?.clone())
    }

    /// All VFs with their member ids, from 1.
    pub fn members(&self) -> impl Iterator<Item = (NonZeroU16, Arc<dyn PciFunction>)> {
        let ids = (1..=u16::MAX).filter_map(NonZeroU16::new);
        ids.zip(self.vfs.iter().map(|vf| Arc::clone(vf) as Arc<dyn PciFunction>))
    }

    /// The VF with this index for somebody who connects to it before it exists; `hidden` says what is in its
    /// configuration space until then.
    pub fn vf_slot(&self, index: usize, hidden: HiddenConfig) -> Option<Arc<dyn PciFunction>> {
        Some(Arc::new(slot::VfSlot { vf: self.vfs.get(index)?.clone(), hidden }))
    }

    /// Has `listener` told when storage of the host begins to fail for the VF with this index. Called on any thread;
    /// only the first listener is told.
    pub fn on_host_error(&self, index: usize, listener: HostErrorListener) {
        if let Some(vf) = self.vfs.get(index) {
            vf.threaded.function.figures.listen(listener);
        }
    }

    /// What PF and VFs did so far.
    pub fn report(&self) -> SoftPfReport {
        self.pf.report()
    }

    /// Requests that the host's storage failed for the VF with this index, and the last error; 0 for one that does not
    /// exist.
    pub fn host_errors(&self, index: usize) -> (u64, Option<String>) {
        self.vfs.get(index).map_or((0, None), |vf| vf.threaded.function.figures.host_errors())
    }

    /// How often the driver of the VF with this index broke a queue: rings that are not in memory, chains that
    /// loop, indices that jump. 0 for one that does not exist.
    pub fn rings_broken(&self, index: usize) -> u64 {
        self.vfs.get(index).map_or(0, |vf| vf.threaded.function.figures.rings_broken())
    }

    /// How many VFs there are, enabled or not.
    pub fn vf_count(&self) -> usize {
        self.vfs.len()
    }

    /// What a host does with `sriov_numvfs`: enables the first `count` VFs with memory decoding, or
    /// disables all with 0. Made of nothing but configuration writes.
    pub fn enable_vfs(&self, count: u16) -> FunctionResult<()> {
        self.pf.write_num_vfs(count)
    }

    /// Changes how the device deviates from the standard, from the next register access or command.
    pub fn set_quirks(&self, quirks: Quirks) {
        self.quirks.store(Arc::new(quirks));
    }
}

impl Drop for SoftPf {
    fn drop(&mut self) {
        // VFs first, so that no thread finds work while it is told to stop.
        self.pf.remove();
        self.workers.clear();
        self.pf.all().for_each(|threaded| threaded.io.stop());
        let deadline = Instant::now() + function::QUIET_LIMIT;
        let wait = |threaded: &Arc<threaded::Threaded>| {
            // What is under way still was waited for in vain by the removal: once is enough.
            let given_up = !threaded.function.in_flight.is_idle();
            threaded.io.wait(if given_up { Instant::now() } else { deadline })
        };
        let left: usize = self.pf.all().map(wait).sum();
        if left > 0 {
            // They cannot be ended, and wait for nothing of ours.
            tracing::warn!("{left} threads wait for the host's storage, which does not answer; they are left behind");
        }
    }
}

fn model(spec: VfSpec, member: usize, figures: &Arc<Figures>) -> Result<Box<dyn model::Model>, SoftPfError> {
    Ok(match spec {
        VfSpec::Blk { size, file, read_only, id } => {
            let disk = disk::Disk::new(file, size, read_only, &id, HostErrors::new(figures.clone()));
            Box::new(blk::Blk::new(disk.map_err(|source| SoftPfError::Disk { member, source })?))
        }
        VfSpec::Net { backend, mac } => Box::new(net::Net::new(backend, mac)),
    })
}
