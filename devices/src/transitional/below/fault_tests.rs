// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::contract::Answer;

fn refused(qualifier: u16) -> RegisterError {
    RegisterError::Refused(Answer { status: 22, qualifier })
}

#[test]
fn a_refused_access_is_counted_and_service_goes_on() {
    let faults = Faults::new("t");
    faults.register(&refused(3));
    faults.register(&refused(1));
    faults.register(&RegisterError::Short { got: 8, wanted: 9 });
    assert!(!faults.is_faulted());
    let counts = faults.counts();
    assert_eq!((counts.get(FailureKind::Refused), counts.get(FailureKind::Short), counts.total()), (2, 1, 3));
}

#[test]
fn timeouts_dead_queues_and_lost_members_end_service_with_the_first_reason() {
    let fatal = [
        RegisterError::Timeout,
        RegisterError::Dead("the PF was reset"),
        RegisterError::Full,
        RegisterError::Gone(Answer { status: 22, qualifier: 5 }),
    ];
    for error in fatal {
        let faults = Faults::new("t");
        faults.register(&error);
        faults.register(&RegisterError::Timeout);
        assert_eq!(faults.reason(), Some(error.to_string()));
        faults.recover();
        assert!(!faults.is_faulted() && faults.reason().is_none());
    }
}

#[test]
fn a_stopping_vm_is_no_fault() {
    let faults = Faults::new("t");
    faults.register(&RegisterError::Cancelled);
    assert!(!faults.is_faulted());
    assert_eq!(faults.counts().get(crate::contract::FailureKind::Cancelled), 1);
}
