// SPDX-License-Identifier: Apache-2.0
//! Reading the JSON report.

use std::fs;
use std::path::Path;

use serde_json::Value;

fn read(path: &Path) -> Result<Value, String> {
    let bytes = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    serde_json::from_slice(&bytes).map_err(|e| format!("{}: {e}", path.display()))
}

/// How often the guest was started.
pub fn boot_count(path: &Path) -> Result<u64, String> {
    number(&read(path)?["boot_count"])
}

/// The last boot in a report file.
pub fn last_boot(path: &Path) -> Result<Value, String> {
    let report = read(path)?;
    let boots = report["boots"].as_array().ok_or("the report has no boots")?;
    Ok(boots.last().ok_or("the report has no boot")?.clone())
}

/// One device of a boot.
pub fn device<'a>(boot: &'a Value, id: &str) -> Result<&'a Value, String> {
    let devices = boot["devices"].as_array().ok_or("the report has no devices")?;
    devices.iter().find(|d| d["id"] == id).ok_or_else(|| format!("no device {id} in {boot}"))
}

/// A number.
pub fn number(value: &Value) -> Result<u64, String> {
    value.as_u64().ok_or_else(|| format!("{value} is no number"))
}

/// Fails, with the device's report, unless `condition` holds.
pub fn check(condition: bool, what: &str, context: &Value) -> Result<(), String> {
    if condition { Ok(()) } else { Err(format!("{what}\n{context:#}")) }
}

/// Admin commands of one kind that a device cost, by the opcode's name.
pub fn commands(device: &Value, opcode: &str) -> u64 {
    let list = device["admin"]["commands"].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter(|c| c["command"] == opcode).filter_map(|c| c["count"].as_u64()).sum()
}

/// Register accesses by admin command.
pub fn all_commands(device: &Value) -> u64 {
    ["LEGACY_COMMON_CFG_WRITE", "LEGACY_COMMON_CFG_READ", "LEGACY_DEV_CFG_WRITE", "LEGACY_DEV_CFG_READ"]
        .iter()
        .map(|opcode| commands(device, opcode))
        .sum()
}
