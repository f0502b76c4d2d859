// SPDX-License-Identifier: Apache-2.0
//! What this machine can do, and where the built things are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// What `/dev/kvm` is good for here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kvm {
    /// Missing, or we may not open it.
    Missing,
    /// There, but guest ring 0 runs at about a million instructions a second.
    Emulated,
    /// Fast enough for stock kernels.
    Fast,
}

impl Kvm {
    /// Asks `HEIRLOOM_KVM` (`missing`, `emulated`, `hardware`), else measures with `scripts/kvm-speed`.
    pub fn find() -> Self {
        let said = env::var("HEIRLOOM_KVM").ok().or_else(|| {
            let output = Command::new(workspace().join("scripts/kvm-speed")).output().ok()?;
            String::from_utf8(output.stdout).ok()
        });
        match said.as_deref().and_then(|text| text.split_whitespace().next()) {
            Some("hardware") => Self::Fast,
            Some("emulated") => Self::Emulated,
            _ => Self::Missing,
        }
    }
}

/// Bytes that programs can still have.
pub fn free_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib: u64 = line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    kib << 10
}

/// Waits until something is so; an error after `limit`, a safety net and no measure.
pub fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> Result<(), String> {
    wait_until_ok(limit, || Ok(done()))
}

/// As [`wait_until`], where a look may fail, which ends it.
pub fn wait_until_ok(limit: Duration, mut done: impl FnMut() -> Result<bool, String>) -> Result<(), String> {
    let end = Instant::now() + limit;
    while !done()? {
        if Instant::now() > end {
            return Err(format!("not within {limit:?}"));
        }
        thread::sleep(Duration::from_millis(20)); // Clock: between two looks.
    }
    Ok(())
}

/// The root of the repository, or what stands for it where the tests were carried elsewhere.
pub fn workspace() -> PathBuf {
    let built_at = Path::new(env!("CARGO_MANIFEST_DIR"));
    env::var_os("HEIRLOOM_ROOT").map_or_else(|| built_at.parent().unwrap_or(built_at).to_owned(), PathBuf::from)
}

/// The bare-metal guest, built now unless `HEIRLOOM_SMALL_GUEST` names one.
pub fn small_guest() -> Result<PathBuf, String> {
    if let Some(path) = env::var_os("HEIRLOOM_SMALL_GUEST") {
        return Ok(path.into());
    }
    let output = succeeded(&mut Command::new(workspace().join("scripts/lib/small-guest.sh")), "the small guest")?;
    Ok(String::from_utf8_lossy(&output).trim_end().into())
}

/// `heirloom`, built now.
pub(crate) fn debug_binary() -> Result<PathBuf, String> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build
        .args(["build", "-p", "heirloom", "--target-dir"])
        .arg(&target)
        .current_dir(workspace())
        .env_remove("RUSTFLAGS");
    succeeded(&mut build, "heirloom")?;
    Ok(target.join("debug/heirloom"))
}

/// Runs a build and returns its standard output.
pub(crate) fn succeeded(build: &mut Command, what: &str) -> Result<Vec<u8>, String> {
    let output = build.output().map_err(|e| format!("cannot run {}: {e}", build.get_program().display()))?;
    if !output.status.success() {
        return Err(format!("{what} does not build:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(output.stdout)
}
