// SPDX-License-Identifier: Apache-2.0
//! Disk and card, driven by each kind of interrupt and in each order, and through a real tap.

use std::process::{Command, Stdio};

use serde_json::Value;
use tests::report::{all_commands, check, device, last_boot, number};
use tests::{Finished, fnv1a};

use crate::bench::{Bench, GUEST};

/// Byte `offset` of the pattern that the guest writes to sector 3.
fn pattern(offset: usize) -> u8 {
    (offset as u8).wrapping_mul(7) ^ 0x5a
}

/// Every register access is an admin command, and no kick is one.
fn check_disk_path(report: &Value) -> Result<(), String> {
    let disk = device(report, "disk")?;
    check(all_commands(disk) >= 15, "too few admin commands for a probe", disk)?;
    check(disk["kicks"]["admin"] == 0, "a kick went as an admin command", disk)?;
    let kicks = number(&disk["kicks"]["store"])? + number(&disk["kicks"]["ioeventfd"])?;
    check(kicks >= 10, "the kicks are not in the report", disk)?;
    check(disk["faulted"].is_null(), "the disk is out of service", disk)
}

pub(crate) fn disk_works(bench: &Bench) -> Result<(Finished, Value), String> {
    let before = bench.disk.fnv1a()?;
    let (finished, report) = bench.run()?;
    let finished = finished.expect_output(&format!("GUEST disk sectors=128 fnv1a={before:08x}"))?;
    let after = bench.disk.bytes()?;
    let written = &after[3 * 512..4 * 512];
    if let Some(offset) = (0..512).find(|&o| written[o] != pattern(o)) {
        return Err(format!("byte {offset} of sector 3 is {:#x} in the file", written[offset]));
    }
    check_disk_path(&report)?;
    Ok((finished, report))
}

pub(crate) fn blk(irq: &str, keys: &'static str) -> Result<(), String> {
    let (_, report) = disk_works(&Bench::new(&format!("test=blk irq={irq}"))?.disk_keys(keys))?;
    let disk = device(&report, "disk")?;
    let intx = number(&disk["intx"]["queue"])?;
    match irq {
        "pic" | "ioapic" => check(intx >= 10, "no INTx was made from MSI-X", disk),
        "msix" => check(intx == 0, "INTx in MSI-X mode", disk),
        _ => Ok(()),
    }
}

/// A driver that waits for sectors before DRIVER_OK.
pub(crate) fn early(order: &str, irq: &str, keys: &'static str) -> Result<(), String> {
    let bench = Bench::new(&format!("test=early order={order} irq={irq}"))?.disk_keys(keys);
    let expected = fnv1a(&bench.disk.bytes()?[..4 * 512]);
    let (finished, report) = bench.run()?;
    finished.expect_output(&format!("GUEST early fnv1a={expected:08x}"))?;
    let disk = device(&report, "disk")?;
    let starts = u64::from(!keys.contains("early=pass"));
    check(number(&disk["kicks"]["early_starts"])? == starts, "the kick did not start the disk once", disk)?;
    check(number(&disk["kicks"]["early"])? >= 1 && disk["faulted"].is_null(), "no early kick, or out of service", disk)
}

pub(crate) fn read_only_disk() -> Result<(), String> {
    let bench = Bench::new("test=blk")?.disk_keys(",readonly=on");
    let before = bench.disk.bytes()?;
    // The guest's write must fail with an error status, and the guest says so.
    bench.start()?.finish()?.expect_code(0)?.expect_output("GUEST-FAIL blk: status of a write: 0x1")?;
    if bench.disk.bytes()? != before {
        return Err("a read-only disk was written".to_owned());
    }
    Ok(())
}

pub(crate) fn net(irq: &str, keys: &'static str) -> Result<(), String> {
    let (finished, report) = Bench::new(&format!("test=net irq={irq} count=5"))?.net_keys(keys).run()?;
    finished.expect_output("GUEST net pings=5")?;
    let net = device(&report, "net")?;
    check(net["kicks"]["admin"] == 0, "a kick went as an admin command", net)?;
    let kicks = &net["kicks"];
    check(number(&kicks["early"])? >= 1 && kicks["early_starts"] == 1, "the early kick did not start the card", net)
}

/// Whether a network namespace with a tap can be made here.
pub(crate) fn tap_lack() -> Option<&'static str> {
    let made = in_namespace("true").output().is_ok_and(|o| o.status.success());
    (!made).then_some("no tap in a network namespace (needs root, /dev/net/tun, ip and unshare)")
}

/// A shell command in a network namespace of its own, with 10.0.2.2 on the tap `t0`.
fn in_namespace(command: &str) -> Command {
    let set_up = "ip tuntap add t0 mode tap && ip addr add 10.0.2.2/24 dev t0 && ip link set t0 up";
    let mut shell = Command::new("unshare");
    shell.args(["--net", "sh", "-c", &format!("{set_up} && {command}")]);
    shell
}

/// The kernel of this machine answers the guest's ARP and pings, through a real tap.
pub(crate) fn net_tap() -> Result<(), String> {
    let bench = Bench::new("test=net irq=pic count=5")?;
    let guest = GUEST.as_ref().map_err(|e| e.as_str())?;
    let command = format!(
        "exec {} run --memory=64M --cpu=legacy --kernel {} --cmdline='test=net irq=pic count=5' \
         --legacy-virtio=soft=net,tap=t0,id=net --report {}",
        tests::binary()?.display(),
        guest.display(),
        bench.report_path().display()
    );
    let output = in_namespace(&command).stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || !text.contains("GUEST net pings=5") {
        return Err(format!("{:?}\n{text}", output.status));
    }
    let report = last_boot(&bench.report_path())?;
    check(device(&report, "net")?["faulted"].is_null(), "the card is out of service", &report)
}
