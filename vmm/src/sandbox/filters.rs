// SPDX-License-Identifier: Apache-2.0
//! The tables as filters of the kernel (seccomp), and their installation on threads.

use std::collections::BTreeMap;
use std::io;
use std::sync::OnceLock;

use api::types::SandboxMode;
use devices::contract::threads::ThreadKind;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

use super::{SandboxError, arguments, calls};

/// All kinds.
pub(super) const KINDS: [ThreadKind; 8] = [
    ThreadKind::Vcpu,
    ThreadKind::Function,
    ThreadKind::Storage,
    ThreadKind::PfWatch,
    ThreadKind::VfioUser,
    ThreadKind::Writer,
    ThreadKind::Api,
    ThreadKind::Helper,
];

/// Filters of threads to come, made before anything untrusted is read.
static OF_KINDS: OnceLock<BTreeMap<ThreadKind, BpfProgram>> = OnceLock::new();

/// Puts the process's filter in force on this thread, and so on all that it starts, and makes the others ready.
///
/// # Errors
/// When the kernel has no such filters.
pub(super) fn start(mode: SandboxMode) -> Result<(), SandboxError> {
    let mut programs = BTreeMap::new();
    for kind in KINDS {
        programs.insert(kind, compile(calls::of(kind), &arguments::of(kind), mode)?);
    }
    let _ = OF_KINDS.set(programs);
    let install = |program: &BpfProgram| apply_filter(program).map_err(SandboxError::filter);
    install(&no_clone3()?)?;
    install(&compile(calls::PROCESS, &arguments::of_process(), mode)?)
}

/// Puts the filter of `kind` in force on this thread, for good.
///
/// # Errors
/// When there is no memory for it.
pub(super) fn enter(kind: ThreadKind) -> io::Result<()> {
    match OF_KINDS.get().and_then(|programs| programs.get(&kind)) {
        Some(program) => apply_filter(program).map_err(io::Error::other),
        None => Ok(()),
    }
}

/// The flags of clone3 are in memory, where no filter can look. Without it the C library uses clone.
fn no_clone3() -> Result<BpfProgram, SandboxError> {
    let refused = SeccompAction::Errno(libc::ENOSYS as u32);
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    program(rules, SeccompAction::Allow, refused)
}

fn compile(
    free: &[&[libc::c_long]],
    bound: &[arguments::Bound],
    mode: SandboxMode,
) -> Result<BpfProgram, SandboxError> {
    let free = free.iter().flat_map(|group| group.iter()).map(|call| (*call, Vec::new()));
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = free.collect();
    for (call, allowed) in bound {
        let allowed =
            allowed.iter().flat_map(|group| group.iter()).map(|rule| one(*rule)).collect::<Result<Vec<_>, _>>()?;
        rules.insert(*call, allowed);
    }
    let otherwise = match mode {
        SandboxMode::Log => SeccompAction::Log,
        SandboxMode::On | SandboxMode::Off => SeccompAction::KillProcess,
    };
    program(rules, otherwise, SeccompAction::Allow)
}

fn one((argument, mask, value): arguments::Rule) -> Result<SeccompRule, SandboxError> {
    let op = if mask == u32::MAX { SeccompCmpOp::Eq } else { SeccompCmpOp::MaskedEq(mask.into()) };
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value.into());
    SeccompRule::new(vec![condition.map_err(SandboxError::filter)?]).map_err(SandboxError::filter)
}

fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, SandboxError> {
    let filter = SeccompFilter::new(rules, otherwise, matched, TargetArch::x86_64).map_err(SandboxError::filter)?;
    filter.try_into().map_err(SandboxError::filter)
}
