// SPDX-License-Identifier: Apache-2.0
//! From a configuration to a checked [`Plan`]: every file is open, every name is given out, and nothing is changed yet.
#![forbid(unsafe_code)]

mod boot_order;
mod clock;
mod disk;
mod file;
mod hardware;
mod mac;
mod memory;
mod net;
mod outputs;
mod payload;
mod rom;
mod screen;
mod smbios;
mod token;

use std::collections::BTreeSet;
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};

use api::{
    ConsoleConfig, ConsoleMode, CpuProfile, InterfaceMode, InterruptMode, LegacyVirtioConfig, MAX_VCPUS, MacAddress,
    SoftDevice, VfOrigin, VmConfig,
};
use arch::smbios::Identity;
use rom::Roms;
use thiserror::Error;

pub(crate) use boot_order::sorted as boot_order;
pub use disk::{BlockDevices, Disk, DiskError, Holder};
pub use file::{read_file, read_stream};
pub use hardware::{FunctionPlan, HostVfPlan, PassthroughPlan, ServedVfPlan, check_device, check_legacy_virtio};
pub use mac::MacIdentity;
pub use memory::MemoryPlan;
pub use net::{Descriptors, NetSource};
pub use outputs::check_outputs;
pub use payload::{FirmwareError, FirmwareImage, KernelPlan, PayloadPlan};
pub use rom::{RomError, RomPlan};
pub use screen::ScreenPlan;
pub use token::{TokenError, read_token};

/// Slots of PCI bus 0 that are left for devices; slot 0 is the host bridge.
const MAX_DEVICES: usize = 31;
/// With firmware slot 1 is the ISA bridge.
const MAX_DEVICES_FIRMWARE: usize = 30;

/// Why a configuration is not a machine.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The words contradict each other or the limits of a machine.
    #[error("{0}")]
    Usage(String),
    /// One value is out of its limits.
    #[error("{text}")]
    Value {
        /// The part of the configuration, such as `memory.size`.
        field: &'static str,
        /// What is wrong, and what would be right.
        text: String,
    },
    /// Two devices of one name.
    #[error("two devices have the id '{id}': give each its own with id=NAME")]
    DuplicateId {
        /// The name.
        id: String,
    },
    /// A descriptor that came with the configuration cannot be used.
    #[error("descriptor {index} cannot be a network card's: {problem}")]
    Descriptor {
        /// Its number in the configuration.
        index: u32,
        /// What is wrong with it.
        problem: String,
    },
    /// A file cannot be used.
    #[error("cannot open {what} {}", path.display())]
    Open {
        /// Which file.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not a regular file.
    #[error("{what} {} is not a regular file", path.display())]
    NotAFile {
        /// Which file.
        what: &'static str,
        /// Its path.
        path: PathBuf,
    },
    /// The host's storage does not answer.
    #[error("gave up {what}")]
    Unanswered {
        /// What it was asked for.
        what: String,
        /// Why no longer.
        source: std::io::Error,
    },
    /// A disk image cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A firmware image cannot be used.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// An expansion ROM cannot be used.
    #[error(transparent)]
    Rom(#[from] RomError),
}

impl ConfigError {
    /// The part of the configuration that is wrong, as far as that is known: `payload.kernel`, for example.
    pub fn field(&self) -> Option<String> {
        match self {
            Self::Value { field, .. } => Some((*field).to_owned()),
            Self::Descriptor { .. } => Some("legacy_virtio.soft.net.backend.fd".to_owned()),
            Self::DuplicateId { .. } => Some("legacy_virtio.id".to_owned()),
            Self::Open { what, .. } | Self::NotAFile { what, .. } => Some(payload::field(what).to_owned()),
            Self::Firmware(_) => Some("payload.firmware".to_owned()),
            Self::Rom(_) => Some("legacy_virtio.rom".to_owned()),
            Self::Disk(_) => Some("legacy_virtio.soft.blk.file".to_owned()),
            Self::Usage(_) | Self::Unanswered { .. } => None,
        }
    }
}

/// A machine that can be built.
#[derive(Debug)]
pub struct Plan {
    /// What to boot.
    pub payload: PayloadPlan,
    /// Processors.
    pub cpus: CpusPlan,
    /// Main memory.
    pub memory: MemoryPlan,
    /// What is on the board.
    pub board: BoardPlan,
    /// What is in its slots.
    pub functions: FunctionPlans,
}

/// Processors.
#[derive(Clone, Copy, Debug)]
pub struct CpusPlan {
    /// Their number.
    pub count: NonZeroU8,
    /// What they can do.
    pub profile: CpuProfile,
}

/// What is on the board.
#[derive(Debug)]
pub struct BoardPlan {
    /// What the machine says of itself.
    pub identity: Identity,
    /// Seconds that the real-time clock is ahead of UTC before a guest sets it.
    pub rtc_offset: i64,
    /// Serial port.
    pub serial: ConsoleConfig,
    /// Text screen, if there is one.
    pub screen: Option<ScreenPlan>,
}

/// What is in the slots.
#[derive(Debug)]
pub struct FunctionPlans {
    /// Legacy virtio functions, in slot order.
    pub legacy: Vec<DevicePlan>,
    /// Functions passed through, in slot order behind those.
    pub passthrough: Vec<PassthroughPlan>,
}

/// One legacy virtio function.
#[derive(Debug)]
pub struct DevicePlan {
    /// Unique name.
    pub id: String,
    /// What the VF is.
    pub vf: VfPlan,
    /// Its expansion ROM.
    pub rom: RomPlan,
    /// What else it is to be like.
    pub config: LegacyVirtioConfig,
}

/// What a VF is.
#[derive(Debug)]
pub enum VfPlan {
    /// One of the built-in software PF's.
    Soft(SoftPlan),
    /// One of the host's.
    Host(HostVfPlan),
    /// One that another process serves.
    Served(ServedVfPlan),
}

/// What a software VF is made of.
#[derive(Debug)]
pub enum SoftPlan {
    /// A disk.
    Blk(Disk),
    /// A network card.
    Net {
        /// Where frames go.
        backend: NetSource,
        /// Its address.
        mac: MacAddress,
    },
}

impl VfPlan {
    /// The function itself as its user names it; `None` if it is made here.
    fn function(&self) -> Option<String> {
        match self {
            Self::Soft(_) => None,
            Self::Host(vf) => Some(vf.bdf.to_string()),
            Self::Served(vf) => Some(vf.socket.display().to_string()),
        }
    }

    /// Its PF, if its user names one.
    fn pf(&self) -> Option<String> {
        match self {
            Self::Soft(_) => None,
            Self::Host(vf) => vf.pf.map(|pf| pf.to_string()),
            Self::Served(vf) => Some(vf.pf_socket.display().to_string()),
        }
    }

    /// The disk that it is made of.
    fn disk(&self) -> Option<&Disk> {
        match self {
            Self::Soft(SoftPlan::Blk(disk)) => Some(disk),
            Self::Soft(SoftPlan::Net { .. }) | Self::Host(_) | Self::Served(_) => None,
        }
    }
}

impl Plan {
    /// Checks a configuration and opens its files. On an error nothing is left open or changed.
    pub fn check(config: &VmConfig) -> Result<Self, ConfigError> {
        Self::check_with(config, &Descriptors::new())
    }

    /// As [`Self::check`], for a configuration that refers to descriptors.
    ///
    /// # Errors
    /// See there.
    pub fn check_with(config: &VmConfig, descriptors: &Descriptors) -> Result<Self, ConfigError> {
        let cpus = check_limits(config)?;
        let memory = MemoryPlan::check(config)?;
        let identity = smbios::check(&config.smbios)?;
        let ids = give_ids(&config.legacy_virtio)?;
        let passthrough = hardware::check_devices(&config.devices, &mut ids.iter().cloned().collect())?;
        let macs = mac::give(config, &ids, None)?;
        payload::check_bootable(config)?;
        boot_order::check(config)?;
        let payload = PayloadPlan::check(&config.payload)?;
        let roms = Roms::new(payload.is_firmware());
        let screen = ScreenPlan::check(config, &payload)?;
        let mut devices: Vec<_> = config
            .legacy_virtio
            .iter()
            .zip(ids)
            .zip(macs)
            .map(|((device, id), mac)| DevicePlan::check(device, Given { id, mac }, descriptors, &roms))
            .collect::<Result<_, _>>()?;
        for device in devices.iter_mut().filter(|device| device.config.interface == InterfaceMode::Auto) {
            // Firmware of virtual machines knows both interfaces, and takes the modern one where it sees it. INTx is made
            // for the legacy one alone: a modern driver reads the ISR of the VF, which interrupts by MSI-X only.
            if payload.is_firmware() || device.config.irq == InterruptMode::Intx {
                device.config.interface = InterfaceMode::Legacy;
            }
        }
        let mut disks = BlockDevices::default();
        devices.iter().filter_map(|device| device.vf.disk()).try_for_each(|disk| disks.add(disk))?;
        hardware::check_owners(&devices, &passthrough)?;
        let board =
            BoardPlan { identity, rtc_offset: clock::offset(config.rtc)?, serial: config.serial.clone(), screen };
        let cpus = CpusPlan { count: cpus, profile: config.cpus.profile };
        Ok(Self { payload, cpus, memory, board, functions: FunctionPlans { legacy: devices, passthrough } })
    }
}

/// What a device is given that names none of its own.
struct Given {
    id: String,
    mac: MacAddress,
}

impl DevicePlan {
    fn check(
        config: &LegacyVirtioConfig,
        given: Given,
        descriptors: &Descriptors,
        roms: &Roms,
    ) -> Result<Self, ConfigError> {
        let Given { id, mac } = given;
        let vf = match &config.origin {
            VfOrigin::Soft(SoftDevice::Blk { file, readonly }) => {
                VfPlan::Soft(SoftPlan::Blk(Disk::open(file, *readonly)?))
            }
            VfOrigin::Soft(SoftDevice::Net { backend, .. }) => {
                VfPlan::Soft(SoftPlan::Net { backend: NetSource::check(backend, descriptors)?, mac })
            }
            VfOrigin::Host(vf) => VfPlan::Host(HostVfPlan::check(vf)?),
            VfOrigin::Served(vf) => VfPlan::Served(ServedVfPlan::check(vf)?),
        };
        let rom = roms.check(&config.rom, &config.origin)?;
        Ok(Self { id, vf, rom, config: config.clone() })
    }
}

/// The same configuration with the names and addresses written into it that its devices were given: they
/// stay as they are when other devices come and go. `name` tells this machine from others that have no disk and no UUID.
///
/// # Errors
/// When two devices have the same.
pub fn complete(mut config: VmConfig, name: Option<&Path>) -> Result<VmConfig, ConfigError> {
    let ids = give_ids(&config.legacy_virtio)?;
    let macs = mac::give(&config, &ids, name)?;
    for ((device, id), given) in config.legacy_virtio.iter_mut().zip(ids).zip(macs) {
        device.id = Some(id);
        if let VfOrigin::Soft(SoftDevice::Net { mac, .. }) = &mut device.origin {
            *mac = Some(given);
        }
    }
    let mut used = config.legacy_virtio.iter().filter_map(|device| device.id.clone()).collect();
    let plans = hardware::check_devices(&config.devices, &mut used)?;
    for (device, plan) in config.devices.iter_mut().zip(plans) {
        device.id = Some(plan.id);
    }
    Ok(config)
}

/// Returns the number of processors.
fn check_limits(config: &VmConfig) -> Result<NonZeroU8, ConfigError> {
    let wrong = |field, text: String| Err::<NonZeroU8, _>(ConfigError::Value { field, text });
    let cpus = match NonZeroU8::new(config.cpus.boot_vcpus) {
        Some(cpus) if cpus.get() <= MAX_VCPUS => cpus,
        _ => {
            let text = format!("number of processors {}: must be 1 to {MAX_VCPUS}", config.cpus.boot_vcpus);
            return wrong("cpus.boot_vcpus", text);
        }
    };
    let devices = config.legacy_virtio.len().saturating_add(config.devices.len());
    let room = if config.payload.kernel.is_some() { MAX_DEVICES } else { MAX_DEVICES_FIRMWARE };
    if devices > room {
        let text = format!("{devices} devices: the PCI bus has room for {room}");
        return wrong("legacy_virtio", text);
    }
    if config.serial.mode == ConsoleMode::File && config.serial.file.is_none() {
        return wrong("serial.file", "the serial port goes to a file, but no file is named".to_owned());
    }
    Ok(cpus)
}

/// The ids asked for, and free ones for the rest.
fn give_ids(devices: &[LegacyVirtioConfig]) -> Result<Vec<String>, ConfigError> {
    let mut used = BTreeSet::new();
    for id in devices.iter().filter_map(|d| d.id.as_deref()) {
        if !used.insert(id.to_owned()) {
            return Err(ConfigError::DuplicateId { id: id.to_owned() });
        }
    }
    let mut ids = Vec::new();
    for (position, device) in devices.iter().enumerate() {
        let kind = match device.origin {
            VfOrigin::Soft(SoftDevice::Blk { .. }) => "blk",
            VfOrigin::Soft(SoftDevice::Net { .. }) => "net",
            VfOrigin::Host(_) | VfOrigin::Served(_) => "vf",
        };
        let id = device.id.clone().unwrap_or_else(|| {
            let free = (position..).map(|n| format!("{kind}{n}")).find(|id| !used.contains(id));
            free.unwrap_or_else(|| kind.to_owned())
        });
        used.insert(id.clone());
        ids.push(id);
    }
    Ok(ids)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
