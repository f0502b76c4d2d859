// SPDX-License-Identifier: Apache-2.0
//! Every cell of the table, written out a second time in another form.
use super::*;
use Operation::*;
use VmState::{Created, NotCreated, Paused, Running};

/// One line for each operation: the state after it in each of `VmState::ALL`; '-' not possible, '!' no VM
/// there, '2' there is one already.
const TABLE: [(Operation, &str); 13] = [
    // N C R P S
    (Create, "C2222"),
    (Boot, "!R--R"),
    (Operation::Shutdown, "!-SS-"),
    (Reboot, "!-R--"),
    (PowerButton, "!-R--"),
    (Pause, "!-P--"),
    (Resume, "!--R-"),
    (Delete, "NNNNN"),
    (Info, "!CRPS"),
    (Counters, "!-RP-"),
    (Legacy, "!-RP-"),
    (AddDevice, "!C--S"),
    (RemoveDevice, "!C--S"),
];

#[test]
fn every_cell() {
    let covered: Vec<_> = TABLE.iter().map(|(operation, _)| *operation).collect();
    assert_eq!(covered, Operation::ALL);
    for (operation, line) in TABLE {
        assert_eq!(line.len(), VmState::ALL.len());
        for (state, cell) in VmState::ALL.into_iter().zip(line.chars()) {
            let expected = match cell {
                'N' => Ok(NotCreated),
                'C' => Ok(Created),
                'R' => Ok(Running),
                'P' => Ok(Paused),
                'S' => Ok(VmState::Shutdown),
                '!' => Err(Refusal::NotCreated),
                '2' => Err(Refusal::AlreadyCreated),
                _ => Err(Refusal::WrongState(state)),
            };
            assert_eq!(operation.after(state), expected, "{operation} in state {state}");
            assert_eq!(operation.states().any(|s| s == state), expected.is_ok());
        }
    }
}

#[test]
fn every_state_but_the_first_is_left_and_reached() {
    for state in VmState::ALL {
        let reached = VmState::ALL
            .iter()
            .any(|from| *from != state && Operation::ALL.iter().any(|operation| operation.after(*from) == Ok(state)));
        assert!(reached, "nothing leads to {state}");
    }
}

#[test]
fn a_cell_gives_back_what_was_put_in() {
    let cell = StateCell::default();
    assert_eq!(cell.get(), NotCreated);
    for state in VmState::ALL {
        cell.set(state);
        assert_eq!(cell.get(), state);
    }
}
