// SPDX-License-Identifier: Apache-2.0
//! What the vCPU threads of one VM should do, what they do, and why the VM ended.
//! One mutex; a vCPU takes it only when it has been kicked, or ends.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::CrashReport;

/// What a vCPU's thread does, or is wanted to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VcpuState {
    /// Runs guest code, or serves an exit.
    Running,
    /// Waits; the vCPU's registers are complete and may be read.
    Paused,
    /// Runs guest code no more.
    Stopped,
}

/// Why a VM ended. The reason that comes first counts.
#[derive(Clone, Debug)]
pub enum ExitReason {
    /// The guest switched the machine off.
    PowerOff,
    /// The guest asked for a reset, or had a triple fault.
    Reset,
    /// Stopped from outside.
    Stopped,
    /// The guest, KVM or this program could not go on.
    Crashed(Arc<CrashReport>),
}

/// Why the vCPU threads did not do as told.
#[derive(Debug, Error)]
pub enum VcpuError {
    /// A thread, signal handler or eventfd could not be made.
    #[error("cannot start the vCPU threads")]
    Start(#[source] io::Error),
    /// vCPUs that are still busy, each in a device access that takes long.
    #[error("cannot {what} in {after:?}: vCPUs {vcpus:?} are still busy in a device access")]
    Timeout {
        /// `pause` or `stop`.
        what: &'static str,
        /// How long was waited.
        after: Duration,
        /// Indices of the vCPUs.
        vcpus: Vec<usize>,
    },
    /// The VM has ended.
    #[error("the guest has ended")]
    Ended,
}

/// What a vCPU's thread that was kicked does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GoOn {
    /// Runs guest code.
    Run {
        /// It waited: the guest did not notice that time passed.
        waited: bool,
        /// Ticks that its time stamp counter has to be set back since it was created, in all.
        tsc_back: u64,
    },
    /// Returns.
    Stop,
}

/// Shared by the threads and their controller.
pub(super) struct Shared {
    control: Mutex<Control>,
    changed: Condvar,
    /// Devices that wait look at it too.
    cancelled: Arc<AtomicBool>,
    ended: EventFd,
}

struct Control {
    wanted: VcpuState,
    present: Vec<VcpuState>,
    /// See [`GoOn::Run`].
    tsc_back: u64,
    reason: Option<ExitReason>,
}

impl Shared {
    pub(super) fn new(vcpus: usize, wanted: VcpuState, cancelled: Arc<AtomicBool>) -> io::Result<Self> {
        let present = vec![VcpuState::Stopped; vcpus];
        Ok(Self {
            control: Mutex::new(Control { wanted, present, tsc_back: 0, reason: None }),
            changed: Condvar::new(),
            cancelled,
            ended: EventFd::new(EFD_NONBLOCK | libc::EFD_CLOEXEC)?,
        })
    }

    /// For a vCPU's thread that has been kicked: waits as long as it is wanted to pause.
    /// Returns whether to run on, and after what.
    pub(super) fn checkpoint(&self, vcpu: usize) -> GoOn {
        let mut control = self.control();
        let waited = control.wanted == VcpuState::Paused;
        while control.wanted == VcpuState::Paused {
            self.set_present(&mut control, vcpu, VcpuState::Paused);
            control = self.changed.wait(control).unwrap_or_else(PoisonError::into_inner);
        }
        if control.wanted != VcpuState::Running {
            return GoOn::Stop;
        }
        self.set_present(&mut control, vcpu, VcpuState::Running);
        GoOn::Run { waited, tsc_back: control.tsc_back }
    }

    /// For who is about to start a thread. One that is never started counts as stopped.
    pub(super) fn thread_starts(&self, vcpu: usize) {
        self.set_present(&mut self.control(), vcpu, VcpuState::Running);
    }

    /// For a thread that is about to return, or could not be started.
    pub(super) fn thread_ends(&self, vcpu: usize) {
        self.set_present(&mut self.control(), vcpu, VcpuState::Stopped);
    }

    fn set_present(&self, control: &mut Control, vcpu: usize, state: VcpuState) {
        if let Some(present) = control.present.get_mut(vcpu) {
            *present = state;
            self.changed.notify_all();
        }
    }

    /// Has all time stamp counters set back by `ticks` before guest code runs again. While vCPUs are paused.
    pub(super) fn set_back_tsc(&self, ticks: u64) {
        let mut control = self.control();
        control.tsc_back = control.tsc_back.wrapping_add(ticks);
    }

    /// Says what is wanted; kick the threads afterwards.
    ///
    /// # Errors
    /// When the VM has ended: that is for good.
    pub(super) fn want(&self, wanted: VcpuState) -> Result<(), VcpuError> {
        let mut control = self.control();
        if control.wanted == VcpuState::Stopped {
            return Err(VcpuError::Ended);
        }
        control.wanted = wanted;
        self.changed.notify_all();
        Ok(())
    }

    /// Ends the VM: all threads are to stop, devices to stop waiting. Only the first reason is kept.
    /// Kick the threads afterwards.
    pub(super) fn end(&self, reason: ExitReason) {
        let mut control = self.control();
        control.wanted = VcpuState::Stopped;
        self.cancelled.store(true, Ordering::SeqCst);
        self.changed.notify_all();
        if control.reason.is_some() {
            return;
        }
        control.reason = Some(reason);
        if let Err(error) = self.ended.write(1) {
            tracing::error!(%error, "cannot signal the end of the guest");
        }
    }

    /// Waits until all threads are in `state` or have stopped.
    pub(super) fn wait_for(&self, state: VcpuState, what: &'static str, limit: Duration) -> Result<(), VcpuError> {
        let start = Instant::now();
        let arrived = |present: &VcpuState| *present == state || *present == VcpuState::Stopped;
        let mut control = self.control();
        loop {
            if control.present.iter().all(arrived) {
                return Ok(());
            }
            let Some(left) = limit.checked_sub(start.elapsed()) else { break };
            control = self.changed.wait_timeout(control, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let vcpus = control.present.iter().enumerate().filter(|(_, p)| !arrived(p)).map(|(index, _)| index).collect();
        Err(VcpuError::Timeout { what, after: limit, vcpus })
    }

    pub(super) fn present(&self, vcpu: usize) -> VcpuState {
        self.control().present.get(vcpu).copied().unwrap_or(VcpuState::Stopped)
    }

    pub(super) fn reason(&self) -> Option<ExitReason> {
        self.control().reason.clone()
    }

    /// Readable once there is a reason.
    pub(super) fn ended(&self) -> &EventFd {
        &self.ended
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
