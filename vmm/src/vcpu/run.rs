// SPDX-License-Identifier: Apache-2.0
//! The vCPU threads of one VM from outside: start, pause, resume, stop.
//!
//! Every request is: say what is wanted, kick, wait. The kick cannot be lost (`kvm::kick`), so nothing here polls.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use vmm_sys_util::eventfd::EventFd;

use super::state::Shared;
use super::thread::VcpuThread;
use super::{Board, ExitReason, VcpuError, VcpuState, VcpuStats};
use crate::kvm::{Kicker, KvmVcpu};

/// How long [`Vcpus`] waits for threads when it is dropped without [`Vcpus::stop`].
const DROP_LIMIT: Duration = Duration::from_secs(5);

/// The running vCPUs of one VM.
pub struct Vcpus {
    shared: Arc<Shared>,
    threads: Arc<Threads>,
    stats: Vec<Arc<VcpuStats>>,
}

/// Handles of the threads that have not been joined.
struct Threads {
    handles: Mutex<Vec<Option<JoinHandle<KvmVcpu>>>>,
    kicker: Kicker,
}

impl Threads {
    fn kick(&self, vcpu: usize) {
        let handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Some(handle)) = handles.get(vcpu) {
            self.kicker.kick(handle);
        }
    }

    fn kick_all(&self) {
        let handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.iter().flatten().for_each(|handle| self.kicker.kick(handle));
    }

    fn take_all(&self) -> Vec<JoinHandle<KvmVcpu>> {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.iter_mut().filter_map(Option::take).collect()
    }
}

impl Vcpus {
    /// Starts a thread for each of `vcpus`, named `vcpu0`, `vcpu1`, .... vCPU `n` must be the `n`th. They run guest
    /// code at once if `first` is [`VcpuState::Running`], else after [`Self::resume`].
    ///
    /// # Errors
    /// When a thread cannot be had; those that were started are stopped then.
    pub fn start(vcpus: Vec<KvmVcpu>, board: &Board, first: VcpuState) -> Result<Self, VcpuError> {
        let kicker = Kicker::new().map_err(VcpuError::Start)?;
        let shared = Shared::new(vcpus.len(), first, board.cancelled.clone()).map_err(VcpuError::Start)?;
        let threads = Threads { handles: Mutex::default(), kicker };
        let mut group = Self { shared: Arc::new(shared), threads: Arc::new(threads), stats: Vec::new() };
        for (position, vcpu) in vcpus.into_iter().enumerate() {
            if usize::from(vcpu.index()) != position {
                return Err(VcpuError::Start(io::Error::other("vCPUs are not in the order of their indices")));
            }
            group.spawn(vcpu, board).map_err(VcpuError::Start)?;
        }
        Ok(group)
    }

    fn spawn(&mut self, vcpu: KvmVcpu, board: &Board) -> io::Result<()> {
        let stats = Arc::new(VcpuStats::default());
        let threads = self.threads.clone();
        let body = VcpuThread {
            board: board.clone(),
            shared: self.shared.clone(),
            stats: stats.clone(),
            kicker: self.threads.kicker,
            kick_all: Arc::new(move || threads.kick_all()),
        };
        // Held across the start, so that a thread that ends the VM at once finds all that were started before it.
        let mut handles = self.threads.handles.lock().unwrap_or_else(PoisonError::into_inner);
        let index = vcpu.index();
        self.shared.thread_starts(index.into());
        let handle = thread::Builder::new().name(format!("vcpu{index}")).spawn(move || body.run(vcpu));
        handles.push(Some(handle.inspect_err(|_| self.shared.thread_ends(index.into()))?));
        self.stats.push(stats);
        Ok(())
    }

    /// Waits until no vCPU runs guest code or serves an exit. Their registers are complete then: answers to port
    /// and memory reads have reached them.
    ///
    /// # Errors
    /// [`VcpuError::Timeout`] after `limit`: the vCPUs pause as soon as they can, call again to wait for it, or
    /// [`Self::resume`] to take it back. [`VcpuError::Ended`] when the VM has ended.
    pub fn pause(&self, limit: Duration) -> Result<(), VcpuError> {
        self.shared.want(VcpuState::Paused)?;
        self.threads.kick_all();
        self.shared.wait_for(VcpuState::Paused, "pause", limit)
    }

    /// Sets the time stamp counters back by `ticks`, at the next [`Self::resume`]. Only while they are paused.
    pub fn set_back_tsc(&self, ticks: u64) {
        self.shared.set_back_tsc(ticks);
    }

    /// Lets the vCPUs run again. Does nothing if they are.
    ///
    /// # Errors
    /// [`VcpuError::Ended`] when the VM has ended.
    pub fn resume(&self) -> Result<(), VcpuError> {
        self.shared.want(VcpuState::Running)
    }

    /// Ends the VM, if it has not ended by itself, waits for the threads and gives back the vCPUs, in order.
    /// Devices that wait are told by `Board::cancelled`.
    ///
    /// # Errors
    /// [`VcpuError::Timeout`] after `limit`; call again to wait longer.
    pub fn stop(&self, limit: Duration) -> Result<Vec<KvmVcpu>, VcpuError> {
        self.shared.end(ExitReason::Stopped);
        self.threads.kick_all();
        self.shared.wait_for(VcpuState::Stopped, "stop", limit)?;
        // They have said that they return: this takes no time.
        Ok(self.threads.take_all().into_iter().filter_map(|handle| handle.join().ok()).collect())
    }

    /// Why the VM ended, if it has.
    pub fn exit_reason(&self) -> Option<ExitReason> {
        self.shared.reason()
    }

    /// Readable from the moment there is an [`Self::exit_reason`]. For the main loop.
    pub fn exit_event(&self) -> &EventFd {
        self.shared.ended()
    }

    /// Number of vCPUs.
    pub fn len(&self) -> usize {
        self.stats.len()
    }

    /// Whether there are no vCPUs.
    pub fn is_empty(&self) -> bool {
        self.stats.is_empty()
    }

    /// A handle to vCPU `index`.
    pub fn vcpu(&self, index: usize) -> Option<VcpuHandle> {
        let stats = self.stats.get(index)?.clone();
        Some(VcpuHandle { shared: self.shared.clone(), threads: self.threads.clone(), stats, index })
    }
}

impl Drop for Vcpus {
    fn drop(&mut self) {
        if let Err(error) = self.stop(DROP_LIMIT) {
            tracing::error!(%error, "vCPU threads are left behind");
        }
    }
}

/// One vCPU from outside. May outlive [`Vcpus`].
#[derive(Clone)]
pub struct VcpuHandle {
    shared: Arc<Shared>,
    threads: Arc<Threads>,
    stats: Arc<VcpuStats>,
    index: usize,
}

impl VcpuHandle {
    /// Index of the vCPU.
    pub fn index(&self) -> usize {
        self.index
    }

    /// What its thread does.
    pub fn state(&self) -> VcpuState {
        self.shared.present(self.index)
    }

    /// Its exit counters.
    pub fn stats(&self) -> &VcpuStats {
        &self.stats
    }

    /// Makes it leave guest code once.
    pub fn kick(&self) {
        self.threads.kick(self.index);
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
