// SPDX-License-Identifier: Apache-2.0
//! Every operation in every state of a real engine, against a table that is written out here a second time.

use api::operations::*;
use api::routes::Route;
use api::{Code, Fault, Operation, VmState};

use super::test_engine::*;

/// An operation, how it is asked for in words that are right wherever the state allows it, and the state after it in
/// each of `VmState::ALL`; '-' not possible, '!' no VM there, '2' there is one already.
type Row = (&'static Route, fn(&TestEngine) -> Result<(), Fault>, &'static str);

const TABLE: [Row; 14] = [
    //                                                                                       N C R P S
    (&Create::ROUTE, |engine| engine.control.ask(Create::from(engine.config(SPIN))), "C2222"),
    (&Boot::ROUTE, |engine| engine.control.ask(Boot), "!R--R"),
    (&Shutdown::ROUTE, |engine| engine.control.ask(Shutdown), "!-SS-"),
    (&Reboot::ROUTE, |engine| engine.control.ask(Reboot), "!-R--"),
    (&PowerButton::ROUTE, |engine| engine.control.ask(PowerButton), "!-R--"),
    (&Pause::ROUTE, |engine| engine.control.ask(Pause::default()), "!-P--"),
    (&Resume::ROUTE, |engine| engine.control.ask(Resume), "!--R-"),
    (&Delete::ROUTE, |engine| engine.control.ask(Delete), "NNNNN"),
    (&Info::ROUTE, |engine| engine.control.ask(Info).map(drop), "!CRPS"),
    (&Counters::ROUTE, |engine| engine.control.ask(Counters).map(drop), "!-RP-"),
    (&Legacy::ROUTE, |engine| engine.control.ask(Legacy::default()).map(drop), "!-RP-"),
    (&Screen::ROUTE, |engine| engine.control.ask(Screen::default()).map(drop), "!-RPS"),
    (&AddDevice::ROUTE, |engine| engine.control.ask(AddDevice::from(net(""))).map(drop), "!C--S"),
    (&RemoveDevice::ROUTE, |engine| engine.control.ask(RemoveDevice { id: "net0".into() }), "!C--S"),
];

/// The state after, or the code of the refusal.
fn cell(letter: char) -> Result<VmState, Code> {
    match letter {
        'N' => Ok(VmState::NotCreated),
        'C' => Ok(VmState::Created),
        'R' => Ok(VmState::Running),
        'P' => Ok(VmState::Paused),
        'S' => Ok(VmState::Shutdown),
        '!' => Err(Code::VmNotCreated),
        '2' => Err(Code::VmAlreadyCreated),
        _ => Err(Code::WrongState),
    }
}

fn bring_to(engine: &TestEngine, state: VmState) {
    let control = &engine.control;
    control.ask(Delete).unwrap();
    if state != VmState::NotCreated {
        control.ask(Create::from(engine.config(SPIN))).unwrap();
    }
    if !matches!(state, VmState::NotCreated | VmState::Created) {
        control.ask(Boot).unwrap();
    }
    match state {
        VmState::Paused => control.ask(Pause::default()).unwrap(),
        VmState::Shutdown => control.ask(Shutdown).unwrap(),
        _ => {}
    }
    assert_eq!(control.state(), state);
}

#[test]
fn every_operation_in_every_state_does_what_the_table_says() {
    let Some(engine) = TestEngine::start() else { return };
    for (column, state) in VmState::ALL.into_iter().enumerate() {
        for (route, ask, cells) in TABLE {
            assert_eq!(cells.len(), VmState::ALL.len());
            bring_to(&engine, state);
            let outcome = ask(&engine);
            match cell(cells.chars().nth(column).unwrap()) {
                Ok(after) => {
                    assert_eq!(outcome, Ok(()), "{} in {state}", route.name());
                    assert_eq!(engine.control.state(), after, "{} in {state}", route.name());
                }
                Err(code) => {
                    assert_eq!(outcome.as_ref().unwrap_err().code, code, "{} in {state}", route.name());
                    assert_eq!(outcome, route.check_state(state), "the API's own words for {}", route.name());
                    assert_eq!(engine.control.state(), state, "a refused operation changes nothing");
                }
            }
        }
    }
}

/// The table has every operation whose state counts.
#[test]
fn no_operation_is_left_out() {
    let streams = ["vm.trace"];
    for route in api::service::routes().filter(|route| !route.states().is_any()) {
        let here = TABLE.iter().any(|(other, ..)| other.path == route.path);
        assert!(here || streams.contains(&route.name()), "{}", route.path);
    }
}

#[test]
fn a_refusal_says_what_is_and_what_would_have_to_be() {
    let fault = Boot::ROUTE.check_state(VmState::Running).unwrap_err();
    assert_eq!(fault.code, Code::WrongState);
    assert_eq!(fault.message, "vm.boot: the virtual machine is Running; this works when it is Created or Shutdown");
    assert_eq!(Pause::ROUTE.check_state(VmState::NotCreated).unwrap_err().code, Code::VmNotCreated);
}

#[test]
fn every_state_but_the_first_is_left_and_reached() {
    for state in VmState::ALL {
        let reached = TABLE.iter().any(|(_, _, cells)| {
            VmState::ALL.into_iter().zip(cells.chars()).any(|(from, letter)| from != state && cell(letter) == Ok(state))
        });
        assert!(reached, "nothing leads to {state}");
    }
}
