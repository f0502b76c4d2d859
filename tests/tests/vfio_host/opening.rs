// SPDX-License-Identifier: Apache-2.0
//! Opening functions, and everything that can stand in the way.

use std::env;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use devices::function::vfio::{Bar0Error, DmaSpace, HostPaths, Mode, OpenError, VfioBar0Registers, preflight};
use devices::function::{Bars, Dma};
use vm_memory::{GuestAddress, GuestRegionMmap};

use crate::disk::{chain, text};
use crate::{HOLD, Outcome, address, check, open, options, refused, with_token};

pub(crate) const TOKEN: &str = "bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3";
const OTHER_TOKEN: &str = "00000000-5a5f-4f5a-a211-f591514ba1f3";

/// A space of its own each: a PF and its VFs are not to share DMA.
fn space() -> Arc<DmaSpace> {
    DmaSpace::new(None)
}

/// The PF is on vfio-pci, so its VFs want the PF's token; the PF wants it while a VF is open.
pub(crate) fn tokens(mode: Mode) -> Outcome {
    let pf = open(&space(), &with_token("pf", mode, TOKEN)?)?;
    // Linux before 6.17 takes any token, and none, by character device: the token of the PF still
    // holds for those who come by group.
    let needed = refused(&space(), &options("vf0", Mode::Group)?)?;
    check(matches!(needed, OpenError::TokenNeeded { .. }), &needed)?;
    let wrong = refused(&space(), &with_token("vf0", Mode::Group, OTHER_TOKEN)?)?;
    check(matches!(wrong, OpenError::TokenWrong { .. }), &wrong)?;
    let vfs = space();
    let vf0 = open(&vfs, &with_token("vf0", mode, TOKEN)?)?;
    let vf1 = open(&vfs, &with_token("vf1", mode, TOKEN)?)?;
    check(vf0.mode() == mode && vf1.mode() == mode, "opened the other way")?;
    drop(vf0);
    drop(pf);
    if mode == Mode::Group {
        // VFs are in use: whoever wants the PF needs their token.
        let needed = refused(&space(), &options("pf", mode)?)?;
        check(matches!(needed, OpenError::TokenNeeded { .. }), &needed)?;
        let wrong = refused(&space(), &with_token("pf", mode, OTHER_TOKEN)?)?;
        check(matches!(wrong, OpenError::TokenWrong { .. }), &wrong)?;
    }
    open(&space(), &with_token("pf", mode, TOKEN)?).map(drop)
}

pub(crate) fn unexpected_token() -> Outcome {
    let error = refused(&space(), &with_token("disk", Mode::Group, TOKEN)?)?;
    check(matches!(error, OpenError::TokenUnexpected { .. }), &error)?;
    open(&space(), &options("disk", Mode::Group)?).map(drop)
}

pub(crate) fn busy(mode: Mode) -> Outcome {
    let user = open(&space(), &options("disk", mode)?)?;
    let error = refused(&space(), &options("disk", mode)?)?;
    let own = format!("process {} (", std::process::id());
    check(matches!(error, OpenError::Busy { .. }) && error.to_string().contains(&own), &error)?;
    drop(user);
    open(&space(), &options("disk", mode)?).map(drop)
}

/// A process that opens the disk, maps memory, and keeps both until it is killed.
struct Holder {
    child: Child,
    /// What it said: [`HOLDS`], or why it could not.
    said: String,
}

const HOLDS: &str = "holds it";
/// Bytes that it maps, if not one page.
const MAP: &str = "HEIRLOOM_VFIO_MAP";

impl Holder {
    /// Runs `command`, which ends in this program, and waits for what it says.
    fn start(mode: Mode, mut command: Command) -> Outcome<Self> {
        let word = if mode == Mode::Cdev { "cdev" } else { "group" };
        let mut child = command.env(HOLD, word).stdout(Stdio::piped()).spawn().map_err(text)?;
        let output = child.stdout.take().ok_or("no output")?;
        let mut holder = Self { child, said: String::new() };
        BufReader::new(output).read_line(&mut holder.said).map_err(text)?;
        holder.said.truncate(holder.said.trim_end().len());
        Ok(holder)
    }

    /// As [`Self::start`], by a user without privileges who may lock `kib` KiB of memory.
    fn unprivileged(mode: Mode, kib: u32, bytes: usize) -> Outcome<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -l {kib} && exec \"$0\""), &own_program()?.to_string_lossy()]);
        command.uid(USER).gid(USER).env(MAP, bytes.to_string());
        Self::start(mode, command)
    }

    /// Ends it as a crash does.
    fn kill(&mut self) -> Outcome {
        self.child.kill().map_err(text)?;
        self.child.wait().map(drop).map_err(text)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.kill().ok();
    }
}

const USER: u32 = 1000;

fn own_program() -> Outcome<PathBuf> {
    env::current_exe().map_err(text)
}

/// What [`Holder`] runs.
pub(crate) fn hold(cdev: bool) -> ExitCode {
    let mode = if cdev { Mode::Cdev } else { Mode::Group };
    let held = options("disk", mode).and_then(|options| open(&space(), &options));
    let len = env::var(MAP).ok().and_then(|bytes| bytes.parse().ok()).unwrap_or(4096);
    let mapped = held.as_ref().map_err(Clone::clone).and_then(|function| {
        let memory = GuestRegionMmap::from_range(GuestAddress(0x4000_0000), len, None).map_err(text)?;
        function.dma_map(&Arc::new(memory)).map_err(|error| chain(&error))
    });
    match mapped {
        Ok(()) => {
            println!("{HOLDS}");
            std::thread::sleep(Duration::from_secs(3600)); // Clock: until it is killed.
        }
        Err(error) => println!("{error}"),
    }
    ExitCode::SUCCESS
}

pub(crate) fn killed(mode: Mode) -> Outcome {
    let mut holder = Holder::start(mode, Command::new(own_program()?))?;
    check(holder.said == HOLDS, &holder.said)?;
    let error = refused(&space(), &options("disk", mode)?)?;
    let expected = format!("process {} (", holder.child.id());
    check(matches!(error, OpenError::Busy { .. }) && error.to_string().contains(&expected), &error)?;
    holder.kill()?;
    crate::running::disk(mode)
}

/// A user without privileges: the nodes must be his, and the limit on locked memory holds.
pub(crate) fn unprivileged(mode: Mode) -> Outcome {
    let found = preflight(&HostPaths::default(), address("disk")?).map_err(|error| chain(&error))?;
    let nodes = match mode {
        Mode::Cdev => {
            vec![format!("/dev/vfio/devices/{}", found.nodes.cdev.unwrap_or_default()), "/dev/iommu".to_owned()]
        }
        _ => vec![format!("/dev/vfio/{}", found.nodes.group.id), "/dev/vfio/vfio".to_owned()],
    };
    give(&nodes, 0)?;
    let node = nodes.first().map_or("", String::as_str);
    let holder = Holder::unprivileged(mode, 8192, 4096)?;
    check(holder.said.starts_with(&format!("no permission to open {node} ")), &holder.said)?;
    give(&nodes, USER)?;
    let outcome = within_limits(mode);
    give(&nodes, 0)?;
    outcome
}

fn within_limits(mode: Mode) -> Outcome {
    let holder = Holder::unprivileged(mode, 8192, 4 << 20)?;
    check(holder.said == HOLDS, &holder.said)?;
    drop(holder);
    let holder = Holder::unprivileged(mode, 8192, 64 << 20)?;
    let expected =
        "64 MiB must stay in memory for DMA, 0 MiB do already, and this process may lock 8 MiB: raise the limit";
    check(holder.said.contains(expected), &holder.said)
}

fn give(nodes: &[String], user: u32) -> Outcome {
    nodes.iter().try_for_each(|node| chown(node, Some(user), None)).map_err(text)
}

pub(crate) fn other_driver() -> Outcome {
    let bdf = address("other")?;
    let error = refused(&space(), &options("other", Mode::Auto)?)?.to_string();
    let expected = format!("{bdf} is bound to virtio-pci, not to vfio-pci: ");
    check(error.starts_with(&expected), error)
}

/// vfio-pci does not take a function without an IOMMU, so the driver is not what is wrong.
pub(crate) fn iommu_off() -> Outcome {
    let error = refused(&space(), &options("disk", Mode::Auto)?)?;
    check(matches!(error, OpenError::IommuOff { .. }), &error)
}

/// The kernel's mode in which a guest's DMA reaches all memory of the host.
pub(crate) fn unsafe_mode() -> Outcome {
    for mode in [Mode::Group, Mode::Cdev, Mode::Auto] {
        let error = refused(&space(), &options("disk", mode)?)?;
        check(matches!(error, OpenError::NoIommu { .. }), &error)?;
    }
    Ok(())
}

/// One member of the group has a driver of the host.
pub(crate) fn not_viable() -> Outcome {
    let other = address("neighbour2")?;
    let modes =
        if std::path::Path::new("/dev/iommu").exists() { vec![Mode::Group, Mode::Cdev] } else { vec![Mode::Group] };
    for mode in modes {
        let error = refused(&space(), &options("neighbour", mode)?)?;
        let named = error.to_string().contains(&format!("({other} by virtio-pci)"));
        check(matches!(error, OpenError::NotViable { .. }) && named, &error)?;
    }
    Ok(())
}

/// Both members for us: the group is opened once, and closed with the last of them.
pub(crate) fn one_group() -> Outcome {
    let (one, other) = (address("neighbour")?, address("neighbour2")?.to_string());
    let device = |file: &str| format!("/sys/bus/pci/devices/{other}/{file}");
    let bind = |driver: &str| {
        std::fs::write(device("driver_override"), driver)?;
        std::fs::write(device("driver/unbind"), &other)?;
        std::fs::write("/sys/bus/pci/drivers_probe", &other)
    };
    bind("vfio-pci").map_err(text)?;
    let outcome = (|| {
        let space = space();
        let first = open(&space, &options("neighbour", Mode::Group)?)?;
        let second = open(&space, &options("neighbour2", Mode::Group)?)?;
        check(first.bdf() == one && second.bdf() != one, "the wrong functions")?;
        drop(first);
        second.dma_map(&crate::disk::memory(0x4000_0000)?).map_err(|error| chain(&error))?;
        let again = open(&space, &options("neighbour", Mode::Group)?)?;
        drop(second);
        check(space.mapped() == 0, "mappings of a function that is gone")?;
        drop(again);
        check(space.mode().is_none(), "the container stays open")?;
        open(&DmaSpace::new(None), &options("neighbour2", Mode::Group)?).map(drop)
    })();
    bind("virtio-pci").map_err(text)?;
    outcome
}

pub(crate) fn mixed() -> Outcome {
    let space = space();
    let disk = open(&space, &options("disk", Mode::Cdev)?)?;
    let error = refused(&space, &options("net", Mode::Group)?)?;
    check(matches!(error, OpenError::MixedModes { .. }), &error)?;
    let net = open(&space, &options("net", Mode::Auto)?)?;
    check(net.mode() == Mode::Cdev, "the other way than the space")?;
    drop(net);
    drop(disk);
    // Nobody is in it: either way is free again.
    let net = open(&space, &options("net", Mode::Group)?)?;
    let error = refused(&space, &options("disk", Mode::Cdev)?)?;
    check(matches!(error, OpenError::MixedModes { .. }), &error)?;
    drop(net);
    let disk = open(&space, &options("disk", Mode::Auto)?)?;
    check(disk.mode() == Mode::Cdev, "not by character device, which is there")
}

/// Descriptors and group are free again after an opening that failed late.
pub(crate) fn nothing_left() -> Outcome {
    let descriptors = || std::fs::read_dir("/proc/self/fd").map(Iterator::count).map_err(text);
    let before = descriptors()?;
    for _ in 0..3 {
        // By group the device is the last that is opened, and refused.
        refused(&space(), &with_token("disk", Mode::Group, TOKEN)?)?;
    }
    check(descriptors()? == before, "descriptors stay open")?;
    drop(open(&space(), &options("disk", Mode::Group)?)?);
    check(descriptors()? == before, "descriptors stay open after a function was dropped")
}

/// Without a PF that has the commands, `virtio_vfio_pci` is plain vfio-pci.
pub(crate) fn no_legacy_region() -> Outcome {
    let function = Arc::new(open(&space(), &options("disk", Mode::Group)?)?);
    let error = VfioBar0Registers::new(&function, Vec::new()).err().ok_or("legacy registers of a disk on vfio-pci")?;
    check(matches!(error, Bar0Error::Driver { .. }), &error)?;
    check(function.region(4).is_some(), "the function changed")
}
