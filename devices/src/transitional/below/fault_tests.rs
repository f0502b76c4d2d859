// SPDX-License-Identifier: Apache-2.0
use std::sync::mpsc;
use std::time::Duration;

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
        faults.recover(faults.mark());
        assert!(!faults.is_faulted() && faults.reason().is_none());
    }
}

/// The PF may be lost while a reset brings the function back, and was well when that looked.
#[test]
fn b8_a_fault_during_a_reset_is_not_made_good_by_it() {
    let faults = Faults::new("t");
    faults.fault("one".into());
    let begun = faults.mark();
    faults.fault("two".into());
    faults.recover(begun);
    assert!(faults.is_faulted());
    assert_eq!(faults.reason().as_deref(), Some("one"));
    faults.recover(faults.mark());
    assert!(!faults.is_faulted());
}

/// Whoever sees the function out of service finds the reason, and events come in turns, however both cross.
#[test]
fn b8_faults_and_recoveries_cross_in_whole_steps() {
    let faults = Arc::new(Faults::new("t"));
    let told = Arc::new(Mutex::new(Vec::new()));
    let tells = Arc::clone(&told);
    faults.observe(Box::new(move |change| {
        // Others have their chance to come in between.
        std::thread::yield_now();
        tells.lock().unwrap().push(matches!(change, FaultChange::Faulted(_)));
    }));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..20_000).for_each(|_| faults.fault("one".into())));
            scope.spawn(|| (0..20_000).for_each(|_| faults.recover(faults.mark())));
        }
    });
    assert_eq!(faults.is_faulted(), faults.reason().is_some());
    let told = told.lock().unwrap();
    assert!((0..).zip(told.iter()).all(|(n, faulted)| *faulted == (n % 2 == 0)), "one after the other");
    assert_eq!(told.last().is_some_and(|faulted| *faulted), faults.is_faulted());
    assert_eq!(faults.history().0, told.iter().filter(|faulted| **faulted).count() as u64);
}

/// While a fault is told, nobody ends it: a recovery is told after the fault that it ends.
#[test]
fn b8_no_recovery_is_told_before_its_fault() {
    let faults = Faults::new("t");
    let told = Arc::new(Mutex::new(Vec::new()));
    let tells = Arc::clone(&told);
    let (fault_begins, begun) = mpsc::channel();
    let (recovered, other) = mpsc::channel();
    let other = Mutex::new(other);
    faults.observe(Box::new(move |change| {
        let faulted = matches!(change, FaultChange::Faulted(_));
        if faulted {
            fault_begins.send(()).unwrap();
            // Clock: a recovery that does not wait for this comes within that time.
            let _ = other.lock().unwrap().recv_timeout(Duration::from_millis(200));
        } else {
            let _ = recovered.send(());
        }
        tells.lock().unwrap().push(faulted);
    }));
    std::thread::scope(|scope| {
        let faults = &faults;
        scope.spawn(move || {
            begun.recv().unwrap();
            faults.recover(faults.mark());
        });
        faults.fault("one".into());
    });
    assert_eq!(*told.lock().unwrap(), [true, false]);
}

#[test]
fn a_stopping_vm_is_no_fault() {
    let faults = Faults::new("t");
    faults.register(&RegisterError::Cancelled);
    assert!(!faults.is_faulted());
    assert_eq!(faults.counts().get(crate::contract::FailureKind::Cancelled), 1);
}
