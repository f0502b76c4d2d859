// SPDX-License-Identifier: Apache-2.0
//! Why a machine cannot be built.

use std::io;

use thiserror::Error;

use crate::kvm::KvmError;
use crate::vcpu::VcpuError;

/// Why a machine cannot be put together, or run.
#[derive(Debug, Error)]
pub enum SetupError {
    /// KVM, or memory.
    #[error(transparent)]
    Kvm(#[from] KvmError),
    /// Threads of the vCPUs.
    #[error(transparent)]
    Vcpu(#[from] VcpuError),
    /// Memory size.
    #[error(transparent)]
    Layout(#[from] arch::layout::LayoutError),
    /// More memory than the processors can address.
    #[error(
        "the guest wants {memory} of memory, but its processors address only {bits} bits: use less, or --cpu host if it \
             addresses more"
    )]
    AddressWidth {
        /// Memory wanted.
        memory: String,
        /// Width of a physical address.
        bits: u8,
    },
    /// Kernel, initrd or command line.
    #[error("cannot boot {kernel}")]
    Boot {
        /// Path of the kernel.
        kernel: String,
        /// What is wrong.
        source: arch::boot::BootError,
    },
    /// Firmware.
    #[error("cannot install the firmware {path}")]
    Firmware {
        /// Path of the image.
        path: String,
        /// Why not.
        source: vm_memory::GuestMemoryError,
    },
    /// ACPI tables.
    #[error("cannot write the ACPI tables")]
    Acpi(#[from] arch::acpi::AcpiError),
    /// MP table.
    #[error("cannot write the MP table")]
    MpTable(#[from] arch::mptable::MpTableError),
    /// SMBIOS tables.
    #[error("cannot write the SMBIOS tables")]
    Smbios(#[from] arch::smbios::SmbiosError),
    /// CPUID.
    #[error("cannot set up CPUID")]
    Cpuid(#[from] arch::cpuid::CpuidFull),
    /// A kernel of 64 bits for a processor of 32.
    #[error(
        "the kernel {kernel} is entered in 64-bit mode, and --cpu i686-2001 is a 32-bit processor: use another --cpu"
    )]
    NoLongMode {
        /// Path of the kernel.
        kernel: String,
    },
    /// PCI BARs.
    #[error(transparent)]
    Bars(#[from] devices::pci::AssignError),
    /// A PCI slot.
    #[error(transparent)]
    Slot(#[from] devices::pci::SlotError),
    /// Fixed addresses of devices.
    #[error(transparent)]
    Bus(#[from] devices::bus::BusError),
    /// The PF, or its driver.
    #[error(transparent)]
    Pf(#[from] devices::admin::PfError),
    /// One device.
    #[error("device '{id}'")]
    Device {
        /// Its id.
        id: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// One function that is passed through.
    #[error("device '{id}'")]
    Passthrough {
        /// Its id.
        id: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A PF of the host or of another process.
    #[error("the PF {pf} cannot be used")]
    HostPf {
        /// Its address or socket.
        pf: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The software PF.
    #[error("cannot start the software PF")]
    SoftPf(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The file for the serial port.
    #[error("cannot write the serial port's file {path}")]
    Serial {
        /// Path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The guest reset itself, and there is no new machine for it.
    #[error("the guest reset itself and cannot be started again")]
    Restart(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A system call.
    #[error("cannot {what}")]
    System {
        /// What for.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// An event that the machine cannot do without is not noticed.
    #[error(
        "cannot watch for {what}: {source:?}; the limit of watched descriptors (fs.epoll.max_user_watches) may be too low"
    )]
    Unwatched {
        /// The event.
        what: String,
        /// Why.
        source: event_manager::Error,
    },
    /// There is no main loop to be had.
    #[error("cannot make the main loop: {0:?}; the limit of open files may be too low")]
    NoMainLoop(event_manager::Error),
    /// The main loop.
    #[error("the main loop failed: {0:?}")]
    MainLoop(event_manager::Error),
    /// A mistake in this program.
    #[error("{0}: this is a bug in heirloom, please report it")]
    Internal(&'static str),
}
