// SPDX-License-Identifier: Apache-2.0
//! Why a PF cannot be brought up or used: which function, at what step, what was seen, what to do.

use thiserror::Error;

use super::AdminError;
use crate::function::FunctionError;

/// A failure of the PF driver.
#[derive(Debug, Error)]
#[error("{function}: {step} failed: {cause}")]
pub struct PfError {
    /// Name of the PF.
    pub function: String,
    /// What the driver was doing.
    pub step: &'static str,
    /// What went wrong.
    pub cause: PfCause,
}

/// What went wrong with a PF.
#[derive(Debug, Error)]
pub enum PfCause {
    /// A register or configuration access failed.
    #[error(transparent)]
    Function(#[from] FunctionError),
    /// No DMA memory.
    #[error("no memory for the admin virtqueue: {0}")]
    Memory(#[from] vm_memory::mmap::FromRangesError),
    /// The capability list does not end.
    #[error("the PCI capability list loops or leaves configuration space at {at:#x}; the device is broken")]
    CapabilityLoop {
        /// Offset of the capability that is met again.
        at: u8,
    },
    /// A virtio capability is missing or unusable.
    #[error("no usable virtio {what} capability (PCI capability 0x09, cfg_type {cfg_type}); use a modern virtio PF")]
    NoCapability {
        /// "common configuration" or "notification".
        what: &'static str,
        /// Its type.
        cfg_type: u8,
    },
    /// The common configuration has no admin fields.
    #[error("the common configuration has {length} bytes where the admin queue fields need 64; update the firmware")]
    CommonTooShort {
        /// Length of the capability.
        length: u32,
    },
    /// Reset never ended.
    #[error("device_status still reads {status:#04x} after a reset; reset the function or the machine")]
    ResetStuck {
        /// What was read.
        status: u8,
    },
    /// A feature that the driver needs is not offered.
    #[error("feature {name} (bit {bit}) is not offered (offered: {offered:#018x}); enable it in the device's firmware")]
    MissingFeature {
        /// Feature bit.
        bit: u32,
        /// Its name.
        name: &'static str,
        /// All offered features.
        offered: u64,
    },
    /// The device did not accept the chosen features.
    #[error(
        "the device refused features {features:#018x}: device_status reads {status:#04x} without FEATURES_OK (0x08)"
    )]
    FeaturesRefused {
        /// What the driver chose.
        features: u64,
        /// What was read.
        status: u8,
    },
    /// There is no admin virtqueue in spite of the feature.
    #[error(
        "admin_queue_index {index} and admin_queue_num {count} (num_queues {queues}) name no admin virtqueue; \
         enable it in the device's firmware"
    )]
    NoAdminQueue {
        /// admin_queue_index.
        index: u16,
        /// admin_queue_num.
        count: u16,
        /// num_queues.
        queues: u16,
    },
    /// The admin virtqueue is too small.
    #[error("the admin virtqueue has {size} descriptors where 2 are needed; configure a larger one")]
    QueueTooSmall {
        /// queue_size.
        size: u16,
    },
    /// A queue register did not keep its value.
    #[error("{register} reads {seen:#x} after {written:#x} was written; the device does not follow virtio 1.x")]
    NotKept {
        /// Name of the register.
        register: &'static str,
        /// Value written.
        written: u64,
        /// Value read.
        seen: u64,
    },
    /// The doorbell address is not inside its BAR.
    #[error(
        "doorbell of the admin virtqueue: offset {offset:#x} plus queue_notify_off {notify_off} times {multiplier} \
             is outside its notification structure; the device is broken"
    )]
    Doorbell {
        /// Offset of the notification structure.
        offset: u32,
        /// queue_notify_off.
        notify_off: u16,
        /// notify_off_multiplier.
        multiplier: u32,
    },
    /// The device did not start.
    #[error("device_status reads {status:#04x} after DRIVER_OK (0x0f) was written; the device wants a reset")]
    NotStarted {
        /// What was read.
        status: u8,
    },
    /// The function has no SR-IOV capability.
    #[error("the function has no SR-IOV capability; name a PF, not a VF")]
    NoSrIov,
    /// The number of VFs is not possible.
    #[error(
        "{asked} VFs asked for, but {total} are possible and {active} are enabled; disable those first or ask for less"
    )]
    VfCount {
        /// NumVFs wanted.
        asked: u16,
        /// TotalVFs.
        total: u16,
        /// VFs enabled now.
        active: u16,
    },
    /// The function keeps its driver from changing SR-IOV registers.
    #[error("NumVFs reads {seen} after {asked} was written; enable VFs on the host: write {asked} to sriov_numvfs")]
    VfReadOnly {
        /// NumVFs wanted.
        asked: u16,
        /// NumVFs or enabled VFs seen.
        seen: u16,
    },
    /// The host's VFs did not come back with the PF.
    #[error("no VF is enabled any more; enable them on the host again: write their number to sriov_numvfs")]
    VfsGone,
    /// Another thread restarts the device.
    #[error("the driver is being restarted already; wait for that")]
    Restarting,
    /// A command failed.
    #[error(transparent)]
    Admin(#[from] AdminError),
}

/// Puts function and step to a cause.
pub(super) trait AtStep<T> {
    fn at(self, function: &str, step: &'static str) -> Result<T, PfError>;
}

impl<T, E: Into<PfCause>> AtStep<T> for Result<T, E> {
    fn at(self, function: &str, step: &'static str) -> Result<T, PfError> {
        self.map_err(|cause| PfError { function: function.to_owned(), step, cause: cause.into() })
    }
}
