// SPDX-License-Identifier: Apache-2.0
//! Guests of a few instructions for tests. Where there is no KVM, tests say so and are skipped.

use kvm_bindings::{kvm_regs, kvm_segment};
use vm_memory::{Bytes, GuestAddress};

use super::*;

/// Where the code of a test guest is.
pub(crate) const CODE: u64 = 0x1000;
/// Bytes of RAM, from address 0.
pub(crate) const RAM: u64 = 0x1_0000;

/// A VM, or `None` after saying that the test is skipped.
pub(crate) fn vm() -> Option<Vm> {
    match Vm::new() {
        Ok(vm) => Some(vm),
        Err(error @ (KvmError::Missing | KvmError::Permission | KvmError::Open(_))) => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}: {error:?}"),
    }
}

/// A VM with 64 KiB of RAM.
pub(crate) struct TestGuest {
    pub(crate) vm: Vm,
    pub(crate) ram: GuestRam,
}

impl TestGuest {
    /// With `code` at [`CODE`]; `None` if skipped.
    pub(crate) fn new(code: &[u8]) -> Option<Self> {
        let vm = vm()?;
        let ram = GuestRam::new(&[(GuestAddress(0), RAM as usize)], RamOptions::default()).unwrap();
        vm.map_ram(&ram).unwrap();
        let guest = Self { vm, ram };
        guest.write(CODE, code);
        Some(guest)
    }

    pub(crate) fn write(&self, address: u64, bytes: &[u8]) {
        self.ram.memory().write_slice(bytes, GuestAddress(address)).unwrap();
    }

    pub(crate) fn read<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.ram.memory().read_slice(&mut bytes, GuestAddress(address)).unwrap();
        bytes
    }

    /// vCPU `index` as after power-on.
    pub(crate) fn vcpu(&self, index: u16) -> KvmVcpu {
        self.vm.create_vcpu(index).unwrap()
    }

    /// Real mode at [`CODE`], all segments at 0, stack below 0x8000, interrupts off.
    pub(crate) fn real_mode(&self, vcpu: &KvmVcpu) -> VcpuSetup {
        let mut sregs = vcpu.fd().get_sregs().unwrap();
        for segment in [&mut sregs.cs, &mut sregs.ds, &mut sregs.es, &mut sregs.ss] {
            (segment.base, segment.selector) = (0, 0);
        }
        let regs = kvm_regs { rip: CODE, rsp: 0x8000, rflags: 2, ..Default::default() };
        VcpuSetup {
            cpuid: self.vm.supported_cpuid().unwrap(),
            registers: FirstRegisters { general: Some(regs), special: Some(sregs), ..Default::default() },
            lapic: None,
            waits_for_startup: false,
        }
    }

    /// 32-bit protected mode with flat segments, no paging; else as [`Self::real_mode`].
    pub(crate) fn protected_mode(&self, vcpu: &KvmVcpu) -> VcpuSetup {
        let mut setup = self.real_mode(vcpu);
        let mut sregs = setup.registers.special.unwrap();
        let data = kvm_segment {
            limit: u32::MAX,
            selector: 0x10,
            type_: 3,
            present: 1,
            db: 1,
            s: 1,
            g: 1,
            ..Default::default()
        };
        for segment in [&mut sregs.ds, &mut sregs.es, &mut sregs.ss] {
            *segment = data;
        }
        sregs.cs = kvm_segment { selector: 8, type_: 11, ..data };
        sregs.cr0 |= 1;
        setup.registers.special = Some(sregs);
        setup
    }

    /// vCPU 0 in real mode.
    pub(crate) fn boot_vcpu(&self) -> KvmVcpu {
        let vcpu = self.vcpu(0);
        vcpu.configure(&self.real_mode(&vcpu)).unwrap();
        vcpu
    }
}

/// Sends `signal` to the calling thread; it has been handled when this returns.
pub(crate) fn raise(signal: i32) {
    // SAFETY: only a signal number goes in; the handler is async-signal-safe.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}
