// SPDX-License-Identifier: Apache-2.0
//! The body of one vCPU's thread. However it ends, it says why, and it never ends unnoticed.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use devices::bus::Bus;

use super::exit::Buses;
use super::state::{GoOn, Shared};
use super::{CrashCause, CrashReport, ExitContext, ExitReason, Outcome, Remap, VcpuStats, handle_exit};
use crate::kvm::{Kicker, KvmVcpu};
use crate::panics;

/// Run on each vCPU's thread before guest code, with the vCPU's index: the place for a seccomp filter.
pub type ThreadInit = Arc<dyn Fn(u16) -> io::Result<()> + Send + Sync>;

/// What the exits of the vCPUs act on.
#[derive(Clone)]
pub struct Board {
    /// Port addresses.
    pub ports: Arc<Bus>,
    /// Memory addresses.
    pub memory: Arc<Bus>,
    /// Performs `Effect::Remap`.
    pub remap: Arc<dyn Remap>,
    /// Set when the VM ends, and never cleared here: devices that wait for something give up then.
    pub cancelled: Arc<AtomicBool>,
    /// Restricts each thread.
    pub thread_init: Option<ThreadInit>,
}

/// Everything one thread needs.
pub(super) struct VcpuThread {
    pub(super) board: Board,
    pub(super) shared: Arc<Shared>,
    pub(super) stats: Arc<VcpuStats>,
    pub(super) kicker: Kicker,
    /// Kicks all threads of the VM, so that none runs on after the end.
    pub(super) kick_all: Arc<dyn Fn() + Send + Sync>,
}

/// Says that a thread has ended even if it panics where no panic is expected.
struct EndGuard<'a>(&'a Shared, usize);

impl Drop for EndGuard<'_> {
    fn drop(&mut self) {
        self.0.thread_ends(self.1);
    }
}

impl VcpuThread {
    /// Runs the vCPU until the VM ends; gives it back for a look at its state, or another start.
    pub(super) fn run(self, mut vcpu: KvmVcpu) -> KvmVcpu {
        let index = vcpu.index();
        let _guard = EndGuard(&self.shared, index.into());
        let ended = panics::caught(|| self.run_until_end(&mut vcpu));
        let ended = ended.unwrap_or_else(|message| Some(Outcome::Crash(CrashCause::Panic(message))));
        let reason = match ended {
            Some(Outcome::Reset) => ExitReason::Reset,
            Some(Outcome::PowerOff) => ExitReason::PowerOff,
            Some(Outcome::Crash(cause)) => ExitReason::Crashed(Arc::new(CrashReport {
                vcpu: index,
                cause,
                registers: vcpu.registers().ok().map(Box::new),
            })),
            Some(Outcome::Continue | Outcome::Interrupted) | None => ExitReason::Stopped,
        };
        self.shared.end(reason);
        (self.kick_all)();
        vcpu
    }

    /// `None` if the thread was told to stop.
    fn run_until_end(&self, vcpu: &mut KvmVcpu) -> Option<Outcome> {
        let index = vcpu.index();
        let start_failed = |error: io::Error| Some(Outcome::Crash(CrashCause::Start(error.to_string())));
        let bound = match vcpu.bind_to_thread(self.kicker) {
            Ok(bound) => bound,
            Err(error) => return start_failed(error),
        };
        if let Some(init) = &self.board.thread_init
            && let Err(error) = init(vcpu.index())
        {
            return start_failed(error);
        }
        // The vCPU is not told of a wait inside an exit before its next KVM_RUN has returned for the kick.
        let has_waited = Cell::new(false);
        let between = || {
            if !bound.is_kicked() {
                return true;
            }
            let GoOn::Run { waited, .. } = self.shared.checkpoint(index.into()) else { return false };
            has_waited.set(has_waited.get() | waited);
            true
        };
        let context = ExitContext {
            buses: Buses { ports: &self.board.ports, memory: &self.board.memory },
            remap: &*self.board.remap,
            between: &between,
            stats: &self.stats,
            vcpu: index,
        };
        // A kick from before the thread was bound has left no trace but what is wanted.
        let mut outcome = Outcome::Interrupted;
        let mut tsc_was_set_back = 0;
        loop {
            match outcome {
                Outcome::Continue => {}
                Outcome::Interrupted => match self.shared.checkpoint(context.vcpu.into()) {
                    GoOn::Run { waited, tsc_back } => {
                        go_on(vcpu, has_waited.take() | waited, tsc_back.wrapping_sub(tsc_was_set_back));
                        tsc_was_set_back = tsc_back;
                    }
                    GoOn::Stop => return None,
                },
                end => return Some(end),
            }
            outcome = match vcpu.run() {
                Ok(exit) => handle_exit(exit, &context),
                Err(error) => Outcome::Crash(CrashCause::Run(error.to_string())),
            };
        }
    }
}

/// After a kick: what the guest's clocks have to be told.
fn go_on(vcpu: &KvmVcpu, waited: bool, tsc_back: u64) {
    if waited {
        vcpu.was_paused();
    }
    if tsc_back != 0
        && let Err(error) = vcpu.set_back_tsc(tsc_back)
    {
        tracing::warn!(%error, vcpu = vcpu.index(), "the time stamp counter ran on while the guest was paused");
    }
}
