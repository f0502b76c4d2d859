// SPDX-License-Identifier: Apache-2.0
//! KVM's VFIO pseudo device: it tells KVM about passed-through devices, and touches none of them.
//!
//! Source: Linux, Documentation/virt/kvm/devices/vfio.rst.
#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use devices::contract::platform::KvmVfio;
use kvm_bindings::{
    KVM_DEV_VFIO_GROUP, KVM_DEV_VFIO_GROUP_ADD, KVM_DEV_VFIO_GROUP_DEL, kvm_create_device, kvm_device_attr,
    kvm_device_type_KVM_DEV_TYPE_VFIO,
};
use kvm_ioctls::DeviceFd;

use super::{KvmError, Vm};

/// The pseudo device of a VM. There is one for each VM, whatever the number of its passed-through
/// devices; KVM refuses a second.
pub struct VfioFiles {
    device: DeviceFd,
}

impl VfioFiles {
    /// Makes the pseudo device of `vm`.
    ///
    /// # Errors
    /// When this KVM has none, or the VM has one already.
    pub fn new(vm: &Vm) -> Result<Self, KvmError> {
        let mut device = kvm_create_device { type_: kvm_device_type_KVM_DEV_TYPE_VFIO, fd: 0, flags: 0 };
        let device = vm.fd().create_device(&mut device);
        Ok(Self { device: device.map_err(KvmError::call("create KVM's VFIO device"))? })
    }

    /// Groups and character devices have the same numbers, under a new name since Linux 6.6.
    fn change(&self, attr: u32, file: BorrowedFd<'_>) -> io::Result<()> {
        let fd: i32 = file.as_raw_fd();
        let addr = std::ptr::from_ref(&fd) as u64;
        let attribute = kvm_device_attr { group: KVM_DEV_VFIO_GROUP, attr: attr.into(), addr, flags: 0 };
        self.device.set_device_attr(&attribute).map_err(Into::into)
    }
}

impl KvmVfio for VfioFiles {
    fn add(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.change(KVM_DEV_VFIO_GROUP_ADD, file)
    }

    fn remove(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.change(KVM_DEV_VFIO_GROUP_DEL, file)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn one_for_each_vm_and_for_vfio_files_alone() {
        let vm = match Vm::new() {
            Ok(vm) => vm,
            Err(error) => return println!("SKIPPED: kvm::vfio::one_for_each_vm_and_for_vfio_files_alone: {error}"),
        };
        let files = match VfioFiles::new(&vm) {
            Ok(files) => files,
            Err(error) => {
                return println!(
                    "SKIPPED: kvm::vfio::one_for_each_vm_and_for_vfio_files_alone: this KVM has no VFIO device: {error}"
                );
            }
        };
        assert!(VfioFiles::new(&vm).is_err());
        let other = tempfile::tempfile().unwrap();
        assert!(files.add(other.as_fd()).is_err());
        assert!(files.remove(other.as_fd()).is_err());
    }
}
