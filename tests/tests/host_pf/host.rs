// SPDX-License-Identifier: Apache-2.0
//! The host VM as sysfs shows it, and `heirloom` run on it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::{Finished, Heirloom};

use crate::{Outcome, text};

const DEVICES: &str = "/sys/bus/pci/devices";
pub(crate) const ENABLE_SRIOV: &str = "/sys/module/vfio_pci/parameters/enable_sriov";

/// All that `heirloom pf` may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    functions: Vec<(String, Option<String>, String)>,
    vfs: Vec<String>,
    autoprobe: Vec<String>,
    enable_sriov: String,
    states: Vec<String>,
}

impl Snapshot {
    pub(crate) fn take() -> Outcome<Self> {
        let (mut functions, mut vfs, mut autoprobe) = (Vec::new(), Vec::new(), Vec::new());
        for address in names(DEVICES)? {
            let device = device(&address);
            functions.push((address.clone(), driver(&address), read(device.join("driver_override"))?));
            if device.join("sriov_numvfs").exists() {
                vfs.push(read(device.join("sriov_numvfs"))?);
                autoprobe.push(read(device.join("sriov_drivers_autoprobe"))?);
            }
        }
        let states = names("/run/heirloom/pf").unwrap_or_default().into_iter().filter(|name| name != "lock").collect();
        Ok(Self { functions, vfs, autoprobe, enable_sriov: read(ENABLE_SRIOV)?, states })
    }

    /// Fails unless all is so now.
    pub(crate) fn still(&self) -> Outcome {
        let now = Self::take()?;
        if now == *self { Ok(()) } else { Err(format!("before: {self:#?}\nnow: {now:#?}")) }
    }
}

pub(crate) fn names(folder: impl AsRef<Path>) -> Outcome<Vec<String>> {
    let entries = fs::read_dir(folder).map_err(text)?.flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

pub(crate) fn device(address: &str) -> PathBuf {
    Path::new(DEVICES).join(address)
}

pub(crate) fn read(path: impl AsRef<Path>) -> Outcome<String> {
    let path = path.as_ref();
    Ok(fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?.trim().to_owned())
}

/// The name of a function's driver.
pub(crate) fn driver(address: &str) -> Option<String> {
    link(&device(address).join("driver"))
}

fn link(path: &Path) -> Option<String> {
    Some(fs::read_link(path).ok()?.file_name()?.to_string_lossy().into_owned())
}

/// Address of a VF that is enabled, by its index.
pub(crate) fn vf(pf: &str, index: usize) -> Outcome<String> {
    link(&device(pf).join(format!("virtfn{index}"))).ok_or_else(|| format!("{pf} has no VF {index}"))
}

/// The node of a function's IOMMU group.
pub(crate) fn group_node(address: &str) -> Outcome<PathBuf> {
    let group = link(&device(address).join("iommu_group")).ok_or("no IOMMU group")?;
    Ok(Path::new("/dev/vfio").join(group))
}

/// Runs `heirloom` with these words.
pub(crate) fn heirloom(words: &[&str]) -> Outcome<Finished> {
    Heirloom::plain(words).finish()
}

/// Runs it, and takes its answer.
pub(crate) fn answer(words: &[&str], code: i32) -> Outcome<Value> {
    let finished = heirloom(&[words, &["--json"]].concat())?.expect_code(code)?;
    serde_json::from_str(&finished.stdout).map_err(|error| format!("{error}\n{finished}"))
}

pub(crate) fn prepare(pf: &str, more: &[&str]) -> Outcome<Value> {
    answer(&[&["pf", "prepare", pf, "--vfs", "2"], more].concat(), 0)
}

pub(crate) fn release(pf: &str) -> Outcome<Value> {
    answer(&["pf", "release", pf], 0)
}

/// The entries of a list in an answer, as text.
pub(crate) fn list(answer: &Value, name: &str, field: &str) -> Vec<String> {
    let entries = answer[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let entry = |entry: &Value| if field.is_empty() { entry.clone() } else { entry[field].clone() };
    entries.iter().filter_map(|value| Some(entry(value).as_str()?.to_owned())).collect()
}
