// SPDX-License-Identifier: Apache-2.0
//! What each command keeps of its rights: from its words to the sandbox. It begins before the log does, as that has a
//! thread, and before anything is read that others made.
#![forbid(unsafe_code)]

use std::path::Path;

use api::VmConfig;
use vmm::sandbox::{self, Access, Paths, SandboxError};

use crate::cli::{ObserveArgs, RunArgs, ServeArgs, SoftPfArgs};
use crate::report::ReportTarget;

/// `heirloom run`: what the machine is made of, where its outputs go, and what `--allow` names.
///
/// # Errors
/// When the kernel cannot do it.
pub(crate) fn run(args: &RunArgs, config: &VmConfig) -> Result<(), SandboxError> {
    let mut paths = Paths::new();
    paths.add_config(config);
    add_outputs(&mut paths, &args.observe, args.api_socket());
    add_reports(&mut paths, &args.reports());
    args.allowed().iter().for_each(|allowed| paths.add(&allowed.path, allowed.access));
    sandbox::start(args.sandbox.mode(), Some(&paths)).map(drop)
}

/// `heirloom serve`: which files its machines are made of is not known, so files are bound only where `--allow` names
/// some.
///
/// # Errors
/// When the kernel cannot do it.
pub(crate) fn serve(args: &ServeArgs) -> Result<(), SandboxError> {
    let mut paths = Paths::new();
    add_outputs(&mut paths, &args.observe, Some(&args.api_socket));
    args.allow.iter().for_each(|allowed| paths.add(&allowed.path, allowed.access));
    sandbox::start(args.sandbox.mode(), (!args.allow.is_empty()).then_some(&paths)).map(drop)
}

/// `heirloom soft-pf`: its images, the folder of its sockets, and its reports.
///
/// # Errors
/// When the kernel cannot do it.
pub(crate) fn soft_pf(args: &SoftPfArgs) -> Result<(), SandboxError> {
    let mut paths = Paths::new();
    args.vfs().iter().chain(args.pf()).for_each(|device| paths.add_soft(device));
    paths.add(args.socket_dir(), Access::SocketFolder);
    add_reports(&mut paths, &args.reports());
    sandbox::start(args.sandbox.mode(), Some(&paths)).map(drop)
}

/// Says what holds.
pub(crate) fn tell() {
    tracing::info!("sandbox: {}", sandbox::summary(&sandbox::held()));
}

fn add_outputs(paths: &mut Paths, observe: &ObserveArgs, socket: Option<&Path>) {
    observe.outputs().iter().for_each(|(_, path)| paths.add(path, Access::Output));
    if let Some(socket) = socket {
        paths.add(socket, Access::Socket);
    }
}

fn add_reports(paths: &mut Paths, reports: &[ReportTarget]) {
    reports.iter().filter_map(|report| report.file.as_ref()).for_each(|path| paths.add(path, Access::Output));
}
