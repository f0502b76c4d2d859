// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::transitional::tests::bench::{Bench, Setup};

/// A function whose driver kicked after status 3.
fn kicked(mut setup: Setup, early: EarlyKicks) -> Bench {
    setup.config.kicks.early = early;
    let bench = setup.build();
    bench.w8(18, 3);
    bench.set_up_queue(0, 0x100);
    bench.w16(16, 0);
    bench.log();
    bench
}

#[test]
fn what_may_help_depends_on_what_was_done() {
    for (setup, early, other) in [
        (Setup::net(), EarlyKicks::Pass, EarlyKicks::Auto),
        (Setup::net(), EarlyKicks::Auto, EarlyKicks::Start),
        (Setup::blk(), EarlyKicks::Auto, EarlyKicks::Pass),
        (Setup::net(), EarlyKicks::Start, EarlyKicks::Pass),
    ] {
        let bench = kicked(setup, early);
        assert_eq!(bench.device.other_mode(), other);
        (0..10).for_each(|second| bench.device.look_at_early_kicks(Duration::from_secs(second)));
        assert!(bench.log().is_empty(), "looks do not disturb the device");
    }
}
