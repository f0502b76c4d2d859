// SPDX-License-Identifier: Apache-2.0
//! Codes, causes and fields.
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::*;

#[test]
fn causes_are_a_chain_and_the_field_is_named() {
    let source = io::Error::other("a deep cause");
    let error = ConfigError::Open { what: "the kernel", path: PathBuf::from("/x"), source };
    let error = Fault::from(&error);
    assert_eq!(error.code, Code::FileUnusable);
    assert_eq!(error.message, "cannot open the kernel /x");
    assert_eq!(error.causes, ["a deep cause"]);
    assert_eq!(error.field.as_deref(), Some("payload.kernel"));
}

#[test]
fn set_up_errors_have_codes() {
    let code = |error: &SetupError| Fault::from(error).code;
    assert_eq!(code(&SetupError::Internal("x")), Code::Internal);
    let wide = SetupError::AddressWidth { memory: "64T".into(), bits: 40 };
    assert_eq!(code(&wide), Code::InvalidConfig);
    assert_eq!(Fault::from(&wide).field.as_deref(), Some("memory.size"));
    let timeout = VcpuError::Timeout { what: "stop", after: Duration::ZERO, vcpus: vec![0] };
    assert_eq!(code(&SetupError::Vcpu(timeout)), Code::DeadlineExceeded);
}

/// A PF that is not there is the configuration's fault; one that is down is not.
#[test]
fn faults_of_a_pf_have_codes() {
    use devices::function::FunctionError;
    let code = |error: &SetupError| Fault::from(error).code;
    let of = |kind: io::ErrorKind| SetupError::HostPf {
        pf: "pf".into(),
        source: FunctionError::Io { name: "pf".into(), what: "connect", source: kind.into() }.into(),
    };
    assert_eq!(code(&of(io::ErrorKind::NotFound)), Code::FileUnusable);
    assert_eq!(code(&of(io::ErrorKind::ConnectionRefused)), Code::PfUnavailable);
    assert_eq!(code(&of(io::ErrorKind::TimedOut)), Code::DeadlineExceeded);
    let gone = FunctionError::Gone { name: "pf".into() };
    assert_eq!(code(&SetupError::HostPf { pf: "pf".into(), source: gone.into() }), Code::PfUnavailable);
    let few = HardwareError::VfDisabled { pf: "pf".into(), active: 1, member: 2 };
    assert_eq!(code(&SetupError::HostPf { pf: "pf".into(), source: few.into() }), Code::InvalidConfig);
    let pf = |cause| SetupError::Pf(PfError { function: "pf".into(), step: "choosing commands", cause });
    assert_eq!(code(&pf(PfCause::Admin(AdminError::Timeout))), Code::DeadlineExceeded);
    assert_eq!(code(&pf(PfCause::Admin(AdminError::Dead("it was reset")))), Code::PfUnavailable);
    assert_eq!(code(&pf(PfCause::VfCount { asked: 3, total: 2, active: 0 })), Code::InvalidConfig);
    let source = || FunctionError::Io { name: "f".into(), what: "use", source: io::ErrorKind::NotFound.into() }.into();
    let device = SetupError::Passthrough { id: "gpu".into(), source: source() };
    assert_eq!((code(&device), Fault::from(&device).field.as_deref()), (Code::FileUnusable, Some("devices[gpu]")));
    let device = SetupError::Device { id: "lan".into(), source: source() };
    assert_eq!(Fault::from(&device).field.as_deref(), Some("legacy_virtio[lan]"));
}
