// SPDX-License-Identifier: Apache-2.0
//! Software PFs: the one of this process, made for the purpose, and those that `heirloom soft-pf` serves.

use std::fs;
use std::num::NonZeroU16;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;

use devices::bus::Width;
use devices::function::PciFunction;
use devices::function::vfio_user::{DEADLINE, VfioUserFunction};
use devices::soft_pf::{NetBackend, SoftPf, VfSpec};
use devices::spec::pci::DEVICE_ID;

use super::checks::{Checks, chain};
use super::deep::{self, Member, Resources};
use super::functions::{DEEP, NOT_DEEP};
use super::vf::{is_disk, msix};

/// Any address does for a card that nobody uses.
const MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x4c, 0x56, 0x00];
/// More VFs than a software PF has.
const MOST_VFS: u16 = 255;

/// The software PF that `heirloom run` has.
pub(super) fn builtin(checks: &mut Checks) {
    checks.about("soft/pf");
    let soft = match SoftPf::new("soft", vec![VfSpec::Net { backend: NetBackend::Loopback, mac: MAC }]) {
        Ok(soft) => soft,
        Err(error) => {
            return checks.fail("pf", chain(&error), "raise the limits of open files and threads (ulimit -n, -u)");
        }
    };
    checks.pass("pf", "the software PF of heirloom run, with a network card as its VF");
    let member = soft.vf(0).map(|vf| look(checks, "soft/vf0".to_owned(), NonZeroU16::MIN, &*vf));
    checks.about("soft/pf");
    let open = |_: &Member| soft.vf(0).ok_or_else(|| "there is none".to_owned());
    deep::ask(checks, soft.pf(), Some(1), member.as_slice(), &open, deep::LIMIT);
}

/// A software PF behind sockets: `pf.sock`, `vf0.sock`, `vf1.sock`, ...
pub(super) fn sockets(checks: &mut Checks, folder: &Path, deep: bool) {
    let path = folder.join("pf.sock");
    checks.about(path.display());
    let fix = format!("heirloom soft-pf --socket-dir {} --vf net,loopback", folder.display());
    match fs::metadata(&path) {
        Ok(found) if found.file_type().is_socket() => checks.pass("pf_socket", "there is a socket"),
        Ok(_) => return checks.fail("pf_socket", "it is not a socket", fix),
        Err(error) => return checks.fail("pf_socket", format!("cannot be looked at: {error}"), fix),
    }
    let vfs: Vec<_> =
        (0..MOST_VFS).map(|index| folder.join(format!("vf{index}.sock"))).take_while(|vf| vf.exists()).collect();
    if vfs.is_empty() {
        checks.fail("vfs", "there is no vf0.sock beside it", fix);
    } else {
        checks.pass("vfs", format!("{} sockets of VFs", vfs.len()));
    }
    if !deep {
        for name in ["admin_queue", "admin_commands", "notify_info", "queue_sizes"] {
            checks.unknown(name, NOT_DEEP, Some(DEEP));
        }
        return;
    }
    let pf = match connect(checks, &path) {
        Some(pf) => pf,
        None => return,
    };
    let (mut members, mut functions) = (Vec::new(), Vec::new());
    for (vf, number) in vfs.iter().zip(1..) {
        checks.about(vf.display());
        let Some(number) = NonZeroU16::new(number) else { continue };
        if let Some(function) = connect(checks, vf) {
            members.push(look(checks, vf.display().to_string(), number, &*function));
            functions.push((number, function));
        }
    }
    checks.about(path.display());
    // Connected already: a function has one client at a time.
    let open = |member: &Member| {
        let found = functions.iter().find(|(number, _)| *number == member.number);
        found.map(|(_, function)| Arc::clone(function)).ok_or_else(|| "it is not connected".to_owned())
    };
    deep::ask(checks, pf, u16::try_from(vfs.len()).ok(), &members, &open, deep::LIMIT);
}

/// One client at a time has a function: another one waits, and gives up.
fn connect(checks: &mut Checks, path: &Path) -> Option<Arc<dyn PciFunction>> {
    match VfioUserFunction::connect(path, DEADLINE) {
        Ok(function) => {
            checks.pass("vfio_user", "the server answers");
            Some(Arc::new(function))
        }
        Err(error) => {
            checks.fail(
                "vfio_user",
                chain(&error),
                "is the server alive, and the function free? A function has one client at a time",
            );
            None
        }
    }
}

/// What a VF shows by itself.
fn look(checks: &mut Checks, name: String, number: NonZeroU16, vf: &dyn PciFunction) -> Member {
    checks.about(&name);
    if vf.region(0).is_some() {
        checks.fail(
            "vf_bar0",
            "the VF has a BAR 0, where the legacy registers have to be",
            "use a server whose VFs have none",
        );
    } else {
        checks.pass("vf_bar0", "absent, so there is room for the legacy registers");
    }
    let vectors = vf.msix_vectors();
    msix(checks, vectors);
    let sizes = (0..6).map(|bar| vf.region(bar).map(|region| region.size)).collect();
    let is_disk = vf.config_read(DEVICE_ID, Width::B2).is_ok_and(|id| is_disk(id as u16));
    let resources = Resources { sizes, vectors: Some(vectors) };
    Member { name, number, resources, is_disk, is_idle: true }
}
