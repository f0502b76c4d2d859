// SPDX-License-Identifier: Apache-2.0
//! What one exit means: accesses to the port or memory bus, and whether the vCPU goes on.
//! Knows no KVM call and no thread, so it is tested with exits made up by hand.

use devices::bus::{Bus, Effect, Width};
use kvm_bindings::{KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN};

use super::CrashCause;
use super::stats::{ExitKind, VcpuStats};
use crate::kvm::Exit;

/// Performs [`Effect::Remap`]: asks all PCI functions where they decode, and sets the buses' windows.
/// Called on vCPU threads, on several at once too, with no device lock held.
pub trait Remap: Send + Sync {
    /// Rebuilds the windows.
    fn remap(&self);
}

impl<F: Fn() + Send + Sync> Remap for F {
    fn remap(&self) {
        self();
    }
}

/// What addresses belong to.
#[derive(Clone, Copy)]
pub struct Buses<'a> {
    /// Port addresses.
    pub ports: &'a Bus,
    /// Memory addresses.
    pub memory: &'a Bus,
}

/// What an exit acts on.
#[derive(Clone, Copy)]
pub struct ExitContext<'a> {
    /// What addresses belong to.
    pub buses: Buses<'a>,
    /// For [`Effect::Remap`].
    pub remap: &'a dyn Remap,
    /// Called before each element of a string instruction but the first, any of which may wait for a device: waits while
    /// the machine is to be paused, and returns whether to go on.
    pub between: &'a dyn Fn() -> bool,
    /// Counters of the vCPU.
    pub stats: &'a VcpuStats,
    /// Index of the vCPU.
    pub vcpu: u16,
}

/// What becomes of the vCPU after an exit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Back to guest code.
    Continue,
    /// Look whether the thread is wanted to pause or stop.
    Interrupted,
    /// The machine is to be reset.
    Reset,
    /// The guest switched the machine off.
    PowerOff,
    /// The guest cannot go on.
    Crash(CrashCause),
}

/// Acts on one exit. Answers to reads are in the exit's data when it returns.
pub fn handle_exit(exit: Exit<'_>, context: &ExitContext<'_>) -> Outcome {
    context.stats.add(kind(&exit));
    match exit {
        Exit::PortIo { port, size, is_write, data } => port_io(context, port, size, Transfer { is_write, data }),
        Exit::Mmio { address, is_write, data } => mmio(context, address, Transfer { is_write, data }),
        Exit::Hlt => Outcome::Continue,
        Exit::Interrupted => Outcome::Interrupted,
        Exit::Shutdown => {
            tracing::debug!(vcpu = context.vcpu, "triple fault: the machine is reset");
            Outcome::Reset
        }
        Exit::SystemEvent(KVM_SYSTEM_EVENT_RESET) => Outcome::Reset,
        Exit::SystemEvent(KVM_SYSTEM_EVENT_SHUTDOWN) => Outcome::PowerOff,
        Exit::SystemEvent(event) => Outcome::Crash(CrashCause::SystemEvent(event)),
        Exit::InternalError { suberror, data } => Outcome::Crash(CrashCause::InternalError { suberror, data }),
        Exit::FailEntry { reason, cpu } => Outcome::Crash(CrashCause::FailEntry { reason, cpu }),
        Exit::MemoryFault { address, size } => Outcome::Crash(CrashCause::MemoryFault { address, size }),
        Exit::Unsupported(reason) => Outcome::Crash(CrashCause::Unsupported(reason)),
    }
}

fn kind(exit: &Exit<'_>) -> ExitKind {
    match exit {
        Exit::PortIo { is_write: false, .. } => ExitKind::PortIn,
        Exit::PortIo { is_write: true, .. } => ExitKind::PortOut,
        Exit::Mmio { is_write: false, .. } => ExitKind::MmioRead,
        Exit::Mmio { is_write: true, .. } => ExitKind::MmioWrite,
        Exit::Hlt => ExitKind::Hlt,
        Exit::Interrupted => ExitKind::Interrupted,
        _ => ExitKind::Other,
    }
}

/// Bytes that an exit moves: to the device, or from it.
struct Transfer<'a> {
    is_write: bool,
    data: &'a mut [u8],
}

impl Transfer<'_> {
    /// One access after the other, each as wide as `width`; a read that nobody answers is all ones. Ends early when
    /// an access does not let the vCPU go on.
    #[inline]
    fn each(self, width: Width, mut access: impl FnMut(usize, Transfer<'_>) -> Outcome) -> Outcome {
        if self.data.len() == width.bytes() {
            // Almost all exits.
            return access(0, self);
        }
        let is_write = self.is_write;
        if !is_write {
            self.data.fill(0xff);
        }
        for (index, data) in self.data.chunks_exact_mut(width.bytes()).enumerate() {
            match access(index, Transfer { is_write, data }) {
                Outcome::Continue => {}
                other => return other,
            }
        }
        Outcome::Continue
    }
}

/// The elements of a string instruction are separate accesses to the same port. An element that ends the machine
/// is the last: the guest has no right to those after it.
fn port_io(context: &ExitContext<'_>, port: u16, size: u8, transfer: Transfer<'_>) -> Outcome {
    let Some(width) = Width::from_bytes(size.into()).filter(|width| *width != Width::B8) else {
        return Outcome::Crash(CrashCause::PortWidth { port, size });
    };
    transfer.each(width, |index, element| {
        if index != 0 && !(context.between)() {
            return Outcome::Interrupted;
        }
        access(context, context.buses.ports, port.into(), width, element)
    })
}

/// A length that is not a width (an instruction that crosses a page, or a wide one cut by KVM) goes byte by byte.
fn mmio(context: &ExitContext<'_>, address: u64, transfer: Transfer<'_>) -> Outcome {
    let width = Width::from_bytes(transfer.data.len()).unwrap_or(Width::B1);
    transfer.each(width, |index, element| {
        let address = address.wrapping_add(index as u64 * width.bytes() as u64);
        access(context, context.buses.memory, address, width, element)
    })
}

/// One access; the element is as long as `width` says.
fn access(context: &ExitContext<'_>, bus: &Bus, address: u64, width: Width, element: Transfer<'_>) -> Outcome {
    let Transfer { is_write, data } = element;
    if !is_write {
        let value = bus.read(address, width, context.vcpu).to_le_bytes();
        // Byte by byte: a call of memcpy costs more than the bytes.
        data.iter_mut().zip(value).for_each(|(to, from)| *to = from);
        return Outcome::Continue;
    }
    let value = data.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
    match bus.write(address, width, value, context.vcpu) {
        Effect::None => Outcome::Continue,
        Effect::Remap => {
            context.remap.remap();
            Outcome::Continue
        }
        Effect::Reset => Outcome::Reset,
        Effect::PowerOff => Outcome::PowerOff,
    }
}

#[cfg(test)]
#[path = "exit_tests.rs"]
mod tests;
