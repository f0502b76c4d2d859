// SPDX-License-Identifier: Apache-2.0
//! The kernel in memory, the tables that describe the machine, and the processors that start there; or processors
//! as they are after power-on, which start in the firmware.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};

use api::{BootProtocol, CpuProfile};
use arch::boot::{self, BootSource, Entry, Protocol, Told};
use arch::cpuid::Era;
use arch::irq::PciInterrupt;
use arch::{acpi, cpuid, mptable, regs, smbios};
use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use kvm_bindings::{CpuId, Msrs};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

use super::removal::Unwatched;
use super::{SetupError, firmware};
use crate::config::{KernelPlan, PayloadPlan, Plan};
use crate::kvm::{FirstRegisters, KvmVcpu, VcpuSetup, Vm};
use crate::vcpu::Vcpus;
use crate::waits;

/// Loads the kernel, if there is one, and creates the processors, the first one about to enter it or the firmware; says
/// by which protocol a kernel is entered.
pub(super) fn create(
    vm: &Vm,
    plan: &Plan,
    memory: &GuestMemoryMmap<()>,
    interrupts: &[PciInterrupt],
) -> Result<(Vec<KvmVcpu>, Option<Protocol>), SetupError> {
    let entry = match &plan.payload {
        PayloadPlan::Kernel(kernel) => Some(load(kernel, plan, memory, interrupts)?),
        PayloadPlan::Firmware(_) => None,
    };
    // All are there before the first is configured: KVM knows where INIT goes only for those.
    let vcpus = (0..plan.cpus.count.get()).map(|index| vm.create_vcpu(index.into())).collect::<Result<Vec<_>, _>>()?;
    vcpus.iter().zip(0..).try_for_each(|(vcpu, index)| configure(vm, plan, vcpu, index, entry.as_ref()))?;
    Ok((vcpus, entry.map(|entry| entry.protocol())))
}

fn load(
    kernel: &KernelPlan,
    plan: &Plan,
    memory: &GuestMemoryMmap<()>,
    interrupts: &[PciInterrupt],
) -> Result<Entry, SetupError> {
    let again =
        |file: &File| rewound(file).map_err(|source| SetupError::System { what: "read an image again", source });
    let mut image = again(&kernel.file)?;
    let mut initrd = kernel.initrd.as_ref().map(again).transpose()?;
    let rsdp = acpi::write(memory, &firmware::acpi_board(plan, interrupts))?;
    mptable::write(memory, plan.cpus.count.get(), interrupts)?;
    smbios::write(memory, &plan.board.identity, plan.cpus.count.get())?;
    let source = BootSource {
        kernel: &mut image,
        initrd: initrd.as_mut(),
        cmdline: &kernel.cmdline,
        protocol: match kernel.boot {
            BootProtocol::Auto => Protocol::Auto,
            BootProtocol::Linux64 => Protocol::Linux64,
            BootProtocol::Linux32 => Protocol::Linux32,
            BootProtocol::Pvh => Protocol::Pvh,
        },
        told: Told { rsdp: Some(rsdp), has_vga: plan.board.screen.is_some() },
    };
    let name = || kernel.path.display().to_string();
    let loaded = waits::during(&format!("reading the kernel {}", name()), || boot::load(memory, source));
    let entry = loaded.map_err(|source| SetupError::Boot { kernel: name(), source })?;
    if entry.protocol() == Protocol::Linux64 && plan.cpus.profile == CpuProfile::I686Of2001 {
        return Err(SetupError::NoLongMode { kernel: name() });
    }
    Ok(entry)
}

/// The same open file from its start: a reboot reads it once more.
fn rewound(file: &File) -> io::Result<File> {
    let mut again = file.try_clone()?;
    again.seek(SeekFrom::Start(0))?;
    Ok(again)
}

/// What processor `index` says of itself.
pub(super) fn cpuid_of(vm: &Vm, profile: CpuProfile, index: u8) -> Result<CpuId, SetupError> {
    let profile = match profile {
        CpuProfile::Host => cpuid::CpuProfile::Host,
        CpuProfile::Legacy => cpuid::CpuProfile::Legacy,
        CpuProfile::I686Of2001 => cpuid::CpuProfile::Era(Era::I686Of2001),
        CpuProfile::X8664Of2006 => cpuid::CpuProfile::Era(Era::X8664Of2006),
        CpuProfile::X8664Of2010 => cpuid::CpuProfile::Era(Era::X8664Of2010),
    };
    let mut cpuid = vm.supported_cpuid()?;
    cpuid::filter(&mut cpuid, profile, index)?;
    Ok(cpuid)
}

/// Without an `entry` the processor keeps its power-on state: the reset vector, real mode, MTRRs off. Firmware sets
/// up the rest.
fn configure(vm: &Vm, plan: &Plan, vcpu: &KvmVcpu, index: u8, entry: Option<&Entry>) -> Result<(), SetupError> {
    let cpuid = cpuid_of(vm, plan.cpus.profile, index)?;

    let failed =
        |error: kvm_ioctls::Error| SetupError::System { what: "read a vCPU's first state", source: error.into() };
    let mut sregs = vcpu.fd().get_sregs().map_err(failed)?;
    let mut lapic = vcpu.fd().get_lapic().map_err(failed)?;
    let is_first = index == 0;
    regs::set_lint_pins(&mut lapic, is_first);
    let general = entry.filter(|_| is_first).map(|entry| regs::bsp(entry, &mut sregs));
    let msrs = Msrs::from_entries(&regs::msrs()).map_err(|_| SetupError::Internal("too many MSRs"))?;
    vcpu.configure(&VcpuSetup {
        cpuid,
        registers: FirstRegisters {
            special: general.is_some().then_some(sregs),
            general,
            fpu: Some(regs::fpu()),
            msrs: entry.is_some().then_some(msrs),
        },
        lapic: Some(lapic),
        waits_for_startup: !is_first,
    })?;
    Ok(())
}

/// Wakes the main loop when the guest has ended.
pub(super) struct EndWatch {
    event: EventFd,
    unwatched: Unwatched,
}

impl EndWatch {
    /// `unwatched` is told if it cannot.
    pub(super) fn new(vcpus: &Vcpus, unwatched: &Unwatched) -> Result<Self, SetupError> {
        let event = vcpus.exit_event().try_clone();
        let event = event.map_err(|source| SetupError::System { what: "watch the processors", source })?;
        Ok(Self { event, unwatched: unwatched.clone() })
    }
}

impl MutEventSubscriber for EndWatch {
    fn process(&mut self, _events: Events, ops: &mut EventOps) {
        // Once is enough; the event stays readable.
        if let Err(error) = ops.remove(Events::new(&self.event, EventSet::IN)) {
            tracing::debug!("the end of the guest is still watched: {error:?}");
        }
    }

    fn init(&mut self, ops: &mut EventOps) {
        if let Err(error) = ops.add(Events::new(&self.event, EventSet::IN)) {
            self.unwatched.tell("the end of the guest", error);
        }
    }
}
