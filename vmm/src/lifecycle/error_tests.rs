// SPDX-License-Identifier: Apache-2.0
//! Categories, causes and fields.
use std::io;
use std::path::PathBuf;

use super::*;
use crate::lifecycle::VmState;

#[test]
fn a_refusal_says_what_is_and_what_would_have_to_be() {
    let error = LifecycleError::refused(Operation::Boot, Refusal::WrongState(VmState::Running));
    assert_eq!(error.category, Category::WrongState);
    assert_eq!(
        error.to_string(),
        "cannot boot the virtual machine: it is running, and would have to be created or shut down"
    );
    let error = LifecycleError::refused(Operation::Pause, Refusal::NotCreated);
    assert_eq!(error.category, Category::NotCreated);
}

#[test]
fn causes_are_a_chain_and_the_field_is_named() {
    let source = io::Error::other("a deep cause");
    let error = ConfigError::Open { what: "the kernel", path: PathBuf::from("/x"), source };
    let error = LifecycleError::from(&error);
    assert_eq!(error.category, Category::FileUnusable);
    assert_eq!(error.message, "cannot open the kernel /x");
    assert_eq!(error.causes, ["a deep cause"]);
    assert_eq!(error.field.as_deref(), Some("payload.kernel"));
}

#[test]
fn set_up_errors_have_categories() {
    let category = |error: &SetupError| LifecycleError::from(error).category;
    assert_eq!(category(&SetupError::Internal("x")), Category::Internal);
    let wide = SetupError::AddressWidth { memory: "64T".into(), bits: 40 };
    assert_eq!(category(&wide), Category::InvalidConfig);
    assert_eq!(LifecycleError::from(&wide).field.as_deref(), Some("memory.size"));
    let timeout = VcpuError::Timeout { what: "stop", after: Duration::ZERO, vcpus: vec![0] };
    assert_eq!(category(&SetupError::Vcpu(timeout)), Category::Deadline);
}

/// A PF that is not there is the configuration's fault; one that is down is not.
#[test]
fn faults_of_a_pf_have_categories() {
    use devices::function::FunctionError;
    let category = |error: &SetupError| LifecycleError::from(error).category;
    let of = |kind: io::ErrorKind| SetupError::HostPf {
        pf: "pf".into(),
        source: FunctionError::Io { name: "pf".into(), what: "connect", source: kind.into() }.into(),
    };
    assert_eq!(category(&of(io::ErrorKind::NotFound)), Category::FileUnusable);
    assert_eq!(category(&of(io::ErrorKind::ConnectionRefused)), Category::PfUnavailable);
    assert_eq!(category(&of(io::ErrorKind::TimedOut)), Category::Deadline);
    let gone = FunctionError::Gone { name: "pf".into() };
    assert_eq!(category(&SetupError::HostPf { pf: "pf".into(), source: gone.into() }), Category::PfUnavailable);
    let few = HardwareError::VfDisabled { pf: "pf".into(), active: 1, member: 2 };
    assert_eq!(category(&SetupError::HostPf { pf: "pf".into(), source: few.into() }), Category::InvalidConfig);
    let pf = |cause| SetupError::Pf(PfError { function: "pf".into(), step: "choosing commands", cause });
    assert_eq!(category(&pf(PfCause::Admin(AdminError::Timeout))), Category::Deadline);
    assert_eq!(category(&pf(PfCause::Admin(AdminError::Dead("it was reset")))), Category::PfUnavailable);
    assert_eq!(category(&pf(PfCause::VfCount { asked: 3, total: 2, active: 0 })), Category::InvalidConfig);
    let source = || FunctionError::Io { name: "f".into(), what: "use", source: io::ErrorKind::NotFound.into() }.into();
    let device = SetupError::Passthrough { id: "gpu".into(), source: source() };
    assert_eq!(
        (category(&device), LifecycleError::from(&device).field.as_deref()),
        (Category::FileUnusable, Some("devices[gpu]"))
    );
    let device = SetupError::Device { id: "lan".into(), source: source() };
    assert_eq!(LifecycleError::from(&device).field.as_deref(), Some("legacy_virtio[lan]"));
}

#[test]
fn every_category_has_its_status() {
    for (category, status) in [
        (Category::InvalidConfig, 400),
        (Category::FileUnusable, 400),
        (Category::NotCreated, 404),
        (Category::DeviceNotFound, 404),
        (Category::WrongState, 409),
        (Category::AlreadyCreated, 409),
        (Category::DuplicateId, 409),
        (Category::Busy, 429),
        (Category::SetupFailed, 500),
        (Category::Internal, 500),
        (Category::PfUnavailable, 503),
        (Category::ShuttingDown, 503),
        (Category::Deadline, 504),
    ] {
        let error = LifecycleError { causes: vec!["c".to_owned()], ..LifecycleError::new(category, "m").at("f") };
        let fault = Fault::from(error);
        assert_eq!((fault.status(), fault.field.as_deref()), (status, Some("f")), "{category:?}");
        assert_eq!((fault.message.as_str(), fault.causes), ("m", vec!["c".to_owned()]));
    }
}
