// SPDX-License-Identifier: Apache-2.0
//! How fast KVM runs guest code, by a stopwatch: some sandboxes have a `/dev/kvm` that passes every check of capabilities
//! and interprets each instruction.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use kvm_bindings::{kvm_regs, kvm_segment};
use kvm_ioctls::{VcpuExit, VcpuFd};
use vm_memory::{Bytes, GuestAddress, GuestRegionMmap, MemoryRegionAddress};

use super::{KvmError, Vm};

/// Below this a stock kernel takes more than a minute to boot. Interpreters reach a million instructions a second, CPUs
/// thousands of millions.
const FAST: f64 = 50e6;
/// All of the measurement, unless KVM does not return at all.
const BUDGET: Duration = Duration::from_millis(600);
/// A run that took this long says enough.
const LONG: Duration = Duration::from_millis(20);
/// Turns of the loop to begin with, and how much more each time: no single run takes long, however slow KVM is.
const TURNS: u64 = 2000;
const MORE: u64 = 8;
/// Exits in one batch, batches at most. The best batch counts: a busy machine spoils some.
const BATCH: u32 = 20;
const BATCHES: u32 = 50;

const MEMORY: usize = 0x10000;
const CODE: u64 = 0x1000;
/// Flat 32-bit code: `again: dec ecx; jnz again; done: out 0x10, al; jmp done`.
const GUEST: [u8; 7] = [0x49, 0x75, 0xfd, 0xe6, 0x10, 0xeb, 0xfc];
const DONE: u64 = 3;

/// What a stopwatch says of KVM.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Guest instructions in a second.
    pub instructions: f64,
    /// From the guest to this program and back.
    pub exit: Duration,
}

impl Speed {
    /// Runs a small guest, for about half a second at most.
    ///
    /// # Errors
    /// When KVM cannot run it.
    pub fn measure(vm: &Vm) -> Result<Self, KvmError> {
        let mut vcpu = guest(vm)?;
        let end = Instant::now() + BUDGET;
        Ok(Self { instructions: loop_speed(&mut vcpu, end)?, exit: exit_time(&mut vcpu, end)? })
    }

    /// Whether operating systems run in bearable time.
    pub fn is_fast(&self) -> bool {
        self.instructions > FAST
    }
}

fn guest(vm: &Vm) -> Result<VcpuFd, KvmError> {
    let failed = |what| move |source| KvmError::Call { what, source };
    let memory: GuestRegionMmap<()> = GuestRegionMmap::from_range(GuestAddress(0), MEMORY, None)
        .map_err(|error| failed("get memory for a small guest")(std::io::Error::other(error)))?;
    memory
        .write_slice(&GUEST, MemoryRegionAddress(CODE))
        .map_err(|error| failed("write a small guest")(std::io::Error::other(error)))?;
    vm.map_region(Arc::new(memory))?;
    let vcpu = vm.fd().create_vcpu(0).map_err(KvmError::call("create a vCPU"))?;
    let mut sregs = vcpu.get_sregs().map_err(KvmError::call("read a vCPU's registers"))?;
    // Protected mode: old CPUs run real mode by an interpreter, and would be taken for slow ones.
    let code =
        kvm_segment { limit: u32::MAX, selector: 8, type_: 11, present: 1, db: 1, s: 1, g: 1, ..Default::default() };
    let data = kvm_segment { selector: 16, type_: 3, ..code };
    sregs.cs = code;
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    sregs.cr0 |= 1;
    vcpu.set_sregs(&sregs).map_err(KvmError::call("set a vCPU's registers"))?;
    Ok(vcpu)
}

fn set_registers(vcpu: &VcpuFd, rip: u64, turns: u64) -> Result<(), KvmError> {
    let registers = kvm_regs { rip, rcx: turns, rflags: 2, ..Default::default() };
    vcpu.set_regs(&registers).map_err(KvmError::call("set a vCPU's registers"))
}

/// Until the guest's next output.
fn run(vcpu: &mut VcpuFd) -> Result<(), KvmError> {
    match vcpu.run() {
        Ok(VcpuExit::IoOut(..)) => Ok(()),
        Ok(exit) => {
            let source = std::io::Error::other(format!("it ended with {exit:?}"));
            Err(KvmError::Call { what: "run a guest of three instructions", source })
        }
        // The guest is where it was: what comes is one output less.
        Err(error) if error.errno() == libc::EINTR || error.errno() == libc::EAGAIN => Ok(()),
        Err(error) => Err(KvmError::call("run a guest")(error)),
    }
}

fn loop_speed(vcpu: &mut VcpuFd, end: Instant) -> Result<f64, KvmError> {
    let (mut turns, mut best) = (TURNS, 0.0_f64);
    loop {
        set_registers(vcpu, CODE, turns)?;
        let begun = Instant::now();
        run(vcpu)?;
        let took = begun.elapsed();
        best = best.max(2.0 * turns as f64 / took.as_secs_f64().max(1e-9));
        let long = took > LONG;
        if Instant::now() >= end || (long && (best > FAST || took > BUDGET / 4)) {
            return Ok(best);
        }
        if !long {
            turns = (turns * MORE).min(u64::from(u32::MAX));
        }
    }
}

fn exit_time(vcpu: &mut VcpuFd, end: Instant) -> Result<Duration, KvmError> {
    set_registers(vcpu, CODE + DONE, 0)?;
    let mut best = Duration::MAX;
    for _ in 0..BATCHES {
        let begun = Instant::now();
        for _ in 0..BATCH {
            run(vcpu)?;
        }
        best = best.min(begun.elapsed() / BATCH);
        if Instant::now() >= end {
            break;
        }
    }
    Ok(best)
}
