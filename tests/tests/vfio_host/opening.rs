// SPDX-License-Identifier: Apache-2.0
//! Opening functions, and everything that can stand in the way.

use std::env;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use devices::function::PciFunction;
use devices::function::vfio::{Bar0Error, DmaSpace, Mode, OpenError, OverVfioBar0};

use crate::disk::{PATIENCE, text};
use crate::{HOLD, Outcome, address, check, open, options, refused, with_token};

pub const TOKEN: &str = "bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3";
const OTHER_TOKEN: &str = "00000000-5a5f-4f5a-a211-f591514ba1f3";

/// A space of its own each: a PF and its VFs are not to share DMA.
fn space() -> Arc<DmaSpace> {
    DmaSpace::new(None)
}

/// The PF is on vfio-pci, so its VFs want the PF's token; the PF wants it while a VF is open.
pub fn tokens(mode: Mode) -> Outcome {
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

pub fn unexpected_token() -> Outcome {
    let error = refused(&space(), &with_token("disk", Mode::Group, TOKEN)?)?;
    check(matches!(error, OpenError::TokenUnexpected { .. }), &error)?;
    open(&space(), &options("disk", Mode::Group)?).map(drop)
}

pub fn busy(mode: Mode) -> Outcome {
    let user = open(&space(), &options("disk", mode)?)?;
    let error = refused(&space(), &options("disk", mode)?)?;
    let own = format!("process {} (", std::process::id());
    check(matches!(error, OpenError::Busy { .. }) && error.to_string().contains(&own), &error)?;
    drop(user);
    open(&space(), &options("disk", mode)?).map(drop)
}

/// A process that has the disk open.
struct Holder(Child);

impl Holder {
    fn start(mode: Mode) -> Outcome<Self> {
        let program = env::current_exe().map_err(text)?;
        let word = if mode == Mode::Cdev { "cdev" } else { "group" };
        let child = Command::new(program).env(HOLD, word).stdout(Stdio::null()).spawn().map_err(text)?;
        Ok(Self(child))
    }

    /// Ends it as a crash does.
    fn kill(&mut self) -> Outcome {
        self.0.kill().map_err(text)?;
        self.0.wait().map(drop).map_err(text)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.kill().ok();
    }
}

/// What [`Holder`] runs.
pub fn hold(cdev: bool) -> ExitCode {
    let mode = if cdev { Mode::Cdev } else { Mode::Group };
    let space = space();
    let held = options("disk", mode).and_then(|options| open(&space, &options));
    let mapped = held.as_ref().map_err(Clone::clone).and_then(|function| {
        let memory = crate::disk::memory(0x4000_0000)?;
        function.dma_map(&memory).map_err(text)
    });
    match mapped {
        Ok(()) => loop {
            std::thread::sleep(Duration::from_secs(60));
        },
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

pub fn killed(mode: Mode) -> Outcome {
    let mut holder = Holder::start(mode)?;
    let name = format!("process {} (", holder.0.id());
    let end = Instant::now() + PATIENCE;
    loop {
        // It takes a while to open the device; until then this process may get it.
        match refused(&space(), &options("disk", mode)?) {
            Ok(error) if matches!(error, OpenError::Busy { .. }) && error.to_string().contains(&name) => break,
            _ if Instant::now() < end => std::thread::sleep(Duration::from_millis(50)),
            Ok(error) => return Err(format!("not told who uses it: {error}")),
            Err(error) => return Err(error),
        }
    }
    holder.kill()?;
    crate::running::disk(mode)
}

pub fn other_driver() -> Outcome {
    let bdf = address("other")?;
    let error = refused(&space(), &options("other", Mode::Auto)?)?.to_string();
    let expected = format!("{bdf} is bound to virtio-pci, not to vfio-pci: ");
    check(error.starts_with(&expected), error)
}

pub fn mixed() -> Outcome {
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
pub fn nothing_left() -> Outcome {
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
pub fn no_legacy_region() -> Outcome {
    let function = Arc::new(open(&space(), &options("disk", Mode::Group)?)?);
    let error = OverVfioBar0::new(&function, None).err().ok_or("legacy registers of a disk on vfio-pci")?;
    check(matches!(error, Bar0Error::Driver { .. }), &error)?;
    check(function.region(4).is_some(), "the function changed")
}
