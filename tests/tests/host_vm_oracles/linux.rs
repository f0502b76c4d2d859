// SPDX-License-Identifier: Apache-2.0
//! Stock Linux drivers on PF and VFs, seen through sysfs and used as anybody uses a disk or a network card.

use std::env;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tests::sysfs::{self, device, kernel_log, read};
pub(crate) use tests::sysfs::{bind, write};

use crate::{Outcome, PF, check, text};

/// For a kernel on an emulated machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);
const VFS: usize = 2;
/// Feature bits (virtio 1.3, 6).
const SR_IOV: usize = 37;
const ADMIN_VQ: usize = 41;

/// The PF's address.
pub(crate) fn pf() -> Outcome<String> {
    env::var(PF).map_err(text)
}

/// `sriov_numvfs`, with the VFs' drivers bound or not.
pub(crate) fn set_vfs(count: usize, bind: bool) -> Outcome {
    sysfs::set_vfs(&pf()?, count, bind)
}

/// Address of the VF with this index.
pub(crate) fn vf(index: usize) -> Outcome<String> {
    sysfs::vf(&pf()?, index)
}

/// The one entry of a folder below a function whose path has a `*` for the number of the virtio device.
fn below(address: &str, class: &str) -> Outcome<PathBuf> {
    let end = Instant::now() + PATIENCE;
    loop {
        let virtio = fs::read_dir(device(address)).map_err(text)?.flatten();
        let mut virtio = virtio.filter(|entry| entry.file_name().to_string_lossy().starts_with("virtio"));
        if let Some(virtio) = virtio.next() {
            let folder = virtio.path().join(class);
            let found = if class.is_empty() {
                Some(folder)
            } else {
                fs::read_dir(folder).ok().and_then(|mut entries| entries.next()?.ok()).map(|entry| entry.path())
            };
            if let Some(found) = found {
                return Ok(found);
            }
        }
        check(Instant::now() < end, format!("{address} has no virtio device of class {class}: {}", kernel_log()))?;
        std::thread::sleep(Duration::from_millis(50)); // Clock: between two looks.
    }
}

/// virtio-pci owns the PF, has accepted both features, and has an interrupt for the administration virtqueue.
pub(crate) fn negotiates() -> Outcome {
    let pf = pf()?;
    bind(&pf, "virtio-pci")?;
    let virtio = below(&pf, "")?;
    let features = read(virtio.join("features"))?;
    for bit in [SR_IOV, ADMIN_VQ] {
        check(features.as_bytes().get(bit) == Some(&b'1'), format!("feature {bit} is not negotiated: {features}"))?;
    }
    check(read(virtio.join("status"))? == "0x0000000f", "the driver is not running")?;
    let name = virtio.file_name().ok_or("no name")?.to_string_lossy().into_owned();
    let interrupts = read("/proc/interrupts")?;
    // Linux asked for its commands when it started. It has a vector of its own for the answers or, for a disk on
    // few processors, lets them share that of the configuration, which never changes here.
    let counts = |vector: &str| -> u64 {
        let line = interrupts.lines().find(|line| line.contains(&format!(" {name}-{vector}"))).unwrap_or_default();
        line.split_whitespace().skip(1).map_while(|word| word.parse::<u64>().ok()).sum()
    };
    let answers = counts("avq.") + counts("config");
    check(answers >= 2, format!("{answers} interrupts of the administration virtqueue:\n{interrupts}"))
}

/// VFs exist when sysfs says so, as many as it says, and never more than there are.
pub(crate) fn vfs_come_and_go() -> Outcome {
    let pf = pf()?;
    let own = read(device(&pf).join("device"))?;
    check(read(device(&pf).join("sriov_totalvfs"))? == VFS.to_string(), "sriov_totalvfs")?;
    for _ in 0..2 {
        for count in [VFS, 0, 1] {
            set_vfs(count, false)?;
            check(read(device(&pf).join("sriov_numvfs"))? == count.to_string(), "sriov_numvfs")?;
            for index in 0..VFS {
                check(vf(index).is_ok() == (index < count), format!("VF {index} of {count}"))?;
            }
        }
        let vf = device(&vf(0)?);
        let ids = (read(vf.join("vendor"))?, read(vf.join("device"))?, read(vf.join("class"))?);
        check(ids == ("0x1af4".into(), own.clone(), read(device(&pf).join("class"))?), format!("{ids:?}"))?;
        check(!read(vf.join("resource"))?.starts_with("0x00000000f"), "a VF has a BAR 0")?;
        set_vfs(0, false)?;
    }
    let more = write(device(&pf).join("sriov_numvfs"), &(VFS + 1).to_string());
    check(more.is_err(), "more VFs than there are")
}

/// Sends a few echo requests through the card of a function; the loopback host answers for every address.
fn ping(address: &str, number: usize) -> Outcome {
    let interface = below(address, "net")?;
    let name = interface.file_name().ok_or("no name")?.to_string_lossy().into_owned();
    let (own, peer) = (format!("192.0.2.{}/28", 16 * number + 1), format!("192.0.2.{}", 16 * number + 2));
    run("ip", &["addr", "add", &own, "dev", &name])?;
    run("ip", &["link", "set", &name, "up"])?;
    // Behind the wire is a host and no switch: nothing resolves by itself before the link is up.
    run("ping", &["-c", "3", "-W", "10", "-s", "1000", "-I", &name, &peer])?;
    let count = |direction| read(interface.join("statistics").join(direction))?.parse::<u64>().map_err(text);
    check(count("rx_packets")? >= 4 && count("tx_packets")? >= 4, "an ARP exchange and three echoes were expected")?;
    check(count("rx_errors")? == 0 && count("tx_errors")? == 0, "the driver counted errors")
}

fn run(program: &str, words: &[&str]) -> Outcome {
    let out = Command::new(program).args(words).output().map_err(|error| format!("{program}: {error}"))?;
    let said = [out.stdout, out.stderr].concat();
    check(out.status.success(), format!("{program} {}: {}", words.join(" "), String::from_utf8_lossy(&said)))
}

pub(crate) fn pf_pings() -> Outcome {
    let pf = pf()?;
    bind(&pf, "virtio-pci")?;
    ping(&pf, 0)
}

pub(crate) fn vfs_ping() -> Outcome {
    set_vfs(VFS, true)?;
    for index in 0..VFS {
        ping(&vf(index)?, index + 1)?;
    }
    set_vfs(0, false)
}

/// The disk of a function.
fn disk(address: &str) -> Outcome<(PathBuf, PathBuf)> {
    let block = below(address, "block")?;
    let node = Path::new("/dev").join(block.file_name().ok_or("no name")?);
    Ok((block, node))
}

/// Drops what the kernel remembers of all disks, so that what is read next comes from the device.
fn forget() -> Outcome {
    write("/proc/sys/vm/drop_caches", "3")
}

pub(crate) fn pf_disk() -> Outcome {
    let pf = pf()?;
    bind(&pf, "virtio-pci")?;
    let (block, node) = disk(&pf)?;
    check(read(block.join("size"))? == "2048", "1 MiB was expected")?;
    let pattern: Vec<u8> = (0..1 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut file = File::options().read(true).write(true).open(&node).map_err(text)?;
    file.write_all(&pattern).and_then(|()| file.sync_all()).map_err(text)?;
    forget()?;
    let mut back = Vec::new();
    file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut back)).map_err(text)?;
    check(back == pattern, "what was read is not what was written")
}

/// The images that the script made: byte n of sector s is (7 n) xor s. The second one is read-only.
pub(crate) fn vf_disks() -> Outcome {
    set_vfs(VFS, true)?;
    for index in 0..VFS {
        let (block, node) = disk(&vf(index)?)?;
        let readonly = index == 1;
        check(read(block.join("ro"))? == if readonly { "1" } else { "0" }, format!("VF {index}: ro"))?;
        check(read(block.join("serial"))? == format!("vf{index}"), format!("VF {index}: serial"))?;
        let content = fs::read(&node).map_err(text)?;
        let expected = (0..64 * 512_usize).map(|n| ((7 * (n % 512)) as u8) ^ (n / 512) as u8);
        check(content.iter().copied().eq(expected), format!("VF {index}: the content is not the image's"))?;
        if !readonly {
            let mut file = File::options().write(true).open(&node).map_err(text)?;
            let sector = [b'L'; 512];
            file.seek(SeekFrom::Start(5 * 512)).and_then(|_| file.write_all(&sector)).map_err(text)?;
            file.sync_all().map_err(text)?;
            forget()?;
            check(fs::read(&node).map_err(text)?[5 * 512..6 * 512] == sector, "the sector was not written")?;
        }
    }
    set_vfs(0, false)
}
