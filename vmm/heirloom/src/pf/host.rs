// SPDX-License-Identifier: Apache-2.0
//! The host's files, and writing them. It decides nothing.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use devices::function::vfio::sysfs::SysfsFunction;
use devices::function::vfio::{Bdf, HostPaths};

use super::ManageError;

/// Where states of PFs are; gone after a boot, as what they tell of is.
const STATE: &str = "/run/heirloom/pf";
/// Where modprobe is; never looked for by PATH, which belongs to whoever called.
const MODPROBE: [&str; 2] = ["/usr/sbin/modprobe", "/sbin/modprobe"];

/// This host, or a tree that looks like one.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// sysfs, `/dev`, `/proc`.
    pub paths: HostPaths,
    /// Folder for what PFs were before.
    pub state: PathBuf,
    /// Program that loads a module by its name; none where modules are not to be loaded.
    pub modprobe: Option<PathBuf>,
    /// Whether this process may change all of it.
    pub is_root: bool,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            paths: HostPaths::default(),
            state: STATE.into(),
            modprobe: MODPROBE.iter().map(PathBuf::from).find(|path| path.exists()),
            is_root: rustix::process::geteuid().is_root(),
        }
    }
}

impl Host {
    pub(super) fn function(&self, bdf: Bdf) -> Result<SysfsFunction, ManageError> {
        Ok(self.paths.sysfs.function(bdf)?)
    }

    /// A file of a function.
    pub(super) fn of(&self, bdf: Bdf, name: &str) -> PathBuf {
        self.paths.sysfs.root().join("bus/pci/devices").join(bdf.to_string()).join(name)
    }

    /// The file that makes the kernel look for a driver.
    pub(super) fn drivers_probe(&self) -> PathBuf {
        self.paths.sysfs.root().join("bus/pci/drivers_probe")
    }

    /// The parameter that lets VFs be enabled while `vfio-pci` has their PF.
    pub(super) fn enable_sriov(&self) -> PathBuf {
        self.paths.sysfs.root().join("module/vfio_pci/parameters/enable_sriov")
    }

    /// Whether the kernel has that PCI driver now.
    pub(super) fn has_driver(&self, driver: &str) -> bool {
        self.paths.sysfs.driver_path(driver).exists()
    }

    /// Loads the module of `driver` if the kernel does not have it; true if that had to be done.
    pub(super) fn load_driver(&self, driver: &'static str) -> Result<bool, ManageError> {
        if self.has_driver(driver) {
            return Ok(false);
        }
        if let Some(modprobe) = &self.modprobe {
            // That there is no such program, or no such module, is seen by what is there afterwards.
            let _ = Command::new(modprobe).arg(driver).stdin(Stdio::null()).stderr(Stdio::null()).status();
        }
        if self.has_driver(driver) { Ok(true) } else { Err(ManageError::NoDriver { driver }) }
    }

    /// Writes to a file that exists; the kernel's answer comes with the write.
    pub(super) fn write(&self, path: &Path, value: &str) -> Result<(), ManageError> {
        let written = OpenOptions::new().write(true).truncate(true).open(path);
        let written = written.and_then(|mut file| file.write_all(format!("{value}\n").as_bytes()));
        written.map_err(|source| ManageError::Write { path: path.to_owned(), value: value.to_owned(), source })
    }
}
