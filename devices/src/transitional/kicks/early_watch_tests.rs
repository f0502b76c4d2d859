// SPDX-License-Identifier: Apache-2.0
use super::*;

const NOTHING: Seen = Seen { early_kicks: 0, interrupts: 0, resets: 1, is_ready: false };
const KICKED: Seen = Seen { early_kicks: 1, ..NOTHING };

/// Looks once a second; at which of them something was told.
fn told(looks: &[Seen]) -> Vec<u64> {
    let mut watch = EarlyWatch::default();
    let at = |(second, seen): (u64, &Seen)| watch.look(Duration::from_secs(second), *seen).then_some(second);
    (0..).zip(looks).filter_map(at).collect()
}

#[test]
fn h12_a_driver_that_waits_in_vain_is_told_of_once() {
    let mut looks = vec![NOTHING, KICKED];
    looks.extend([KICKED; 20]);
    // Another driver that waits changes nothing.
    looks.extend([Seen { early_kicks: 2, resets: 2, ..NOTHING }; 20]);
    assert_eq!(told(&looks), [1 + LIMIT.as_secs()]);
}

#[test]
fn the_reset_before_the_kick_ends_nothing() {
    assert_eq!(told(&[Seen { early_kicks: 1, resets: 2, ..NOTHING }; 7]), [LIMIT.as_secs()]);
}

#[test]
fn what_shows_that_it_goes_on_ends_the_wait() {
    let ends = [
        Seen { interrupts: 1, ..KICKED },
        Seen { resets: 2, ..KICKED },
        Seen { is_ready: true, ..KICKED },
        Seen { is_ready: true, early_kicks: 2, ..KICKED },
    ];
    for end in ends {
        let mut looks = vec![NOTHING, KICKED, KICKED, KICKED];
        looks.extend([end; 20]);
        assert_eq!(told(&looks), [0; 0], "{end:?}");
    }
}

#[test]
fn each_further_kick_begins_a_wait() {
    let looks: Vec<_> = (0..20).map(|n| Seen { early_kicks: n / 3, ..NOTHING }).collect();
    assert_eq!(told(&looks), [0; 0]);
}
