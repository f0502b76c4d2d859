// SPDX-License-Identifier: Apache-2.0
//! Tests as the runner has them: one that this machine cannot run is listed as ignored, with the reason.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

/// Why a test cannot run where there is no `/dev/kvm` that it could use.
pub const NO_KVM: &str = "no usable /dev/kvm";

/// One test; `lack` says why this machine cannot run it, if it cannot.
pub fn trial<R>(name: &str, test: R, lack: Option<impl std::fmt::Display>) -> Trial
where
    R: FnOnce() -> Result<(), String> + Send + 'static,
{
    let trial = Trial::test(name, || test().map_err(Failed::from));
    match lack {
        Some(lack) => trial.with_ignored_flag(true).with_kind(format!("skipped: {lack}")),
        None => trial,
    }
}

/// Runs them, as many at a time as the command line says.
pub fn run(trials: Vec<Trial>) -> ExitCode {
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Runs them one after the other: they share something.
pub fn run_one_by_one(trials: Vec<Trial>) -> ExitCode {
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, trials).exit_code()
}
