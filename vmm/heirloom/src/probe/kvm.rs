// SPDX-License-Identifier: Apache-2.0
//! KVM: is it there, may it be used, how fast is it.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::checks::{Checks, chain};
use vmm::kvm::{KvmError, Speed, Vm};

/// A KVM that has not answered by then hangs.
const LIMIT: Duration = Duration::from_secs(4);

/// What a small machine says; `None` if it says nothing.
type Answer = Option<Result<Speed, KvmError>>;

pub(super) fn check(checks: &mut Checks) {
    judge(checks, &measure());
}

/// On a thread of its own: nothing gets a thread out of a KVM call that hangs.
fn measure() -> Answer {
    let (answer, answers) = mpsc::channel();
    let work = move || {
        // Whoever asked may be gone by then.
        let _ = answer.send(Vm::new().and_then(|vm| Speed::measure(&vm)));
    };
    thread::Builder::new().name("kvm-speed".to_owned()).spawn(work).ok()?;
    answers.recv_timeout(LIMIT).ok()
}

pub(super) fn judge(checks: &mut Checks, answer: &Answer) {
    let speed = match answer {
        None => {
            let detail = format!("KVM did not answer within {} s", LIMIT.as_secs());
            return checks.fail("kvm", detail, "look at 'dmesg | tail'; unload and load kvm_intel or kvm_amd");
        }
        Some(Err(error)) => return checks.fail("kvm", chain(error), fix(error)),
        Some(Ok(speed)) => speed,
    };
    checks.pass("kvm", "/dev/kvm can be used: API version 12, with all that is needed");
    let detail = format!(
        "{:.1} M instructions/s, {:.1} us for an exit",
        speed.instructions / 1e6,
        speed.exit.as_secs_f64() * 1e6
    );
    if speed.is_fast() {
        checks.pass("kvm_speed", detail);
    } else {
        let fix = "run on a machine with VMX or SVM; in a virtual machine, have nested virtualisation switched on";
        checks.warn("kvm_speed", format!("{detail}: something interprets guests, operating systems will crawl"), fix);
    }
}

fn fix(error: &KvmError) -> &'static str {
    match error {
        KvmError::Missing | KvmError::Open(_) => {
            "modprobe kvm_intel or kvm_amd; switch VT-x or SVM on in the firmware, nested virtualisation in a virtual machine"
        }
        KvmError::Permission => "usermod -aG kvm USER (the group that owns /dev/kvm), and log in again",
        KvmError::ApiVersion(_) | KvmError::MissingCapability(_) => "use a newer kernel",
        _ => "look at 'dmesg | tail'; end other hypervisors on this host",
    }
}
