// SPDX-License-Identifier: Apache-2.0
//! The README's words about the API, run by a shell as they are written.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use tempfile::TempDir;
use tests::workspace;

use super::{GUEST, expect, wait_until};

/// The blocks of code in a section of the README.
fn blocks(section: &str) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(workspace().join("README.md")).map_err(|e| e.to_string())?;
    let (_, rest) = text.split_once(&format!("\n## {section}\n")).ok_or_else(|| format!("no section '{section}'"))?;
    let section = rest.split("\n## ").next().unwrap_or(rest);
    let fenced = section.split("```").skip(1).step_by(2);
    Ok(fenced.map(|block| block.trim_start_matches('\n').to_owned()).collect())
}

/// A shell that will run `text` in `folder`.
fn shell(folder: &TempDir, text: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-O", "expand_aliases", "-c", text]).current_dir(folder.path());
    command
}

/// What its two lists of commands say, by hand or by `ctl`, is what happens.
pub fn is_true() -> Result<(), String> {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("SKIPPED: the_readme_is_true: there is no curl");
        return Ok(());
    }
    let blocks = blocks("Driving it over HTTP")?;
    let [serve, curl, ctl] = blocks.as_slice() else { return Err(format!("{} blocks, not 3", blocks.len())) };
    // The small guest stands for a kernel, and is to run until it is ended.
    expect("the README's command line", curl.matches("console=ttyS0").count(), 1)?;
    let curl = &curl.replace("console=ttyS0", "test=spin");
    let folder = TempDir::new().map_err(|e| e.to_string())?;
    let io = |e: std::io::Error| e.to_string();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("target/release")).map_err(io)?;
    symlink(tests::binary()?, path("target/release/heirloom")).map_err(io)?;
    symlink(GUEST.as_ref().map_err(Clone::clone)?, path("vmlinuz")).map_err(io)?;
    fs::write(path("disk.img"), vec![0; 1 << 20]).map_err(io)?;
    let mut server = shell(&folder, &format!("exec {serve}")).spawn().map_err(io)?;
    let outcome = wait_until("the socket", || Ok(path("vm.sock").exists())).and_then(|()| by_hand(&folder, curl, ctl));
    if outcome.is_err() {
        let _ = server.kill();
    }
    let status = server.wait().map_err(io)?;
    outcome.and_then(|()| expect("the server's end", status.code(), Some(0)))
}

fn by_hand(folder: &TempDir, curl: &str, ctl: &str) -> Result<(), String> {
    let said = |text: &str| {
        let output = shell(folder, text).output().map_err(|e| e.to_string())?;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        expect("the shell's end", output.status.code(), Some(0)).map_err(|e| format!("{e}: {errors}"))?;
        Ok::<_, String>((String::from_utf8_lossy(&output.stdout).into_owned(), errors))
    };
    let (out, _) = said(curl)?;
    // vm.info and vm.legacy, and nothing from the others: each has succeeded.
    let mut values = serde_json::Deserializer::from_str(&out).into_iter::<serde_json::Value>();
    let mut next = || values.next().and_then(Result::ok).ok_or_else(|| format!("too few replies: {out}"));
    let (info, legacy) = (next()?, next()?);
    expect("state", info["state"].as_str(), Some("Running"))?;
    expect("device", legacy[0]["id"].as_str(), Some("disk"))?;
    expect("what else was said", values.next().is_none(), true)?;
    let (out, errors) = said(&format!("set -e\n{ctl}"))?;
    expect("messages", errors.as_str(), "")?;
    for text in ["state", "Running", "disk    0000:00:01.0  blk   disk.img", "registers by", "admin_commands"] {
        if !out.contains(text) {
            return Err(format!("'{text}' is not in\n{out}"));
        }
    }
    Ok(())
}
