// SPDX-License-Identifier: Apache-2.0
//! The picture's time axis. A probe takes microseconds and a run seconds, so it is not to scale: each event gets
//! room, and a pause between two events gets room by the logarithm of its length. Pure.

/// From times to places.
pub(super) struct Axis {
    /// Times, ascending, with their places: 0.0..=1.0.
    points: Vec<(u64, f64)>,
}

/// What two happenings at nearly the same time are apart, in the units of [`gap`].
const LEAST: f64 = 0.6;

/// Room for a pause.
fn gap(ns: u64) -> f64 {
    LEAST + (1.0 + ns as f64 / 2_000.0).ln()
}

impl Axis {
    /// An axis on which `times` have room.
    pub(super) fn new(mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        times.dedup();
        let mut points = Vec::with_capacity(times.len());
        let (mut at, mut before) = (0.0, None);
        for time in times {
            at += before.map_or(0.0, |before| gap(time - before));
            points.push((time, at));
            before = Some(time);
        }
        if at > 0.0 {
            points.iter_mut().for_each(|(_, place)| *place /= at);
        }
        Self { points }
    }

    /// How many happenings there are.
    pub(super) fn len(&self) -> usize {
        self.points.len()
    }

    /// The place of a time, 0.0 to 1.0.
    pub(super) fn place(&self, time: u64) -> f64 {
        let next = self.points.partition_point(|(at, _)| *at < time);
        let after = self.points.get(next);
        let before = next.checked_sub(1).and_then(|before| self.points.get(before));
        match (before, after) {
            (_, Some((at, place))) if *at == time => *place,
            (Some((t0, p0)), Some((t1, p1))) => p0 + (p1 - p0) * (time - t0) as f64 / (t1 - t0) as f64,
            (Some((_, place)), None) | (None, Some((_, place))) => *place,
            (None, None) => 0.0,
        }
    }

    /// Times to write under the axis, no two nearer than `apart` (0.0 to 1.0).
    pub(super) fn labels(&self, apart: f64) -> Vec<(u64, f64)> {
        let mut labels: Vec<(u64, f64)> = Vec::new();
        for (time, place) in &self.points {
            if labels.last().is_none_or(|(_, last)| place - last >= apart) {
                labels.push((*time, *place));
            }
        }
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_and_long_pauses_do_not_take_all_the_room() {
        let axis = Axis::new(vec![3_000_000_000, 1_000, 2_000, 1_000, 5_000]);
        let places: Vec<f64> = [1_000, 2_000, 5_000, 3_000_000_000].map(|t| axis.place(t)).to_vec();
        assert!(places.is_sorted());
        assert_eq!((places[0], places[3], axis.len()), (0.0, 1.0, 4));
        assert!(places[1] > 0.03, "{places:?}");
        assert!(axis.place(1_500_000_000) > places[2] && axis.place(u64::MAX) == 1.0 && axis.place(0) == 0.0);
        let labels = axis.labels(0.2);
        assert!(labels.windows(2).all(|pair| pair[1].1 - pair[0].1 >= 0.2), "{labels:?}");
        assert_eq!(Axis::new(Vec::new()).place(7), 0.0);
        assert_eq!(Axis::new(vec![7]).place(7), 0.0);
    }
}
