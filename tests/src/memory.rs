//! Whether a tracer's memory grows while sessions come and go.
//!
//! In comes a running tracer and how to ask for the number of sessions so far, out come two figures, early and late.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::stop::Stop;
use crate::tracer::Tracer;

/// The tracer keeps up to a thousand sessions for its report: before that its memory grows.
const WARM_UP: usize = 1_500;
/// Sessions that must come behind that.
const AFTER: usize = 1_500;
/// Longest time for these.
const LIMIT: Duration = Duration::from_mins(30);
/// What memory may grow by: freed pieces lie where they lie.
const GROWTH: f64 = 1.10;
const GROWTH_MIB: f64 = 1.0;

/// Memory of the tracer, MiB: when it had seen the first sessions, and at the end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// Early.
    pub first_mib: f64,
    /// Late.
    pub last_mib: f64,
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RSS {:.1} MiB first, {:.1} MiB last", self.first_mib, self.last_mib)
    }
}

impl Memory {
    /// Watches for so long, and until there were enough sessions to judge by.
    pub fn watch(tracer: &Tracer, time: Duration, sessions: &dyn Fn() -> usize) -> Result<Self> {
        let (began, pause, mut samples) = (Instant::now(), Stop::new()?, Vec::new());
        let mut before = 0;
        loop {
            pause.pass(Duration::from_secs(1));
            let so_far = sessions();
            samples.push(Sample { sessions: so_far, rss_mib: rss_mib(tracer.id())? });
            if began.elapsed() >= time && so_far >= WARM_UP + AFTER {
                return Self::of(&samples);
            }
            ensure!(so_far > before || samples.len() % 30 != 0, "no session in 30 s");
            if samples.len() % 30 == 0 {
                before = so_far;
            }
            ensure!(began.elapsed() <= time + LIMIT, "only {so_far} sessions in {:?}", began.elapsed());
        }
    }

    /// The medians of the first and the last third of what was seen behind the warm-up.
    fn of(samples: &[Sample]) -> Result<Self> {
        let warm: Vec<f64> = samples.iter().filter(|sample| sample.sessions >= WARM_UP).map(|sample| sample.rss_mib).collect();
        let third = warm.len() / 3;
        ensure!(third > 0, "too few samples of the tracer's memory");
        let [first, last] = [warm.get(..third), warm.get(warm.len() - third..)].map(|part| median(part.unwrap_or_default()));
        Ok(Self { first_mib: first, last_mib: last })
    }

    /// What is wrong with it.
    pub fn problem(self) -> Option<String> {
        let Self { first_mib, last_mib } = self;
        (last_mib > first_mib * GROWTH + GROWTH_MIB).then(|| format!("the tracer's memory grew from {first_mib:.1} to {last_mib:.1} MiB"))
    }
}

/// Memory of the tracer when there had been so many sessions.
struct Sample {
    sessions: usize,
    rss_mib: f64,
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn rss_mib(pid: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).context("the tracer is gone")?;
    let kib: f64 = text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok()).context("VmRSS")?;
    Ok(kib / 1024.0)
}
