//! Sums of waits by verb, cause and target.
//!
//! Invariant: bounded; what comes too late to have its own sum is summed up under its verb and cause alone.

use crate::report::{Cause, CauseSum, Verb};

/// Adds so many waits of this sum to theirs; at most `limit` targets are told apart.
pub fn add(sums: &mut Vec<CauseSum>, limit: usize, (verb, cause, target): (Option<Verb>, Cause, Option<&str>), elapsed_s: f64, waits: u64) {
    let is_full = sums.len() >= limit;
    let known = |sums: &[CauseSum], target: Option<&str>| {
        sums.iter().position(|sum| sum.verb == verb && sum.cause == cause && sum.target.as_deref() == target)
    };
    let target = target.filter(|target| !is_full || known(sums, Some(target)).is_some());
    let at = known(sums, target).unwrap_or_else(|| {
        sums.push(CauseSum { cause, target: target.map(str::to_owned), verb, elapsed_s: 0.0, waits: 0 });
        sums.len() - 1
    });
    if let Some(sum) = sums.get_mut(at) {
        sum.elapsed_s += elapsed_s;
        sum.waits += waits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_bounded() {
        const LIMIT: usize = 100;
        let mut sums = Vec::new();
        let mut one = |target: &str| add(&mut sums, LIMIT, (None, Cause::Ident, Some(target)), 1.0, 1);
        for n in 0..3 * LIMIT {
            one(&format!("10.0.0.1:{n}"));
        }
        one("10.0.0.1:0");
        assert_eq!(sums.len(), LIMIT + 1);
        assert_eq!((sums[0].waits, sums[LIMIT].target.as_deref(), sums[LIMIT].waits), (2, None, 2 * LIMIT as u64));
    }
}
