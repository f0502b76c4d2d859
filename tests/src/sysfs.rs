// SPDX-License-Identifier: Apache-2.0
//! PCI functions, their drivers and VFs through sysfs, as an operator handles them. Needs root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const DEVICES: &str = "/sys/bus/pci/devices";
const DRIVERS: &str = "/sys/bus/pci/drivers";

/// The folder of the function at `address`, such as `0000:01:00.0`.
pub fn device(address: &str) -> PathBuf {
    Path::new(DEVICES).join(address)
}

/// A file's text, without white space around it.
pub fn read(path: impl AsRef<Path>) -> Result<String, String> {
    let path = path.as_ref();
    Ok(fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?.trim().to_owned())
}

/// Writes a file that exists.
pub fn write(path: impl AsRef<Path>, what: &str) -> Result<(), String> {
    let path = path.as_ref();
    fs::write(path, what).map_err(|error| format!("{what} to {}: {error}", path.display()))
}

/// The name of a function's driver.
pub fn driver(address: &str) -> Option<String> {
    let link = fs::read_link(device(address).join("driver")).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

/// Takes a function from its driver, if it has one.
pub fn unbind(address: &str) -> Result<(), String> {
    match driver(address) {
        Some(bound) => write(Path::new(DRIVERS).join(bound).join("unbind"), address),
        None => Ok(()),
    }
}

/// Binds a function to a driver, whatever it had.
pub fn bind(address: &str, to: &str) -> Result<(), String> {
    if driver(address).as_deref() == Some(to) {
        return Ok(());
    }
    unbind(address)?;
    write(device(address).join("driver_override"), to)?;
    write("/sys/bus/pci/drivers_probe", address)?;
    match driver(address).as_deref() == Some(to) {
        true => Ok(()),
        false => Err(format!("{address} did not bind to {to}: {}", kernel_log())),
    }
}

/// The last lines of the kernel's log, newest first.
pub fn kernel_log() -> String {
    let log = Command::new("dmesg").output().map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
    let log = log.unwrap_or_default();
    log.lines().rev().take(5).collect::<Vec<_>>().join("; ")
}

/// `sriov_numvfs` of `pf`, with the VFs' drivers bound or not.
pub fn set_vfs(pf: &str, count: usize, bind: bool) -> Result<(), String> {
    let pf = device(pf);
    if read(pf.join("sriov_numvfs"))? != "0" {
        write(pf.join("sriov_numvfs"), "0")?;
    }
    write(pf.join("sriov_drivers_autoprobe"), if bind { "1" } else { "0" })?;
    if count > 0 { write(pf.join("sriov_numvfs"), &count.to_string()) } else { Ok(()) }
}

/// Address of the VF with this index, from 0.
pub fn vf(pf: &str, index: usize) -> Result<String, String> {
    let link = fs::read_link(device(pf).join(format!("virtfn{index}"))).map_err(|e| format!("virtfn{index}: {e}"))?;
    let name = link.file_name().ok_or("virtfn leads nowhere")?;
    Ok(name.to_string_lossy().into_owned())
}
