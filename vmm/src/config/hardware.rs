// SPDX-License-Identifier: Apache-2.0
//! Functions of the host and of other processes, checked as far as words can be: addresses, tokens,
//! what excludes what. Nothing is opened but a file with a token.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::num::NonZeroU16;
use std::path::PathBuf;

use api::{
    AdminMode, DeviceConfig, FunctionOrigin, LegacyVirtioConfig, VfConfig, VfOrigin, VfioConfig, VfioMode,
    VfioUserVfConfig,
};
use devices::function::vfio::{Bdf, VfToken};

use super::{ConfigError, DevicePlan, read_token};

/// Longest path that fits into the address of a unix socket.
const MAX_SOCKET_PATH: usize = 107;

/// A VF of the host behind a legacy function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostVfPlan {
    /// Where it is.
    pub bdf: Bdf,
    /// Where its PF is, if that was said.
    pub pf: Option<Bdf>,
    /// What PF and VF are opened with.
    pub token: Option<VfToken>,
    /// Who runs admin commands.
    pub admin: AdminMode,
    /// By which interface both are opened.
    pub mode: VfioMode,
}

/// A VF that another process serves, behind a legacy function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedVfPlan {
    /// Its socket.
    pub socket: PathBuf,
    /// The socket of its PF.
    pub pf_socket: PathBuf,
    /// Its number at the PF.
    pub member: NonZeroU16,
}

/// A function passed through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassthroughPlan {
    /// Unique name.
    pub id: String,
    /// What it is.
    pub function: FunctionPlan,
    /// Its place in the firmware's boot order.
    pub bootindex: Option<u8>,
}

/// Where a function passed through comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FunctionPlan {
    /// The host.
    Host {
        /// Where it is.
        bdf: Bdf,
        /// What it is opened with.
        token: Option<VfToken>,
        /// By which interface.
        mode: VfioMode,
    },
    /// Another process, at this socket.
    Served(PathBuf),
}

/// What a configuration says where something is to be read from it.
fn parsed<T: std::str::FromStr<Err: Display>>(field: &'static str, text: &str) -> Result<T, ConfigError> {
    text.parse().map_err(|error| ConfigError::Usage(format!("{field}={text}: {error}")))
}

fn token(text: Option<&str>) -> Result<Option<VfToken>, ConfigError> {
    text.map(read_token).transpose().map_err(|error| ConfigError::Usage(error.to_string()))
}

impl HostVfPlan {
    pub(super) fn check(config: &VfConfig) -> Result<Self, ConfigError> {
        let plan = Self {
            bdf: parsed("vf", &config.address)?,
            pf: config.pf.as_deref().map(|text| parsed("pf", text)).transpose()?,
            token: token(config.token.as_deref())?,
            admin: config.admin,
            mode: config.mode,
        };
        let usage = |text: &str| Err(ConfigError::Usage(format!("vf={}: {text}", plan.bdf)));
        if plan.pf == Some(plan.bdf) {
            return usage("it cannot be its own PF; leave pf= out, and it is found in sysfs");
        }
        if plan.admin == AdminMode::Kernel && plan.pf.is_some() {
            return usage("with admin=kernel the PF is the kernel's; leave pf= out");
        }
        if plan.admin == AdminMode::Kernel && plan.token.is_some() {
            return usage("a token is for a PF that is bound to vfio-pci; with admin=kernel there is none");
        }
        Ok(plan)
    }
}

impl ServedVfPlan {
    pub(super) fn check(config: &VfioUserVfConfig) -> Result<Self, ConfigError> {
        let VfioUserVfConfig { socket, pf_socket, member } = config.clone();
        if socket == pf_socket {
            return Err(ConfigError::Usage(format!(
                "vfio-user={}: PF and VF cannot have the same socket; give pf-socket= the PF's",
                socket.display()
            )));
        }
        Ok(Self { socket: check_socket(socket)?, pf_socket: check_socket(pf_socket)?, member })
    }
}

impl FunctionPlan {
    fn check(config: &DeviceConfig) -> Result<Self, ConfigError> {
        match &config.origin {
            FunctionOrigin::Host(VfioConfig { address, token, mode }) => {
                Ok(Self::Host { bdf: parsed("vfio", address)?, token: self::token(token.as_deref())?, mode: *mode })
            }
            FunctionOrigin::Served(socket) => Ok(Self::Served(check_socket(socket.clone())?)),
        }
    }
}

/// Checks the addresses, tokens and paths of a legacy function, without a look at the host.
///
/// # Errors
/// The one that is wrong.
pub fn check_legacy_virtio(config: &LegacyVirtioConfig) -> Result<(), ConfigError> {
    match &config.origin {
        VfOrigin::Soft(_) => Ok(()),
        VfOrigin::Host(vf) => HostVfPlan::check(vf).map(drop),
        VfOrigin::Served(vf) => ServedVfPlan::check(vf).map(drop),
    }
}

/// Checks those of a function passed through.
///
/// # Errors
/// The one that is wrong.
pub fn check_device(config: &DeviceConfig) -> Result<(), ConfigError> {
    FunctionPlan::check(config).map(drop)
}

fn check_socket(path: PathBuf) -> Result<PathBuf, ConfigError> {
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        let text = format!("the socket's path {} is longer than {MAX_SOCKET_PATH} bytes", path.display());
        return Err(ConfigError::Usage(text));
    }
    Ok(path)
}

/// The functions passed through, with the names that are left by the other devices.
pub(super) fn check_devices(
    devices: &[DeviceConfig],
    used: &mut BTreeSet<String>,
) -> Result<Vec<PassthroughPlan>, ConfigError> {
    for id in devices.iter().filter_map(|device| device.id.as_deref()) {
        if !used.insert(id.to_owned()) {
            return Err(ConfigError::DuplicateId { id: id.to_owned() });
        }
    }
    let mut plans = Vec::new();
    for (position, device) in devices.iter().enumerate() {
        let mut free = (position..).map(|n| format!("dev{n}")).filter(|id| !used.contains(id));
        let id = device.id.clone().or_else(|| free.next()).unwrap_or_default();
        drop(free);
        used.insert(id.clone());
        plans.push(PassthroughPlan { id, function: FunctionPlan::check(device)?, bootindex: device.bootindex });
    }
    Ok(plans)
}

/// No function has two owners: a second one would find it busy, and say so less clearly.
pub(super) fn check_owners(legacy: &[DevicePlan], devices: &[PassthroughPlan]) -> Result<(), ConfigError> {
    let of_legacy = legacy.iter().map(|device| device.vf.function());
    let of_devices = devices.iter().map(|device| match &device.function {
        FunctionPlan::Host { bdf, .. } => Some(bdf.to_string()),
        FunctionPlan::Served(socket) => Some(socket.display().to_string()),
    });
    let pfs: BTreeSet<String> = legacy.iter().filter_map(|device| device.vf.pf()).collect();
    let mut used = BTreeSet::new();
    for function in of_legacy.chain(of_devices).flatten() {
        if pfs.contains(&function) {
            let text = format!("{function} is the PF of another device and cannot be given to the guest as well");
            return Err(ConfigError::Usage(text));
        }
        if !used.insert(function.clone()) {
            return Err(ConfigError::Usage(format!("two devices use {function}: only one can have it")));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "hardware_tests.rs"]
mod tests;
