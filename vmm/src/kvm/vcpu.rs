// SPDX-License-Identifier: Apache-2.0
//! One vCPU: its state before it runs, running it, and what can be said of it after a crash.

use std::io;

use kvm_bindings::{
    CpuId, KVM_MP_STATE_RUNNABLE, KVM_MP_STATE_UNINITIALIZED, Msrs, kvm_fpu, kvm_lapic_state, kvm_mp_state, kvm_regs,
    kvm_sregs,
};
use kvm_ioctls::VcpuFd;

use super::kick::BoundVcpu;
use super::run_page::RunPage;
use super::{Exit, Kicker, KvmError, Vm};

/// The state a vCPU starts with. What is `None` stays as it is: after creation, as the processor has it after
/// power-on.
#[derive(Clone, Debug)]
pub struct VcpuSetup {
    /// What CPUID shows.
    pub cpuid: CpuId,
    /// Registers; those that are `None` keep their power-on state.
    pub registers: FirstRegisters,
    /// Local APIC.
    pub lapic: Option<kvm_lapic_state>,
    /// Whether it waits for INIT and start-up IPI, which the in-kernel local APIC handles: all but the boot processor do.
    pub waits_for_startup: bool,
}

/// Registers that a vCPU starts with.
#[derive(Clone, Debug, Default)]
pub struct FirstRegisters {
    /// General registers.
    pub general: Option<kvm_regs>,
    /// Segments, descriptor tables, control registers.
    pub special: Option<kvm_sregs>,
    /// Floating-point state.
    pub fpu: Option<kvm_fpu>,
    /// Model-specific registers.
    pub msrs: Option<Msrs>,
}

/// Registers of a vCPU, and the instruction bytes it stands at, for a report.
#[derive(Clone, Debug)]
pub struct Registers {
    /// General registers.
    pub regs: kvm_regs,
    /// Segments, descriptor tables, control registers.
    pub sregs: kvm_sregs,
    /// Up to 16 bytes from the instruction pointer on; empty if it points to no guest memory.
    pub code: Vec<u8>,
}

/// A vCPU in the kernel.
pub struct KvmVcpu {
    index: u16,
    // Order of drop: the kernel's vCPU before the memory that `vm` keeps mapped for it.
    fd: VcpuFd,
    page: RunPage,
    vm: Vm,
    /// Whether KVM_RUN was ever called.
    has_run: bool,
}

impl Vm {
    /// Creates vCPU `index`, which is also its local APIC id. Its state is that of a processor after power-on
    /// until [`KvmVcpu::configure`].
    ///
    /// # Errors
    /// When there are too many, or KVM refuses.
    pub fn create_vcpu(&self, index: u16) -> Result<KvmVcpu, KvmError> {
        let (fd, run_size) = self.new_vcpu(index)?;
        KvmVcpu::new(fd, index, run_size, self.clone())
    }
}

impl KvmVcpu {
    fn new(fd: VcpuFd, index: u16, run_size: usize, vm: Vm) -> Result<Self, KvmError> {
        let page = RunPage::map(&fd, run_size)
            .map_err(|source| KvmError::Call { what: "map the vCPU's shared pages", source })?;
        Ok(Self { index, fd, page, vm, has_run: false })
    }

    /// Index in the guest, and local APIC id.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Puts the vCPU into the state of `setup`, and drops exceptions and interrupts that were in flight; so it
    /// also serves to start a vCPU again that has run. Such a vCPU keeps its CPUID: KVM allows no change then, and
    /// not even two calls of [`Vm::supported_cpuid`] agree on the host's APIC ids.
    ///
    /// # Errors
    /// When KVM does not accept the state.
    pub fn configure(&self, setup: &VcpuSetup) -> Result<(), KvmError> {
        if !self.has_run {
            self.fd.set_cpuid2(&setup.cpuid).map_err(KvmError::call("set the vCPU's CPUID"))?;
        }
        self.fd.set_vcpu_events(&Default::default()).map_err(KvmError::call("clear the vCPU's pending events"))?;
        if let Some(sregs) = &setup.registers.special {
            self.fd.set_sregs(sregs).map_err(KvmError::call("set the vCPU's segments and control registers"))?;
        }
        if let Some(regs) = &setup.registers.general {
            self.fd.set_regs(regs).map_err(KvmError::call("set the vCPU's registers"))?;
        }
        if let Some(fpu) = &setup.registers.fpu {
            self.fd.set_fpu(fpu).map_err(KvmError::call("set the vCPU's floating-point state"))?;
        }
        self.set_lapic(setup.lapic.as_ref())?;
        if let Some(msrs) = &setup.registers.msrs {
            self.set_msrs(msrs)?;
        }
        let mp_state = if setup.waits_for_startup { KVM_MP_STATE_UNINITIALIZED } else { KVM_MP_STATE_RUNNABLE };
        self.fd.set_mp_state(kvm_mp_state { mp_state }).map_err(KvmError::call("set the vCPU's start state"))
    }

    /// KVM finds the target of an interrupt message in a table that it makes when a local APIC changes, and a new vCPU
    /// is not in it yet. So the local APIC is always written: else a start-up message may find nobody.
    fn set_lapic(&self, lapic: Option<&kvm_lapic_state>) -> Result<(), KvmError> {
        let lapic = match lapic {
            Some(lapic) => *lapic,
            None => self.fd.get_lapic().map_err(KvmError::call("read the vCPU's local APIC"))?,
        };
        self.fd.set_lapic(&lapic).map_err(KvmError::call("set the vCPU's local APIC"))
    }

    fn set_msrs(&self, msrs: &Msrs) -> Result<(), KvmError> {
        let accepted = self.fd.set_msrs(msrs).map_err(KvmError::call("set the vCPU's MSRs"))?;
        // KVM stops at the first it does not like and returns how many it took.
        match msrs.as_slice().get(accepted) {
            Some(refused) => Err(KvmError::Msr { index: refused.index, value: refused.data }),
            None => Ok(()),
        }
    }

    /// Makes kicks of the present thread reach this vCPU, until the result is dropped.
    pub(crate) fn bind_to_thread(&self, kicker: Kicker) -> io::Result<BoundVcpu> {
        BoundVcpu::new(self.page.immediate_exit(), kicker)
    }

    /// Runs guest code until something is to be done here. After [`Exit::Interrupted`] the answer to the
    /// exit before has reached the guest's registers, and a kick has been taken notice of: look at what is wanted.
    ///
    /// # Errors
    /// When KVM cannot run the vCPU at all.
    pub fn run(&mut self) -> io::Result<Exit<'_>> {
        self.has_run = true;
        match self.fd.run() {
            Ok(_) => Ok(self.page.exit()),
            Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => {
                self.page.immediate_exit().clear();
                Ok(Exit::Interrupted)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Tells a guest with KVM's clock that it stood still, so that its watchdogs do not take the pause for a
    /// processor that hangs. For others it does nothing. On the thread that runs the vCPU.
    pub fn was_paused(&self) {
        // EINVAL: the guest does not use that clock.
        let _ = self.fd.kvmclock_ctrl();
    }

    /// Registers and code for a report.
    ///
    /// # Errors
    /// When KVM does not give them.
    pub fn registers(&self) -> io::Result<Registers> {
        let (regs, sregs) = (self.fd.get_regs()?, self.fd.get_sregs()?);
        // KVM_TRANSLATE takes linear addresses: the code segment's base counts outside long mode too.
        let linear = sregs.cs.base.wrapping_add(regs.rip);
        let code = self.read_code(linear);
        Ok(Registers { regs, sregs, code })
    }

    /// One page at most: what follows may be mapped elsewhere.
    fn read_code(&self, linear: u64) -> Vec<u8> {
        let Ok(at) = self.fd.translate_gva(linear) else { return Vec::new() };
        if at.valid == 0 {
            return Vec::new();
        }
        let to_page_end = 4096 - (at.physical_address % 4096) as usize;
        let mut code = vec![0; to_page_end.min(16)];
        let length = self.vm.read_memory(at.physical_address, &mut code);
        code.truncate(length);
        code
    }

    /// The vCPU's file descriptor, for ioctls that this type has no method for. Not for KVM_RUN.
    pub fn fd(&self) -> &VcpuFd {
        &self.fd
    }
}
