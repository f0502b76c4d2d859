// SPDX-License-Identifier: Apache-2.0
//! A DMA address space that functions share: a VFIO container with a type1v2 IOMMU, or an address
//! space of an iommufd. It maps memory and lets functions in; it knows no configuration space.
//!
//! Opening the first function decides which of the two it is. Files are closed and
//! mappings ended when the last function that uses them goes, whatever goes before or after.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use vfio_ioctls::{VfioContainer, VfioIommufd, VfioOps};
use vm_memory::GuestMemoryRegion;

use super::dma_error::{DmaError, Refused};
use super::mappings::{Acquired, Mappings, Released, User, chunks};
use super::{Mode, info_chain, ioctl};
use crate::contract::platform::KvmVfio;
use crate::function::DmaRegion;

/// One call to the kernel maps at most this much: whole 2 MiB pages, and short enough to show progress.
const CHUNK: u64 = 256 << 20;
/// Time after which the operator is told that mapping goes on, and between two such messages.
const PATIENCE: Duration = Duration::from_secs(1);
const PAGE: u64 = 4096;

/// How far a mapping that takes long has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaProgress {
    /// Bytes of the region that are mapped.
    pub done: u64,
    /// Bytes of the region.
    pub total: u64,
    /// Time it has taken so far.
    pub elapsed: Duration,
}

type Show = Box<dyn Fn(&DmaProgress) + Send + Sync>;

/// A DMA address space. Functions of one VM share one; a PF has one of its own, so that it reaches no
/// guest memory.
pub struct DmaSpace {
    kvm: Option<Arc<dyn KvmVfio>>,
    show: Show,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    host: Option<Host>,
    mappings: Mappings,
    next_user: User,
}

/// What the kernel has of the space.
pub(super) enum Host {
    /// A container and its groups.
    Group(Container),
    /// An address space of an iommufd.
    Cdev {
        iommufd: VfioIommufd,
        /// Functions that are in it.
        users: usize,
    },
}

/// A container. It loses its IOMMU when its last group goes.
pub(super) struct Container {
    pub(super) inner: VfioContainer,
    pub(super) groups: BTreeMap<u32, Group>,
}

/// A group that is in a container.
pub(super) struct Group {
    pub(super) file: Arc<File>,
    pub(super) users: usize,
}

impl fmt::Debug for DmaSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DmaSpace").field("mode", &self.mode()).field("mapped", &self.mapped()).finish_non_exhaustive()
    }
}

impl DmaSpace {
    /// An empty space. `kvm` is told of the functions whose device a guest uses; a PF's space has none.
    /// Progress goes to the log.
    pub fn new(kvm: Option<Arc<dyn KvmVfio>>) -> Arc<Self> {
        Self::with_progress(kvm, |progress| {
            let (done_mib, total_mib) = (progress.done >> 20, progress.total >> 20);
            tracing::info!(done_mib, total_mib, seconds = progress.elapsed.as_secs(), "mapping memory for DMA");
        })
    }

    /// As [`Self::new`]; `show` is called for mappings that take longer than a second, about once a
    /// second. It must not use the space, which is locked then.
    pub fn with_progress(
        kvm: Option<Arc<dyn KvmVfio>>,
        show: impl Fn(&DmaProgress) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { kvm, show: Box::new(show), state: Mutex::default() })
    }

    /// Bytes that are mapped.
    pub fn mapped(&self) -> u64 {
        self.lock().mappings.total()
    }

    /// [`Mode::Group`] or [`Mode::Cdev`], once a function was opened in it.
    pub fn mode(&self) -> Option<Mode> {
        self.lock().host.as_ref().map(Host::mode)
    }

    /// The kernel's side of the space, with the lock that attaching and leaving need.
    pub(super) fn host(&self) -> HostGuard<'_> {
        HostGuard(self.lock())
    }

    /// A number for a function that is attached.
    pub(super) fn new_user(&self) -> User {
        let mut state = self.lock();
        state.next_user += 1;
        state.next_user
    }

    /// Tells KVM of a group or device file. Where KVM has no such facility there is nobody to tell.
    pub(super) fn tell_kvm(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.kvm.as_ref().map_or(Ok(()), |kvm| kvm.add(file))
    }

    /// Ends [`Self::tell_kvm`], so that KVM lets go of the file.
    pub(super) fn untell_kvm(&self, file: BorrowedFd<'_>) {
        if let Some(kvm) = &self.kvm
            && let Err(error) = kvm.remove(file)
        {
            tracing::warn!(%error, "KVM did not let go of a VFIO file");
        }
    }

    /// Maps `region` for `user`, unless it is mapped already.
    pub(super) fn map(&self, user: User, region: &DmaRegion) -> Result<(), DmaError> {
        let (start, len) = (region.start_addr().0, region.len());
        if len == 0 || start % PAGE != 0 || len % PAGE != 0 || start.checked_add(len - 1).is_none() {
            return Err(DmaError::Unaligned { start, len });
        }
        let mut state = self.lock();
        match state.mappings.acquire(user, region) {
            Acquired::Shared => Ok(()),
            Acquired::Overlap { start, last } => Err(DmaError::Overlap { start, last }),
            Acquired::New => {
                self.map_new(&state, region)?;
                state.mappings.insert(user, region);
                Ok(())
            }
        }
    }

    fn map_new(&self, state: &State, region: &DmaRegion) -> Result<(), DmaError> {
        let (start, total) = (region.start_addr().0, region.len());
        let Some(host) = &state.host else { return Err(DmaError::Call { start, len: total, source: no_device() }) };
        let (begun, mut told) = (Instant::now(), Duration::ZERO);
        for (iova, len) in chunks(start, total, CHUNK) {
            if let Err(source) = ioctl::map(host.ops(), region, iova - start, len) {
                if iova != start {
                    undo(host, start, iova - start);
                }
                let ranges = host.ranges();
                let limit = getrlimit(Resource::Memlock).current;
                let mapped = state.mappings.total();
                let refused = Refused { start, len: total, mapped, limit, ranges: ranges.as_deref() };
                return Err(refused.explain(source));
            }
            let elapsed = begun.elapsed();
            if elapsed >= told + PATIENCE {
                told = elapsed;
                (self.show)(&DmaProgress { done: iova - start + len, total, elapsed });
            }
        }
        Ok(())
    }

    /// Ends the mapping of `user` that begins at `start`. Other users keep theirs.
    pub(super) fn unmap(&self, user: User, start: u64) -> Result<(), DmaError> {
        let mut state = self.lock();
        match state.mappings.release(user, start) {
            Released::NotMapped => Err(DmaError::NotMapped(start)),
            Released::StillUsed => Ok(()),
            Released::Last(region) => {
                let len = region.len();
                let Some(host) = &state.host else { return Err(DmaError::NotMapped(start)) };
                // Otherwise it stays in the table, which keeps the memory.
                ioctl::unmap(host.ops(), start, len).map_err(|source| DmaError::Call { start, len, source })?;
                state.mappings.remove(start);
                Ok(())
            }
        }
    }

    /// Ends all mappings of `user`.
    pub(super) fn unmap_all(&self, user: User) {
        let all = self.lock().mappings.of(user);
        for start in all {
            if let Err(error) = self.unmap(user, start) {
                tracing::error!(error = &error as &dyn std::error::Error, "memory stays mapped for DMA");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lock of a space, for who comes or leaves.
pub(super) struct HostGuard<'a>(MutexGuard<'a, State>);

impl HostGuard<'_> {
    pub(super) fn get(&mut self) -> &mut Option<Host> {
        &mut self.0.host
    }

    /// A function left. Without functions the kernel's side goes: the next function may come by the
    /// other way, and nothing of the container is held for nobody.
    pub(super) fn close_if_unused(&mut self) {
        let unused = match &self.0.host {
            Some(Host::Group(container)) => container.groups.is_empty(),
            Some(Host::Cdev { users, .. }) => *users == 0,
            None => false,
        };
        if unused {
            // What could not be unmapped one by one the kernel ends now.
            *self.0 = State { next_user: self.0.next_user, ..State::default() };
        }
    }
}

impl Host {
    pub(super) fn mode(&self) -> Mode {
        match self {
            Self::Group(_) => Mode::Group,
            Self::Cdev { .. } => Mode::Cdev,
        }
    }

    /// Where memory is mapped.
    fn ops(&self) -> &dyn VfioOps {
        match self {
            Self::Group(container) => &container.inner,
            Self::Cdev { iommufd, .. } => iommufd,
        }
    }

    /// Ranges (first and last address) that can be mapped, if the kernel tells.
    fn ranges(&self) -> Option<Vec<(u64, u64)>> {
        match self {
            Self::Group(container) => {
                let (info, answer) = ioctl::iommu_info(&container.inner).ok()?;
                info_chain::iova_ranges(&answer, info.cap_offset)
            }
            Self::Cdev { iommufd, .. } => ioctl::iova_ranges(iommufd.iommufd(), iommufd.ioas().id()).ok(),
        }
    }
}

/// Unmaps what was mapped before a part failed.
fn undo(host: &Host, start: u64, len: u64) {
    if let Err(error) = ioctl::unmap(host.ops(), start, len) {
        tracing::error!(%error, "memory stays mapped for DMA");
    }
}

fn no_device() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "no function is in this DMA address space")
}

impl Group {
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
