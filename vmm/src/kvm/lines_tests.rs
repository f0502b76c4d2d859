// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::kvm::test_guest::vm;
use crate::kvm::test_irqchip::raised;
use devices::contract::mock::wait_until;

#[test]
fn line_is_high_while_any_share_is() {
    let Some(vm) = vm() else { return };
    let lines = IrqLines::new(&vm);
    let (a, b) = (lines.share(11).unwrap(), lines.share(11).unwrap());
    let both = (1 << 11, 1 << 11);
    assert_eq!(raised(&vm), (0, 0));
    a.set(true);
    a.set(true);
    assert_eq!(raised(&vm), both);
    b.set(true);
    a.set(false);
    a.set(false);
    assert_eq!(raised(&vm), both, "b still asserts");
    b.set(false);
    assert_eq!(raised(&vm), (0, 0));
}

#[test]
fn dropped_share_is_released() {
    let Some(vm) = vm() else { return };
    let lines = IrqLines::new(&vm);
    let share = lines.share(10).unwrap();
    share.set(true);
    assert_ne!(raised(&vm), (0, 0));
    drop(share);
    assert_eq!(raised(&vm), (0, 0));
}

#[test]
fn lines_are_independent() {
    let Some(vm) = vm() else { return };
    let lines = IrqLines::new(&vm);
    let (a, b) = (lines.share(9).unwrap(), lines.share(20).unwrap());
    a.set(true);
    b.set(true);
    assert_eq!(raised(&vm), (1 << 9, 1 << 9 | 1 << 20));
    a.set(false);
    assert_eq!(raised(&vm), (0, 1 << 20));
}

#[test]
fn shares_set_from_many_threads_end_low() {
    let Some(vm) = vm() else { return };
    let lines = IrqLines::new(&vm);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let share = lines.share(10).unwrap();
            scope.spawn(move || (0..500).for_each(|turn| share.set(turn % 2 == 0)));
        }
    });
    assert_eq!(raised(&vm), (0, 0));
}

#[test]
fn there_are_24_lines() {
    let Some(vm) = vm() else { return };
    let lines = IrqLines::new(&vm);
    assert!(lines.share(23).is_ok());
    assert!(matches!(lines.share(24), Err(KvmError::NoLine(24))));
    assert!(matches!(lines.edge_irq(24), Err(KvmError::NoLine(24))));
}

#[test]
fn only_changes_of_the_level_reach_the_chips() {
    assert_eq!(count_change(0, true), (1, Some(true)));
    assert_eq!(count_change(1, true), (2, None));
    assert_eq!(count_change(2, false), (1, None));
    assert_eq!(count_change(1, false), (0, Some(false)));
}

#[test]
fn a_level_triggered_eventfd_raises_the_line_beside_its_shares_and_lets_go() {
    let Some(vm) = vm() else { return };
    let lines = IrqLines::new(&vm);
    let (share, other) = (lines.share(11).unwrap(), lines.share(11).unwrap());
    let (trigger, resample) = (EventFd::new(EFD_NONBLOCK).unwrap(), EventFd::new(EFD_NONBLOCK).unwrap());
    let wired = match share.resample(&trigger, &resample) {
        Ok(wired) => wired,
        Err(error) => return println!("SKIPPED: a_level_triggered_eventfd_raises_the_line: {error}"),
    };
    let high = |expected: bool| {
        wait_until("the line is so", || (raised(&vm) != (0, 0)) == expected);
    };
    high(false);
    trigger.write(1).unwrap();
    high(true);
    other.set(true);
    drop(wired);
    high(true);
    other.set(false);
    high(false);
    assert!(resample.read().is_err(), "no guest has ended an interrupt");
}
