// SPDX-License-Identifier: Apache-2.0
//! What this machine can do, and where the built things are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

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
    let source = workspace().join("tests/guests");
    let target = workspace().join("target/small-guest");
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--target-dir"])
        .arg(&target)
        // Its folder has a .cargo/config.toml of its own, which counts only from there.
        .current_dir(&source)
        .env_remove("RUSTFLAGS")
        .output()
        .map_err(|e| format!("cannot run cargo: {e}"))?;
    if !output.status.success() {
        return Err(format!("the small guest does not build:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(target.join("x86_64-unknown-linux-gnu/release/small-guest"))
}
