// SPDX-License-Identifier: Apache-2.0
use super::*;

#[test]
fn a_cell_gives_back_what_was_put_in() {
    let cell = StateCell::default();
    assert_eq!(cell.get(), VmState::NotCreated);
    for state in VmState::ALL {
        cell.set(state);
        assert_eq!(cell.get(), state);
    }
}
