//! Percentiles of any number of durations in bounded memory.
//!
//! In: seconds. Out: the value at a rank. Buckets are 2 % wide, and each is told by the mean of what fell into it: so a value is off by 2 % at
//! most, and not at all where all of a bucket are equal, as time-outs are. Invariant: 582 buckets at most, of which only those exist that hold something.

use std::collections::BTreeMap;

/// Of one bucket to the next.
const RATIO: f64 = 1.02;
/// What is less, or more, goes into the first, or last, bucket: findings begin at 0.1 s, and no setting lasts longer than a day.
const RANGE_S: (f64, f64) = (0.1, 1e4);

/// See above.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    buckets: BTreeMap<u16, Bucket>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    count: u64,
    sum_s: f64,
}

impl Histogram {
    /// One more.
    pub fn add(&mut self, value_s: f64) {
        let bucket = self.buckets.entry(bucket_of(value_s)).or_default();
        bucket.count += 1;
        bucket.sum_s += value_s;
    }

    /// The least value that `percent` of all do not exceed (nearest rank); 0 where there is none.
    pub fn percentile_s(&self, percent: u64) -> f64 {
        let all: u64 = self.buckets.values().map(|bucket| bucket.count).sum();
        let rank = (u128::from(all) * u128::from(percent)).div_ceil(100);
        let mut below = 0;
        let at_rank = self.buckets.values().find(|bucket| {
            below += u128::from(bucket.count);
            below >= rank
        });
        at_rank.map_or(0.0, |bucket| bucket.sum_s / bucket.count as f64)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 581")]
fn bucket_of(value_s: f64) -> u16 {
    let (least, most) = RANGE_S;
    ((value_s.max(least).min(most) / least).ln() / RATIO.ln()) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[f64]) -> Histogram {
        let mut histogram = Histogram::default();
        for value in values {
            histogram.add(*value);
        }
        histogram
    }

    #[test]
    fn values_that_are_equal_are_told_exactly() {
        let histogram = of(&[[5.0; 90].as_slice(), &[20.02; 10]].concat());
        for (percent, expected) in [(50, 5.0), (90, 5.0), (91, 20.02), (95, 20.02), (100, 20.02)] {
            assert!((histogram.percentile_s(percent) - expected).abs() < 1e-9, "{percent}");
        }
        assert!(Histogram::default().percentile_s(50).abs() < f64::EPSILON);
    }

    #[test]
    fn what_is_out_of_range_has_a_place() {
        for value in [-1.0, 0.0, 0.1, 1e4, 1e9, f64::INFINITY] {
            assert!(bucket_of(value) <= 581, "{value}");
        }
        assert_eq!((bucket_of(0.0), bucket_of(f64::NAN)), (0, 0));
    }

    proptest! {
        #[test]
        fn percentiles_are_off_by_two_percent_at_most(mut values in proptest::collection::vec(0.1..1e4_f64, 1..200), percent in 1_u64..=100) {
            let told = of(&values).percentile_s(percent);
            values.sort_by(f64::total_cmp);
            let rank = (values.len() * usize::try_from(percent).unwrap()).div_ceil(100);
            let exact = values[rank - 1];
            prop_assert!((told - exact).abs() <= exact * 0.0201, "{} is not {}", told, exact);
        }
    }
}
