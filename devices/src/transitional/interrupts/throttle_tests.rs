// SPDX-License-Identifier: Apache-2.0
use super::*;

/// Signals one `gap` apart from `from` on, until the throttle says to pause; how many there were, and the pause.
fn until_paused(throttle: &mut Throttle, from: Instant, gap: Duration, useful: bool) -> Option<(u32, Duration)> {
    (0..100_000).find_map(|n| Some((n + 1, throttle.note(from + gap * n, useful)?)))
}

#[test]
fn a3_what_an_honest_device_makes_is_never_paused() {
    let now = Instant::now();
    assert_eq!(
        until_paused(&mut Throttle::default(), now, Duration::from_micros(11), true),
        None,
        "90 000 in a second"
    );
    assert_eq!(until_paused(&mut Throttle::default(), now, Duration::from_micros(200), false), None);
}

#[test]
fn a3_a_storm_is_paused_longer_each_time_and_an_hour_later_as_at_first() {
    let (mut throttle, mut now) = (Throttle::default(), Instant::now());
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let (signals, pause) = until_paused(&mut throttle, now, Duration::from_micros(1), false).unwrap();
        assert_eq!(signals, MOST / REDUNDANT + 1);
        now += Duration::from_millis(1) + pause;
        pauses.push(pause.as_millis());
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 32, 32]);
    assert_eq!(throttle.note(now, true), None);
    now += Duration::from_secs(3600);
    let (signals, pause) = until_paused(&mut throttle, now, Duration::from_micros(1), true).unwrap();
    assert_eq!((signals, pause), (MOST + 1, PAUSES.0));
}
