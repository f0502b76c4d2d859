// SPDX-License-Identifier: Apache-2.0
//! The VM: opening KVM, the in-kernel chips, memory slots, creation of vCPUs.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arch::irq::LEVEL_LINES;
use arch::layout::{KVM_IDENTITY_MAP, KVM_TSS};
use devices::function::DmaRegion;
use kvm_bindings::{
    CpuId, KVM_API_VERSION, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_MAX_CPUID_ENTRIES, KVM_MEM_READONLY,
    KVM_PIT_SPEAKER_DUMMY, kvm_irqchip, kvm_pit_config, kvm_userspace_memory_region,
};
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};
use vm_memory::{Bytes, GuestMemoryRegion, MemoryRegionAddress};

use super::device_memory::DeviceMemory;
use super::{GuestRam, KvmError};

/// Edge/level control registers of both PICs, bit n for line n: what the guest's tables call level-triggered.
const ELCR: u16 = {
    let (mut bits, mut index) = (0, 0);
    while index < LEVEL_LINES.len() {
        bits |= 1 << LEVEL_LINES[index];
        index += 1;
    }
    bits
};

/// What we cannot run without, with the names of the KVM API documentation.
const REQUIRED: &[(Cap, &str)] = &[
    (Cap::UserMemory, "KVM_CAP_USER_MEMORY"),
    (Cap::Irqchip, "KVM_CAP_IRQCHIP"),
    (Cap::Pit2, "KVM_CAP_PIT2"),
    (Cap::SetTssAddr, "KVM_CAP_SET_TSS_ADDR"),
    (Cap::SetIdentityMapAddr, "KVM_CAP_SET_IDENTITY_MAP_ADDR"),
    (Cap::ExtCpuid, "KVM_CAP_EXT_CPUID"),
    (Cap::MpState, "KVM_CAP_MP_STATE"),
    (Cap::VcpuEvents, "KVM_CAP_VCPU_EVENTS"),
    (Cap::IrqRouting, "KVM_CAP_IRQ_ROUTING"),
    (Cap::Irqfd, "KVM_CAP_IRQFD"),
    (Cap::Ioeventfd, "KVM_CAP_IOEVENTFD"),
    (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"),
    (Cap::ReadonlyMem, "KVM_CAP_READONLY_MEM"),
];

/// A virtual machine in the kernel. Clones are handles to the same VM.
#[derive(Clone)]
pub struct Vm {
    inner: Arc<Inner>,
}

struct Inner {
    kvm: Kvm,
    fd: VmFd,
    /// Slot number is the index. The kernel uses the mappings, so they live as long as the VM does.
    slots: Mutex<Vec<Option<Slot>>>,
}

/// What a memory slot is made of.
enum Slot {
    Ram(DmaRegion),
    /// Memory that the guest reads and executes; its writes go to the bus.
    Rom(DmaRegion),
    /// Pages of a device, and where the guest has them.
    Device {
        address: u64,
        memory: DeviceMemory,
    },
}

impl Slot {
    /// Guest-physical address, and address in this process.
    fn addresses(&self) -> (u64, u64) {
        match self {
            Self::Ram(region) | Self::Rom(region) => (region.start_addr().0, region.as_ptr() as u64),
            Self::Device { address, memory } => (*address, memory.address()),
        }
    }
}

impl Vm {
    /// Opens `/dev/kvm` and makes a VM with PIC, I/O APIC, local APICs (one per vCPU) and PIT.
    /// The interrupts of PCI and ACPI, 9, 10 and 11, are level-triggered in the PICs: on a PC the firmware
    /// does that, and kernels that use the PICs rely on it.
    ///
    /// # Errors
    /// When KVM is missing, not allowed, too old, or refuses.
    pub fn new() -> Result<Self, KvmError> {
        let kvm = open()?;
        let fd = create_vm(&kvm)?;
        fd.set_tss_address(KVM_TSS as usize).map_err(KvmError::call("set the address of the TSS pages"))?;
        fd.set_identity_map_address(KVM_IDENTITY_MAP).map_err(KvmError::call("set the address of the identity map"))?;
        fd.create_irq_chip().map_err(KvmError::call("create the interrupt controllers"))?;
        // The speaker's port 0x61 is read by guests that calibrate their clock with PIT channel 2.
        fd.create_pit2(kvm_pit_config { flags: KVM_PIT_SPEAKER_DUMMY, ..Default::default() })
            .map_err(KvmError::call("create the interval timer"))?;
        set_level_triggered(&fd, KVM_IRQCHIP_PIC_MASTER, ELCR as u8)?;
        set_level_triggered(&fd, KVM_IRQCHIP_PIC_SLAVE, (ELCR >> 8) as u8)?;
        Ok(Self { inner: Arc::new(Inner { kvm, fd, slots: Mutex::default() }) })
    }

    /// Gives all of `ram` to the guest.
    ///
    /// # Errors
    /// As [`Self::map_region`].
    pub fn map_ram(&self, ram: &GuestRam) -> Result<(), KvmError> {
        ram.regions().iter().try_for_each(|region| self.map_region(region.clone()).map(drop))
    }

    /// Lets the guest read, write and execute `region` at `region.start_addr()`. Returns the slot number
    /// for [`Self::unmap`]. The VM keeps the region alive.
    ///
    /// # Errors
    /// When the region is not page-aligned, overlaps another, or there are too many.
    pub fn map_region(&self, region: DmaRegion) -> Result<u32, KvmError> {
        let size = region.len();
        self.add_slot(Slot::Ram(region), size)
    }

    /// Lets the guest read and execute `region`. A write of the guest changes nothing and is an access to the memory
    /// bus. The VM keeps the region alive.
    ///
    /// # Errors
    /// As [`Self::map_region`].
    pub fn map_rom(&self, region: DmaRegion) -> Result<(), KvmError> {
        let size = region.len();
        self.add_slot(Slot::Rom(region), size).map(drop)
    }

    /// Lets the guest use `size` bytes of a device's pages at `address`. Returns the slot number for
    /// [`Self::unmap`].
    ///
    /// # Errors
    /// As [`Self::map_region`].
    pub(super) fn map_device(&self, address: u64, size: u64, memory: DeviceMemory) -> Result<u32, KvmError> {
        self.add_slot(Slot::Device { address, memory }, size)
    }

    /// Takes a region's or a device's pages from the guest, and gives them back to the system. The guest cannot reach
    /// them any more when this returns.
    ///
    /// # Errors
    /// When there is no such slot, or KVM refuses; they stay mapped then.
    pub(super) fn unmap(&self, slot: u32) -> Result<(), KvmError> {
        let mut slots = self.slots();
        let Some(entry) = slots.get_mut(slot as usize) else { return Err(no_such_slot()) };
        let Some(content) = entry.take() else { return Err(no_such_slot()) };
        if let Err(error) = self.set_slot(slot, &content, 0) {
            *entry = Some(content);
            return Err(error);
        }
        Ok(())
    }

    fn add_slot(&self, new: Slot, size: u64) -> Result<u32, KvmError> {
        let mut slots = self.slots();
        let slot = slots.iter().position(Option::is_none).unwrap_or(slots.len());
        self.set_slot(slot as u32, &new, size)?;
        match slots.get_mut(slot) {
            Some(free) => *free = Some(new),
            None => slots.push(Some(new)),
        }
        Ok(slot as u32)
    }

    fn set_slot(&self, slot: u32, content: &Slot, size: u64) -> Result<(), KvmError> {
        let (guest_phys_addr, userspace_addr) = content.addresses();
        let flags = if matches!(content, Slot::Rom(_)) { KVM_MEM_READONLY } else { 0 };
        let memory = kvm_userspace_memory_region { slot, flags, guest_phys_addr, memory_size: size, userspace_addr };
        // SAFETY: the mapping is `size` bytes of ordinary memory that this process lets the guest
        // change at any time (vm-memory accesses it as volatile), or of a device that nobody else
        // here uses; and `slots` keeps it mapped for as long as the slot exists: every vCPU holds
        // this VM.
        unsafe { self.inner.fd.set_user_memory_region(memory) }
            .map_err(KvmError::call("register guest memory with KVM"))
    }

    /// Copies guest memory at guest-physical `address` to `buffer`; returns how many bytes there were.
    /// For reports only: it looks at one region and takes a lock.
    pub fn read_memory(&self, address: u64, buffer: &mut [u8]) -> usize {
        let slots = self.slots();
        let ram = slots.iter().flatten().filter_map(|slot| match slot {
            Slot::Ram(region) | Slot::Rom(region) => Some(region),
            Slot::Device { .. } => None,
        });
        let region =
            ram.into_iter().find(|r| address.checked_sub(r.start_addr().0).is_some_and(|offset| offset < r.len()));
        let Some(region) = region else { return 0 };
        region.read(buffer, MemoryRegionAddress(address - region.start_addr().0)).unwrap_or(0)
    }

    /// The kernel's vCPU `index`, and the bytes of the pages that it shares.
    pub(super) fn new_vcpu(&self, index: u16) -> Result<(VcpuFd, usize), KvmError> {
        let max = self.inner.kvm.get_max_vcpus();
        if usize::from(index) >= max {
            return Err(KvmError::TooManyVcpus { index, max });
        }
        let fd = self.inner.fd.create_vcpu(index.into()).map_err(KvmError::call("create a vCPU"))?;
        Ok((fd, self.inner.fd.run_size()))
    }

    /// What KVM can show guests in CPUID on this host.
    ///
    /// # Errors
    /// When KVM refuses.
    pub fn supported_cpuid(&self) -> Result<CpuId, KvmError> {
        self.inner
            .kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(KvmError::call("read what CPUID KVM supports"))
    }

    /// The VM's file descriptor, for ioctls that this module has no method for.
    pub fn fd(&self) -> &VmFd {
        &self.inner.fd
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Option<Slot>>> {
        self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_such_slot() -> KvmError {
    KvmError::Call { what: "unmap guest memory", source: io::ErrorKind::NotFound.into() }
}

fn open() -> Result<Kvm, KvmError> {
    let kvm = Kvm::new().map_err(|error| match error.errno() {
        libc::ENOENT => KvmError::Missing,
        libc::EACCES | libc::EPERM => KvmError::Permission,
        _ => KvmError::Open(error.into()),
    })?;
    let version = kvm.get_api_version();
    if version != KVM_API_VERSION as i32 {
        return Err(KvmError::ApiVersion(version));
    }
    match REQUIRED.iter().find(|(cap, _)| !kvm.check_extension(*cap)) {
        Some((_, name)) => Err(KvmError::MissingCapability(name)),
        None => Ok(kvm),
    }
}

/// KVM_CREATE_VM starts a kernel thread in some versions and fails with EINTR when a signal comes then.
fn create_vm(kvm: &Kvm) -> Result<VmFd, KvmError> {
    let mut attempts = 5;
    loop {
        match kvm.create_vm() {
            Err(error) if error.errno() == libc::EINTR && attempts > 0 => attempts -= 1,
            result => return result.map_err(KvmError::call("create the virtual machine")),
        }
    }
}

fn set_level_triggered(fd: &VmFd, chip_id: u32, elcr: u8) -> Result<(), KvmError> {
    let mut chip = kvm_irqchip { chip_id, ..Default::default() };
    fd.get_irqchip(&mut chip).map_err(KvmError::call("read the state of a PIC"))?;
    chip.chip.pic = kvm_bindings::kvm_pic_state {
        elcr,
        // SAFETY: KVM_GET_IRQCHIP with the number of a PIC fills in this member; all bit patterns are valid.
        ..unsafe { chip.chip.pic }
    };
    fd.set_irqchip(&chip).map_err(KvmError::call("make PCI interrupts level-triggered in a PIC"))
}

#[cfg(test)]
#[path = "vm_tests.rs"]
mod tests;
