//! A tracer that is killed at a random moment, again and again, while mail passes.
//!
//! In comes a lab under load, out go figures. Each time: the mail goes on, nothing of the tracer stays in the kernel, and its log can be read
//! up to its last flush, which is a second old at most.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::bpf::Objects;
use crate::journal::{now_ns, seconds};
use crate::load::{self, Sent};
use crate::run::{READY_LIMIT, tracer_path};
use crate::stop::Stop;
use crate::tracer::{READY, Tracer};
use crate::{Lab, netns};

/// Longest time after its start at which a tracer is killed: half of them are ready by then.
const LATEST: Duration = Duration::from_secs(3);
/// How often the log is flushed, and how late a tracer may come to it on a machine whose processors are all taken.
const FLUSH_S: f64 = 1.0;
const LATE_S: f64 = 0.5;
/// Longest time for what happens at once.
const LIMIT: Duration = Duration::from_mins(1);

/// What came of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Tracers that were killed.
    pub kills: usize,
    /// Of those: after they were ready.
    pub ready: usize,
    /// Oldest last record, s before the kill.
    pub oldest_s: f64,
    /// What the load did meanwhile.
    pub sent: Sent,
}

/// Kills so many tracers, the moments of which follow from the seed.
pub fn kill(lab: &Lab, kills: usize, seed: u64) -> Result<Figures> {
    let names = names(lab).context("a tracer that is not killed")?;
    let (figures, sent) = load::beside(lab, |_| {
        let (mut figures, mut random) = (Figures { kills, ..Figures::default() }, Random(seed.max(1)));
        for number in 1..=kills {
            let delay = random.below(LATEST);
            let killed = kill_one(lab, delay, &names).with_context(|| format!("seed {seed}, kill {number}, after {delay:?}"))?;
            if let Some(age_s) = killed {
                figures.ready += 1;
                figures.oldest_s = figures.oldest_s.max(age_s);
            }
        }
        Ok(figures)
    })?;
    ensure!(sent.sessions == sent.queued, "the clients had {} sessions, {} messages are in the queue", sent.sessions, sent.queued);
    Ok(Figures { sent, ..figures })
}

fn attach(lab: &Lab, log: &Path) -> Result<Tracer> {
    let mut command = Command::new(tracer_path()?);
    command.args(["attach", "-p", &lab.daemon_pid().to_string(), "--view", "none", "--force", "-o"]).arg(log);
    netns::die_with_parent(&mut command);
    Tracer::start(command.stdout(std::process::Stdio::null()), |_| {})
}

/// What a tracer's objects are called.
fn names(lab: &Lab) -> Result<std::collections::BTreeSet<String>> {
    let tracer = attach(lab, &log_path(lab))?;
    tracer.wait_for(READY, READY_LIMIT)?;
    let own = Objects::of(tracer.id())?;
    ensure!(["prog", "map", "link"].iter().all(|kind| own.count(kind) > 0), "the tracer holds programs, maps and links");
    let names = own.names()?;
    tracer.interrupt(LIMIT)?.success()?;
    Ok(names)
}

fn log_path(lab: &Lab) -> PathBuf {
    lab.dir().join("killed.jsonl")
}

/// Starts one and kills it; how old the end of its log is, s, if it had been ready.
fn kill_one(lab: &Lab, delay: Duration, names: &std::collections::BTreeSet<String>) -> Result<Option<f64>> {
    let (before, log, pause) = (Objects::all()?, log_path(lab), Stop::new()?);
    let tracer = attach(lab, &log)?;
    // No wait for anything: the moment is what is tried.
    pause.pass(delay);
    let killed_ns = now_ns();
    tracer.signal(Signal::KILL)?;
    let ended = tracer.wait(LIMIT)?;
    ensure!(ended.status.signal() == Some(9), "it ended by itself ({}): {}", ended.status, ended.stderr);
    before.wait_nothing_new(names, LIMIT)?;
    if !ended.stderr.lines().any(|line| line.contains("ready: ")) {
        return Ok(None);
    }
    let last_ns = last_ns(&log)?;
    let age_s = seconds(killed_ns.saturating_sub(last_ns));
    ensure!(age_s <= FLUSH_S + LATE_S, "the last record of the log is {age_s:.3} s older than the kill");
    let mut command = Command::new(tracer_path()?);
    let ended = crate::tracer::run(command.arg("report").arg(&log).args(["--format", "json"]), LIMIT)?.success()?;
    let report: Value = serde_json::from_slice(&ended.stdout).context("the report is no JSON")?;
    ensure!(report.pointer("/log/unfinished") == Some(&Value::Bool(true)), "the report does not say that the log has no end");
    ensure!(report.pointer("/log/unreadable").is_none(), "lines of the log cannot be read: {}", ended.stderr);
    Ok(Some(age_s))
}

/// The latest time that a log tells, which is at least when its tracer was ready.
fn last_ns(log: &Path) -> Result<u64> {
    let text = std::fs::read_to_string(log).context("read the log")?;
    let mut last = None;
    // A line that was torn has no time.
    for record in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let t = record.get("t").or_else(|| record.pointer("/attach_ns/1")).and_then(Value::as_u64);
        last = last.max(t);
    }
    last.with_context(|| format!("a log of {} bytes without a time", text.len()))
}

/// Marsaglia's xorshift64: the same moments for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let limit_ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX).max(1);
        Duration::from_nanos(self.0 % limit_ns)
    }
}
