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
use crate::bpf_ids::Kind;
use crate::journal::{now_ns, seconds};
use crate::load::{self, Sent};
use crate::run::{READY_LIMIT, tracer_path};
use crate::stop::Stop;
use crate::tracer::{READY, Tracer};
use crate::{Lab, netns};

/// Longest time after its start at which a tracer is killed: half of them are ready by then.
const LATEST: Duration = Duration::from_secs(3);
/// Back ends, in turn.
const HOOKS: [&str; 2] = ["auto", "tracepoint"];
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
    /// Longest time after a kill until nothing of the tracer was in the kernel any more.
    pub freed: Duration,
    /// What the load did meanwhile.
    pub sent: Sent,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kills, ready, oldest_s, freed, sent } = self;
        write!(
            f,
            "{kills} tracers were killed, {ready} of them when they were ready; the ends of their logs were {oldest_s:.2} s old at most; \
             nothing of them was left after {:.2} s at most; {} sessions, all of them served",
            freed.as_secs_f64(),
            sent.sessions
        )
    }
}

/// Kills so many tracers, the moments of which follow from the seed. Nobody else may load or attach BPF programs meanwhile.
pub fn kill(lab: &Lab, kills: usize, seed: u64) -> Result<Figures> {
    holds_objects(lab).context("a tracer that is not killed")?;
    let (figures, sent) = load::beside(lab, load::FULL, |_| {
        let (mut figures, mut random) = (Figures { kills, ..Figures::default() }, Random(seed.max(1)));
        for number in 1..=kills {
            let (delay, hooks) = (random.below(LATEST), HOOKS[number % HOOKS.len()]);
            // The first one is ready for certain, the others are where they are.
            let killed =
                kill_one(lab, delay, hooks, number == 1).with_context(|| format!("seed {seed}, kill {number} of {hooks}, after {delay:?}"))?;
            figures.freed = figures.freed.max(killed.freed);
            if let Some(age_s) = killed.age_s {
                figures.ready += 1;
                figures.oldest_s = figures.oldest_s.max(age_s);
            }
        }
        Ok(figures)
    })?;
    ensure!(sent.sessions == sent.queued, "the clients had {} sessions, {} messages are in the queue", sent.sessions, sent.queued);
    Ok(Figures { sent, ..figures })
}

fn attach(lab: &Lab, hooks: &str, log: &Path) -> Result<Tracer> {
    let mut command = Command::new(tracer_path()?);
    command.args(["attach", "-p", &lab.daemon_pid().to_string(), "--hooks", hooks, "--view", "none", "--force", "-o"]).arg(log);
    netns::die_with_parent(&mut command);
    Tracer::start(command.stdout(std::process::Stdio::null()), |_| {})
}

/// Nothing that is left would prove nothing if a tracer held nothing.
fn holds_objects(lab: &Lab) -> Result<()> {
    let before = Objects::all()?;
    for hooks in HOOKS {
        let tracer = attach(lab, hooks, &log_path(lab))?;
        tracer.wait_for(READY, READY_LIMIT)?;
        let own = Objects::of(tracer.id())?;
        ensure!([Kind::Prog, Kind::Map, Kind::Link].iter().all(|kind| own.count(*kind) > 0), "{hooks}: the tracer holds programs, maps and links");
        tracer.interrupt(LIMIT)?.success()?;
    }
    before.wait_nothing_new(LIMIT).map(drop)
}

fn log_path(lab: &Lab) -> PathBuf {
    lab.dir().join("killed.jsonl")
}

/// What one kill came to.
struct Killed {
    /// How old the end of its log was, s, if it had been ready.
    age_s: Option<f64>,
    /// After what time nothing of it was left.
    freed: Duration,
}

/// Starts one and kills it, after it was ready if `is_late`.
fn kill_one(lab: &Lab, delay: Duration, hooks: &str, is_late: bool) -> Result<Killed> {
    let (before, log, pause) = (Objects::all()?, log_path(lab), Stop::new()?);
    let tracer = attach(lab, hooks, &log)?;
    if is_late {
        tracer.wait_for(READY, READY_LIMIT)?;
    }
    // No wait for anything more: the moment is what is tried.
    pause.pass(delay);
    let killed_ns = now_ns();
    tracer.signal(Signal::KILL)?;
    let ended = tracer.wait(LIMIT)?;
    ensure!(ended.status.signal() == Some(9), "it ended by itself ({}): {}", ended.status, ended.stderr);
    let freed = before.wait_nothing_new(LIMIT)?;
    let is_ready = ended.stderr.lines().any(|line| line.contains("ready: "));
    let age_s = if is_ready { Some(age_s(&log, killed_ns)?) } else { None };
    Ok(Killed { age_s, freed })
}

/// The log must be readable, and its end this old at most.
fn age_s(log: &Path, killed_ns: u64) -> Result<f64> {
    let last_ns = last_ns(log)?;
    let age_s = seconds(killed_ns.saturating_sub(last_ns));
    ensure!(age_s <= FLUSH_S + LATE_S, "the last record of the log is {age_s:.3} s older than the kill");
    let mut command = Command::new(tracer_path()?);
    let ended = crate::tracer::run(command.arg("report").arg(log).args(["--format", "json"]), LIMIT)?.success()?;
    let report: Value = serde_json::from_slice(&ended.stdout).context("the report is no JSON")?;
    ensure!(report.pointer("/log/unfinished") == Some(&Value::Bool(true)), "the report does not say that the log has no end");
    ensure!(report.pointer("/log/unreadable").is_none(), "lines of the log cannot be read: {}", ended.stderr);
    Ok(age_s)
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
