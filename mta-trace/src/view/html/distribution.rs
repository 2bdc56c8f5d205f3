//! How the times of commands are distributed, over all sessions that the report holds.
//!
//! In: sessions. Out: a histogram with steps of about 3, and for each verb number, median, 95th percentile and the longest, for `distribution.html`. Times
//! are those on the server's side. Quantiles are exact, by nearest rank. Not here: sums (`time.rs`).

use super::number::{length, seconds, share};
use crate::report::{Report, Verb};
use askama::Template;
use std::collections::BTreeMap;

/// Upper limits of the steps, s, and how they are called.
const STEPS: &[(f64, &str)] = &[
    (0.001, "below 1 ms"),
    (0.003, "1 to 3 ms"),
    (0.01, "3 to 10 ms"),
    (0.03, "10 to 30 ms"),
    (0.1, "30 to 100 ms"),
    (0.3, "0.1 to 0.3 s"),
    (1.0, "0.3 to 1 s"),
    (3.0, "1 to 3 s"),
    (10.0, "3 to 10 s"),
    (30.0, "10 to 30 s"),
    (f64::INFINITY, "30 s and more"),
];

/// The part of the page.
#[derive(Template)]
#[template(path = "distribution.html")]
pub struct Distribution {
    commands: usize,
    sessions: usize,
    steps: Vec<Step>,
    verbs: Vec<OfVerb>,
}

struct Step {
    name: &'static str,
    count: usize,
    width: String,
    /// From a tenth of a second on a command is slow.
    class: &'static str,
}

struct OfVerb {
    name: &'static str,
    count: usize,
    median: String,
    p95: String,
    longest: String,
    longest_s: f64,
}

impl Distribution {
    /// Of all sessions that are kept.
    pub fn new(report: &Report) -> Self {
        let mut by_verb: BTreeMap<Verb, Vec<f64>> = BTreeMap::new();
        for command in report.sessions.iter().flat_map(|session| &session.commands) {
            by_verb.entry(command.verb).or_default().push(command.server_s());
        }
        for times in by_verb.values_mut() {
            times.sort_by(f64::total_cmp);
        }
        let commands = by_verb.values().map(Vec::len).sum();
        let mut steps: Vec<Step> = steps(by_verb.values().flatten().copied());
        // Only between the first and the last that hold something.
        while steps.last().is_some_and(|step| step.count == 0) {
            steps.pop();
        }
        let first = steps.iter().position(|step| step.count > 0).unwrap_or(0);
        steps.drain(..first);
        let mut verbs: Vec<OfVerb> = by_verb.iter().map(|(verb, times)| OfVerb::new(*verb, times)).collect();
        verbs.sort_by(|a, b| b.longest_s.total_cmp(&a.longest_s));
        Self { commands, sessions: report.sessions.len(), steps, verbs }
    }
}

fn steps(times: impl Iterator<Item = f64>) -> Vec<Step> {
    let mut counts = vec![0_usize; STEPS.len()];
    for time in times {
        let at = STEPS.iter().position(|(limit, _)| time < *limit).unwrap_or(STEPS.len() - 1);
        if let Some(count) = counts.get_mut(at) {
            *count += 1;
        }
    }
    let most = counts.iter().max().copied().unwrap_or(0);
    let step = |((limit, name), count): (&(f64, &'static str), usize)| Step {
        name,
        count,
        width: length(share(count as f64, most as f64)),
        class: if *limit > 0.1 { "slow" } else { "fast" },
    };
    STEPS.iter().zip(counts).map(step).collect()
}

impl OfVerb {
    /// Of sorted times.
    fn new(verb: Verb, times: &[f64]) -> Self {
        let longest_s = times.last().copied().unwrap_or(0.0);
        Self {
            name: verb.name(),
            count: times.len(),
            median: seconds(quantile(times, 50)),
            p95: seconds(quantile(times, 95)),
            longest: seconds(longest_s),
            longest_s,
        }
    }
}

/// By nearest rank.
fn quantile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::samples;

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let times: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!([50, 95, 100].map(|percent| seconds(quantile(&times, percent))), ["10.000", "19.000", "20.000"]);
        assert!(quantile(&[], 50) < 1e-9);
    }

    #[test]
    fn every_command_is_in_one_step() {
        let distribution = Distribution::new(&samples::report(vec![samples::slow_session(), samples::slow_session()]));
        assert_eq!(distribution.commands, 8);
        assert_eq!(distribution.steps.iter().map(|step| step.count).sum::<usize>(), 8);
        assert_eq!(distribution.verbs.first().map(|verb| (verb.name, verb.count)), Some(("MAIL", 2)));
        assert_eq!(distribution.steps.last().map(|step| step.name), Some("10 to 30 s"));
    }
}
