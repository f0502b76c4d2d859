// SPDX-License-Identifier: Apache-2.0
//! A function's place in a DMA address space: the group or character device by which it came, told to
//! KVM, with the device file. Leaving undoes all of it. Attaching leaves nothing behind when it fails.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{File, OpenOptions as Files};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use iommufd_ioctls::IommuFd;
use vfio_bindings::bindings::vfio;
use vfio_ioctls::{VfioContainer, VfioError, VfioIommufd};

use super::dma::{Container, DmaSpace, Group, Host};
use super::holders::{Holder, holders};
use super::mappings::User;
use super::open_error::OpenError;
use super::preflight::{HostPaths, Preflight};
use super::token::VfToken;
use super::{Mode, OpenOptions, ioctl};

/// The node of containers, below `/dev`.
const CONTAINER: &str = "vfio/vfio";
const NO_CONTAINER: &str = "load the module vfio_iommu_type1 and vfio-pci (modprobe vfio-pci)";

type Result<T> = std::result::Result<T, OpenError>;

/// A function in a space.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) space: Arc<DmaSpace>,
    pub(super) user: User,
    via: Via,
}

#[derive(Debug)]
enum Via {
    Group(u32),
    Cdev(Arc<File>),
}

/// What attaching needs to know.
struct Attaching<'a> {
    space: &'a Arc<DmaSpace>,
    paths: &'a HostPaths,
    found: &'a Preflight,
    token: Option<&'a VfToken>,
}

/// Opens the function's device file in `space`.
pub(super) fn attach(
    space: &Arc<DmaSpace>,
    options: &OpenOptions,
    found: &Preflight,
) -> Result<(Attachment, Arc<File>)> {
    let attaching = Attaching { space, paths: &options.paths, found, token: options.token.as_ref() };
    // A kernel that knows no tokens for character devices would not refuse it.
    if let (Some(_), Some((_, false))) = (&options.token, found.pf) {
        return Err(OpenError::TokenUnexpected { bdf: found.bdf });
    }
    match attaching.mode(options.mode)? {
        Mode::Cdev => attaching.by_cdev(),
        Mode::Group | Mode::Auto => attaching.by_group(),
    }
}

impl Attaching<'_> {
    /// Which way to go.
    fn mode(&self, asked: Mode) -> Result<Mode> {
        let bdf = self.found.bdf;
        match (asked, self.space.mode()) {
            (Mode::Auto, Some(space)) => Ok(space),
            (Mode::Auto, None) => {
                let usable = |path: &Path| Files::new().read(true).write(true).open(path).is_ok();
                let cdev = self.cdev_path().is_ok_and(|path| usable(&path)) && usable(&self.iommufd_path());
                Ok(if cdev { Mode::Cdev } else { Mode::Group })
            }
            (asked, Some(space)) if asked != space => Err(OpenError::MixedModes { bdf, asked, space }),
            (asked, _) => Ok(asked),
        }
    }

    fn by_group(&self) -> Result<(Attachment, Arc<File>)> {
        let id = self.found.nodes.group.id;
        let file = self.enter_group(id)?;
        let attachment = Attachment { space: Arc::clone(self.space), user: self.space.new_user(), via: Via::Group(id) };
        let name = match self.token {
            Some(token) => format!("{} vf_token={token}", self.found.bdf),
            None => self.found.bdf.to_string(),
        };
        // Neither part can have a zero byte.
        let name = CString::new(name).unwrap_or_default();
        let device = ioctl::device_file(&file, &name).map_err(|source| self.refused(source, "open the device"))?;
        Ok((attachment, Arc::new(device)))
    }

    /// The group's file; the group is in the container and counts one user more.
    fn enter_group(&self, id: u32) -> Result<Arc<File>> {
        let bdf = self.found.bdf;
        let mut guard = self.space.host();
        let host = guard.get();
        if let Some(Host::Group(container)) = host
            && let Some(group) = container.groups.get_mut(&id)
        {
            group.users += 1;
            return Ok(Arc::clone(&group.file));
        }
        let mut fresh = None;
        let container = match host {
            Some(Host::Group(container)) => container,
            Some(Host::Cdev { .. }) => {
                return Err(OpenError::MixedModes { bdf, asked: Mode::Group, space: Mode::Cdev });
            }
            None => fresh.insert(self.open_container()?),
        };
        let group = self.open_group(container)?;
        let file = Arc::clone(&group.file);
        container.groups.insert(id, group);
        if let Some(container) = fresh {
            *host = Some(Host::Group(container));
        }
        Ok(file)
    }

    fn open_container(&self) -> Result<Container> {
        // The crate opens `/dev/vfio/vfio`, wherever `paths` has it.
        drop(self.open(&self.paths.dev.join(CONTAINER), NO_CONTAINER)?);
        let inner = VfioContainer::new(None).map_err(|error| self.no_container(error))?;
        Ok(Container { inner, groups: BTreeMap::new() })
    }

    fn no_container(&self, error: VfioError) -> OpenError {
        match error {
            VfioError::OpenContainer(source) => {
                self.not_opened(HostPaths::default().dev.join(CONTAINER), NO_CONTAINER, source)
            }
            VfioError::VfioApiVersion => OpenError::Unknown("another API version"),
            VfioError::VfioExtension => OpenError::Unknown("no type 1 IOMMU (is module vfio_iommu_type1 loaded?)"),
            other => OpenError::Call { bdf: self.found.bdf, what: "make a container", source: io::Error::other(other) },
        }
    }

    /// Opens the group and puts it into the container, which gets its IOMMU with the earliest group.
    fn open_group(&self, container: &Container) -> Result<Group> {
        let (bdf, id) = (self.found.bdf, self.found.nodes.group.id);
        let file =
            self.open(&self.group_path(), "the kernel has no VFIO groups (VFIO_GROUP), or udev is not running")?;
        let call = |what| move |source| OpenError::Call { bdf, what, source };
        let flags = ioctl::group_flags(&file).map_err(call("read the state of its IOMMU group"))?;
        if flags & vfio::VFIO_GROUP_FLAGS_VIABLE == 0 {
            return Err(OpenError::NotViable { bdf, group: id, blockers: self.found.nodes.blockers.clone() });
        }
        ioctl::set_container(&file, &container.inner).map_err(call("put its IOMMU group into a container"))?;
        if container.groups.is_empty() {
            let setting = "allow_unsafe_interrupts=1 of module vfio_iommu_type1";
            ioctl::set_iommu(&container.inner, vfio::VFIO_TYPE1v2_IOMMU).map_err(|source| {
                match source.raw_os_error() {
                    Some(libc::EPERM) => OpenError::UnsafeInterrupts { bdf, setting },
                    _ => OpenError::Call { bdf, what: "give the container an IOMMU", source },
                }
            })?;
        }
        self.space.tell_kvm(file.as_fd()).map_err(call("tell KVM of its IOMMU group"))?;
        Ok(Group { file: Arc::new(file), users: 1 })
    }

    fn by_cdev(&self) -> Result<(Attachment, Arc<File>)> {
        let bdf = self.found.bdf;
        let path = self.cdev_path()?;
        let device = Arc::new(self.open(&path, "is udev running?")?);
        let mut guard = self.space.host();
        let host = guard.get();
        if let Some(Host::Group(_)) = host {
            return Err(OpenError::MixedModes { bdf, asked: Mode::Cdev, space: Mode::Group });
        }
        let mut fresh = None;
        let (iommufd, users) = match host {
            Some(Host::Cdev { iommufd, users }) => (&*iommufd, users),
            _ => {
                let (iommufd, users) = fresh.insert((self.open_iommufd()?, 0));
                (&*iommufd, users)
            }
        };
        // Drivers that want KVM want it when the device is opened, which binding does.
        let told = self.space.tell_kvm(device.as_fd());
        told.map_err(|source| OpenError::Call { bdf, what: "tell KVM of its device file", source })?;
        if let Err(error) = self.bind_and_attach(&device, iommufd) {
            self.space.untell_kvm(device.as_fd());
            return Err(error);
        }
        *users += 1;
        if let Some((iommufd, users)) = fresh {
            *host = Some(Host::Cdev { iommufd, users });
        }
        drop(guard);
        let via = Via::Cdev(Arc::clone(&device));
        Ok((Attachment { space: Arc::clone(self.space), user: self.space.new_user(), via }, device))
    }

    fn open_iommufd(&self) -> Result<VfioIommufd> {
        let file = self.open(&self.iommufd_path(), "load the module iommufd")?;
        let space = VfioIommufd::new(Arc::new(IommuFd::new_from_fd(file)), None, None);
        space.map_err(|error| OpenError::Call {
            bdf: self.found.bdf,
            what: "make an address space",
            source: ioctl::kernels_answer(error),
        })
    }

    fn bind_and_attach(&self, device: &File, space: &VfioIommufd) -> Result<()> {
        match ioctl::bind_iommufd(device, space.iommufd(), self.token) {
            // Linux before 6.17 takes no token here, and asks for none.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && self.token.is_some() => {
                ioctl::bind_iommufd(device, space.iommufd(), None)
                    .map_err(|source| self.refused(source, "bind the device to an iommufd"))?;
                self.set_token(device)?;
            }
            result => result.map_err(|source| self.refused(source, "bind the device to an iommufd"))?,
        }
        ioctl::attach_iommufd(device, space.ioas().id())
            .map_err(|source| self.refused(source, "attach the device to an address space"))
    }

    /// The token of a PF, where binding did not set it: VFs that are opened by group need it.
    fn set_token(&self, device: &File) -> Result<()> {
        let (Some(token), bdf) = (self.token, self.found.bdf) else { return Ok(()) };
        if self.found.pf.is_some() {
            tracing::info!(%bdf, "this kernel does not check VF tokens of character devices");
            return Ok(());
        }
        ioctl::set_token(device, token).map_err(|source| match source.raw_os_error() {
            Some(libc::ENOTTY) => OpenError::TokenUnexpected { bdf },
            _ => OpenError::Call { bdf, what: "set its VF token", source },
        })
    }

    /// What the kernel's answer to opening a device means. Where several things have one answer, what
    /// sysfs and /proc show decides.
    fn refused(&self, source: io::Error, what: &'static str) -> OpenError {
        let (bdf, group) = (self.found.bdf, self.found.nodes.group.id);
        let code = source.raw_os_error();
        match code {
            Some(libc::EACCES) if self.token.is_some() => return OpenError::TokenWrong { bdf },
            Some(libc::EACCES) => return OpenError::TokenNeeded { bdf },
            Some(libc::EPERM | libc::EBUSY | libc::EINVAL) => {}
            _ => return OpenError::Call { bdf, what, source },
        }
        if !self.found.nodes.blockers.is_empty() {
            return OpenError::NotViable { bdf, group, blockers: self.found.nodes.blockers.clone() };
        }
        if let Some((path, holders)) = self.other_users() {
            return OpenError::Busy { bdf, path, holders };
        }
        match code {
            Some(libc::EPERM) => {
                OpenError::UnsafeInterrupts { bdf, setting: "allow_unsafe_interrupts=1 of module iommufd" }
            }
            Some(libc::EINVAL) if self.token.is_some() => OpenError::TokenUnexpected { bdf },
            Some(libc::EBUSY) => OpenError::Busy { bdf, path: self.group_path(), holders: Vec::new() },
            _ => OpenError::Call { bdf, what, source },
        }
    }

    /// Who else has the function open, by either node, or another member of its group: the kernel
    /// answers EBUSY, EINVAL and EPERM.
    fn other_users(&self) -> Option<(PathBuf, Vec<Holder>)> {
        let users = |node: &Path, own_files: usize| {
            let mut found = holders(&self.paths.proc, node);
            found.retain(|holder| holder.pid != std::process::id() || holder.files > own_files);
            (!found.is_empty()).then(|| (node.to_owned(), found))
        };
        // This process has each of these open once, to ask, and members perhaps for good.
        let own = [self.cdev_path().ok(), Some(self.group_path())].into_iter().flatten();
        let members = self.found.nodes.group.members.iter().filter(|member| **member != self.found.bdf);
        let members = members.filter_map(|member| {
            let name = self.paths.sysfs.function(*member).ok()?.vfio_cdev().ok()??;
            Some(self.cdev_folder().join(name))
        });
        own.map(|node| (node, 1))
            .chain(members.map(|node| (node, usize::MAX)))
            .find_map(|(node, own)| users(&node, own))
    }

    /// Opens a node for reading and writing.
    fn open(&self, path: &Path, why: &'static str) -> Result<File> {
        let opened = Files::new().read(true).write(true).open(path);
        opened.map_err(|source| self.not_opened(path.to_owned(), why, source))
    }

    fn not_opened(&self, path: PathBuf, why: &'static str, source: io::Error) -> OpenError {
        match source.raw_os_error() {
            Some(libc::ENOENT) => OpenError::NodeMissing { path, why },
            Some(libc::EACCES | libc::EPERM) => OpenError::Permission { path },
            Some(libc::EBUSY) => {
                let holders = holders(&self.paths.proc, &path);
                // A group is busy as well while a member of it is open by its character device.
                let elsewhere = if holders.is_empty() { self.other_users() } else { None };
                let (path, holders) = elsewhere.unwrap_or((path, holders));
                OpenError::Busy { bdf: self.found.bdf, path, holders }
            }
            _ => OpenError::Call { bdf: self.found.bdf, what: "open its device node", source },
        }
    }

    fn cdev_path(&self) -> Result<PathBuf> {
        let name = self.found.nodes.cdev.as_ref().ok_or(OpenError::NoCdev { bdf: self.found.bdf })?;
        Ok(self.cdev_folder().join(name))
    }

    fn cdev_folder(&self) -> PathBuf {
        self.paths.dev.join("vfio/devices")
    }

    fn group_path(&self) -> PathBuf {
        self.paths.dev.join("vfio").join(self.found.nodes.group.id.to_string())
    }

    fn iommufd_path(&self) -> PathBuf {
        self.paths.dev.join("iommu")
    }
}

impl Attachment {
    /// How the function came.
    pub(super) fn mode(&self) -> Mode {
        match self.via {
            Via::Group(_) => Mode::Group,
            Via::Cdev(_) => Mode::Cdev,
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.space.unmap_all(self.user);
        let mut guard = self.space.host();
        match (&self.via, guard.get()) {
            (Via::Group(id), Some(Host::Group(container))) => {
                if let Some(group) = container.groups.get_mut(id) {
                    group.users = group.users.saturating_sub(1);
                    if group.users == 0 {
                        self.space.untell_kvm(group.fd());
                        container.groups.remove(id);
                    }
                }
            }
            (Via::Cdev(device), Some(Host::Cdev { users, .. })) => {
                // A mapping of a BAR may hold the file open; the address space cannot go while a device is in it.
                if let Err(error) = ioctl::detach_iommufd(device) {
                    tracing::warn!(%error, "a function was not detached from its DMA address space");
                }
                self.space.untell_kvm(device.as_fd());
                *users = users.saturating_sub(1);
            }
            _ => {}
        }
        guard.close_if_unused();
    }
}

#[cfg(test)]
#[path = "attachment_tests.rs"]
mod tests;
