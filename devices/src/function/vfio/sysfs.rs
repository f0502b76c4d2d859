// SPDX-License-Identifier: Apache-2.0
//! What sysfs tells of PCI functions: identity, driver, IOMMU group, SR-IOV. It reads and never
//! writes, opens no device, and can be pointed at a tree that is not `/sys`.
//!
//! Source: Linux, Documentation/ABI/testing/sysfs-bus-pci and sysfs-kernel-iommu_groups.
#![forbid(unsafe_code)]

use std::io;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::bdf::Bdf;

/// Why sysfs did not tell.
#[derive(Debug, Error)]
pub enum SysfsError {
    /// There is no such function.
    #[error("there is no PCI function {bdf} on this host; lspci -D lists them, and VFs must be enabled")]
    NoSuchFunction {
        /// Its address.
        bdf: Bdf,
    },
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A file says something that makes no sense.
    #[error("{path} says {text:?}, which is not a {what}")]
    Content {
        /// The file.
        path: PathBuf,
        /// Its text.
        text: String,
        /// What should be there.
        what: &'static str,
    },
}

type Result<T> = std::result::Result<T, SysfsError>;

/// A sysfs tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysfs {
    root: PathBuf,
}

/// An IOMMU group: the functions that the IOMMU cannot tell apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IommuGroup {
    /// Number; `/dev/vfio/N` is its node.
    pub id: u32,
    /// Name, which few groups have. `vfio-noiommu` is one without an IOMMU.
    pub name: Option<String>,
    /// All PCI functions in it, sorted.
    pub members: Vec<Bdf>,
}

/// VFs of a PF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SriovCounts {
    /// VFs that can be enabled.
    pub total: u16,
    /// VFs that are enabled.
    pub enabled: u16,
}

/// Identity registers, as the kernel knows them: a VF's vendor and device are here, while its
/// configuration space has all ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciIds {
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
    /// Subsystem vendor id and subsystem id.
    pub subsystem: (u16, u16),
    /// Base class, subclass, programming interface: 24 bits.
    pub class: u32,
    /// Revision.
    pub revision: u8,
}

/// A BAR, ROM or bridge window as the kernel placed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    /// First address.
    pub start: u64,
    /// Last address.
    pub end: u64,
    /// `IORESOURCE_*` flags of the kernel.
    pub flags: u64,
}

impl Default for Sysfs {
    fn default() -> Self {
        Self::new()
    }
}

impl Sysfs {
    /// `/sys`.
    pub fn new() -> Self {
        Self::at("/sys")
    }

    /// A tree elsewhere.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where the tree is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a PCI driver.
    pub fn driver_path(&self, driver: &str) -> PathBuf {
        self.root.join("bus/pci/drivers").join(driver)
    }

    /// All PCI functions of the host, sorted.
    pub fn functions(&self) -> Result<Vec<Bdf>> {
        addresses(&self.root.join("bus/pci/devices"))
    }

    /// One function.
    ///
    /// # Errors
    /// When there is none with this address.
    pub fn function(&self, bdf: Bdf) -> Result<SysfsFunction> {
        let path = self.root.join("bus/pci/devices").join(bdf.to_string());
        match path.try_exists() {
            Ok(true) => Ok(SysfsFunction { sysfs: self.clone(), bdf, path }),
            Ok(false) => Err(SysfsError::NoSuchFunction { bdf }),
            Err(source) => Err(SysfsError::Read { path, source }),
        }
    }

    /// The PCI functions in an IOMMU group, sorted.
    pub fn members(&self, group: u32) -> Result<Vec<Bdf>> {
        addresses(&self.root.join("kernel/iommu_groups").join(group.to_string()).join("devices"))
    }
}

/// One PCI function in a sysfs tree. Each method reads sysfs again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysfsFunction {
    sysfs: Sysfs,
    bdf: Bdf,
    path: PathBuf,
}

impl SysfsFunction {
    /// Its address.
    pub fn bdf(&self) -> Bdf {
        self.bdf
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The driver it is bound to.
    pub fn driver(&self) -> Result<Option<String>> {
        self.link("driver")
    }

    /// The driver that it is reserved for.
    pub fn driver_override(&self) -> Result<Option<String>> {
        // Without one the file says "(null)".
        Ok(self.text("driver_override")?.filter(|name| !name.is_empty() && name != "(null)"))
    }

    /// Its IOMMU group; none where no IOMMU is in use.
    pub fn iommu_group(&self) -> Result<Option<IommuGroup>> {
        let Some(link) = self.link("iommu_group")? else { return Ok(None) };
        let id = parse(&link, || self.path.join("iommu_group"), "IOMMU group", |t| t.parse().ok())?;
        let name = text(&self.sysfs.root.join("kernel/iommu_groups").join(&link).join("name"))?;
        Ok(Some(IommuGroup { id, name: name.filter(|n| !n.is_empty()), members: self.sysfs.members(id)? }))
    }

    /// The PF of a VF.
    pub fn physfn(&self) -> Result<Option<Bdf>> {
        self.address("physfn")
    }

    /// The VFs of a PF that are enabled, by member id: `virtfn0` is member 1 (virtio 1.3, "SR-IOV
    /// group type": the VF number, from 1).
    pub fn virtfns(&self) -> Result<Vec<(NonZeroU16, Bdf)>> {
        let mut found = Vec::new();
        for name in entries(&self.path)? {
            let Some(number) = name.strip_prefix("virtfn").and_then(|n| n.parse::<u16>().ok()) else { continue };
            let member = number.checked_add(1).and_then(NonZeroU16::new);
            // The VF may be gone since.
            if let (Some(member), Some(bdf)) = (member, self.address(&name)?) {
                found.push((member, bdf));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The PF of a VF, and the VF's member id there; none for a function that is not a VF.
    pub fn member_id(&self) -> Result<Option<(Bdf, NonZeroU16)>> {
        let Some(pf) = self.physfn()? else { return Ok(None) };
        let vfs = self.sysfs.function(pf)?.virtfns()?;
        Ok(vfs.into_iter().find(|(_, vf)| *vf == self.bdf).map(|(member, _)| (pf, member)))
    }

    /// VFs that a PF can have and has; none for a function without SR-IOV.
    pub fn sriov(&self) -> Result<Option<SriovCounts>> {
        let count = |name| self.number(name, "number of VFs", |t| t.parse().ok());
        let (total, enabled) = (count("sriov_totalvfs")?, count("sriov_numvfs")?);
        Ok(total.zip(enabled).map(|(total, enabled)| SriovCounts { total, enabled }))
    }

    /// Whether the kernel looks for drivers for new VFs of this PF; none for a function without SR-IOV.
    pub fn sriov_drivers_autoprobe(&self) -> Result<Option<bool>> {
        self.number("sriov_drivers_autoprobe", "0 or 1", |t| t.parse::<u8>().ok().map(|v| v != 0))
    }

    /// Identity.
    pub fn ids(&self) -> Result<PciIds> {
        let id = |name| self.needed(name, |t| hex(t).and_then(|v| u16::try_from(v).ok()));
        Ok(PciIds {
            vendor: id("vendor")?,
            device: id("device")?,
            subsystem: (id("subsystem_vendor")?, id("subsystem_device")?),
            class: self.needed("class", |t| hex(t).and_then(|v| u32::try_from(v).ok()))?,
            revision: self.needed("revision", |t| hex(t).and_then(|v| u8::try_from(v).ok()))?,
        })
    }

    /// The name of its character device in `/dev/vfio/devices`, such as `vfio3`; none unless it is
    /// bound to a VFIO driver of a kernel that has such devices.
    pub fn vfio_cdev(&self) -> Result<Option<String>> {
        let folder = self.path.join("vfio-dev");
        let names = match entries(&folder) {
            Err(SysfsError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            names => names?,
        };
        // Kernels without VFIO_DEVICE_CDEV have the entry, but no device number in it.
        Ok(names.into_iter().find(|name| folder.join(name).join("dev").exists()))
    }

    /// The memory node it is attached to; none if the host does not say.
    pub fn numa_node(&self) -> Result<Option<u32>> {
        let node = self.number("numa_node", "node number", |t| t.parse::<i32>().ok())?;
        Ok(node.and_then(|n| u32::try_from(n).ok()))
    }

    /// BARs 0 to 5, the ROM, and what follows (VF BARs of a PF), as the kernel placed them.
    pub fn resources(&self) -> Result<Vec<Option<Resource>>> {
        let path = self.path.join("resource");
        let lines = text(&path)?.unwrap_or_default();
        let resource = |line: &str| {
            let mut fields = line.split_whitespace().map(hex);
            let (start, end, flags) = (fields.next()??, fields.next()??, fields.next()??);
            Some(Resource { start, end, flags })
        };
        let read = |line| parse(line, || path.clone(), "resource", resource).map(|r| (r.flags != 0).then_some(r));
        lines.lines().map(read).collect()
    }

    fn text(&self, name: &str) -> Result<Option<String>> {
        text(&self.path.join(name))
    }

    /// A number in a file that may be missing.
    fn number<T>(&self, name: &str, what: &'static str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        parse(&text, || self.path.join(name), what, read).map(Some)
    }

    /// A number in a file that every function has.
    fn needed<T>(&self, name: &str, read: impl Fn(&str) -> Option<T>) -> Result<T> {
        let gone = || SysfsError::NoSuchFunction { bdf: self.bdf };
        self.number(name, "hexadecimal number", read)?.ok_or_else(gone)
    }

    /// The last part of where a link leads.
    fn link(&self, name: &str) -> Result<Option<String>> {
        let path = self.path.join(name);
        match std::fs::read_link(&path) {
            Ok(target) => Ok(target.file_name().map(|name| name.to_string_lossy().into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SysfsError::Read { path, source }),
        }
    }

    fn address(&self, name: &str) -> Result<Option<Bdf>> {
        let Some(link) = self.link(name)? else { return Ok(None) };
        parse(&link, || self.path.join(name), "PCI address", |t| t.parse().ok()).map(Some)
    }
}

/// The text of a file without its newline; none if there is no such file.
fn text(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SysfsError::Read { path: path.to_owned(), source }),
    }
}

fn parse<T>(text: &str, path: impl Fn() -> PathBuf, what: &'static str, read: impl Fn(&str) -> Option<T>) -> Result<T> {
    read(text).ok_or_else(|| SysfsError::Content { path: path(), text: text.to_owned(), what })
}

/// Numbers that begin with 0x.
fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

fn entries(path: &Path) -> Result<Vec<String>> {
    let failed = |source| SysfsError::Read { path: path.to_owned(), source };
    let name = |entry: io::Result<std::fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    std::fs::read_dir(path).and_then(|entries| entries.map(name).collect()).map_err(failed)
}

/// The PCI addresses among the names in a folder.
fn addresses(path: &Path) -> Result<Vec<Bdf>> {
    let mut found: Vec<Bdf> = entries(path)?.iter().filter_map(|name| name.parse().ok()).collect();
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
#[path = "sysfs_tests.rs"]
mod tests;
