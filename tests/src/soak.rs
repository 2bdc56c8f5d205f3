//! A load for a time, with a tracer that writes a log: is anything lost, reported twice or not at all, and does its memory grow?
//!
//! In come a lab and a plan, out go figures; what is not as it must be is an error, and the log stays where it is.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde::Deserialize;

use crate::load::{self, Clients, Sent};
use crate::memory::Memory;
use crate::run::{READY_LIMIT, tracer_path};
use crate::tracer::{READY, Tracer};
use crate::{Lab, netns};

/// Longest time for the tracer's end, and for a report of a long log.
const LIMIT: Duration = Duration::from_mins(30);
/// Of a session that was traced without loss nothing above this stays unexplained, s.
const UNEXPLAINED_S: f64 = 0.1;

/// What is asked of a run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How long it lasts at least.
    pub time: Duration,
    /// The load.
    pub clients: Clients,
    /// Events may be lost, as long as that is said: in no session that counts as whole may anything be missing.
    pub may_lose: bool,
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// What the load did.
    pub sent: Sent,
    /// In how long, s.
    pub seconds: f64,
    /// Events in the log.
    pub events: u64,
    /// Lost ones.
    pub lost: u64,
    /// Memory of the tracer.
    pub memory: Memory,
    /// Size of the log.
    pub log_bytes: u64,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sent, seconds, events, lost, memory, log_bytes } = self;
        let rate = sent.sessions as f64 / seconds;
        let mib = *log_bytes as f64 / f64::from(1 << 20);
        write!(f, "{} sessions in {seconds:.0} s ({rate:.0} a second), {events} events, {lost} lost, {memory}, log {mib:.1} MiB", sent.sessions)
    }
}

/// Loads the lab's mail server for so long, and until there were enough sessions to judge by.
pub fn run(lab: &Lab, plan: Plan) -> Result<Figures> {
    let Plan { time, clients, may_lose } = plan;
    let log = lab.dir().join("soak.jsonl.zst");
    let mut command = Command::new(tracer_path()?);
    command.args(["attach", "-p", &lab.daemon_pid().to_string(), "--view", "none", "-o"]).arg(&log).stdout(Stdio::null());
    netns::die_with_parent(&mut command);
    let tracer = Tracer::start(&mut command, |_| {})?;
    tracer.share_with_lab()?;
    tracer.wait_for(READY, READY_LIMIT)?;
    let began = Instant::now();
    let (memory, sent) = load::beside(lab, clients, |sessions| Memory::watch(&tracer, time, sessions))?;
    let seconds = began.elapsed().as_secs_f64();
    tracer.signal(Signal::INT)?;
    tracer.wait(LIMIT)?.success()?;
    let report = Report::of(&log)?;
    let figures = Figures {
        sent,
        seconds,
        events: report.log.events,
        lost: report.log.lost,
        memory,
        log_bytes: std::fs::metadata(&log).context("stat the log")?.len(),
    };
    let problems: Vec<String> = figures.problems(may_lose).into_iter().chain(report.problems(sent.sessions, may_lose)).collect();
    ensure!(problems.is_empty(), "{figures}\n{}\nthe log is {}", problems.join("\n"), log.display());
    Ok(figures)
}

impl Figures {
    fn problems(&self, may_lose: bool) -> Vec<String> {
        let Self { sent, lost, memory, .. } = self;
        let mut problems = Vec::new();
        if sent.sessions != sent.queued {
            problems.push(format!("the clients had {} sessions, {} messages are in the queue", sent.sessions, sent.queued));
        }
        if *lost > 0 && !may_lose {
            problems.push(format!("{lost} events were lost"));
        }
        problems.extend(memory.problem());
        problems
    }
}

/// What of the report is looked at.
#[derive(Deserialize)]
struct Report {
    log: Summary,
    sessions: Vec<Session>,
}

#[derive(Deserialize)]
struct Summary {
    events: u64,
    lost: u64,
    #[serde(default)]
    unfinished: bool,
    #[serde(default)]
    unreadable: u64,
}

#[derive(Deserialize)]
struct Session {
    id: String,
    client: String,
    started: String,
    complete: bool,
    end: String,
    commands: Vec<Exchange>,
}

#[derive(Deserialize)]
struct Exchange {
    verb: String,
    unexplained_s: f64,
}

/// What every session of the load consists of.
const VERBS: [&str; 9] = ["CONNECT", "HELO", "MAIL", "RCPT", "DATA", "BODY", "EOM", "QUIT", "DISCONNECT"];

impl Report {
    fn of(log: &Path) -> Result<Self> {
        let mut command = Command::new(tracer_path()?);
        let ended = crate::tracer::run(command.arg("report").arg(log).args(["--format", "json"]), LIMIT)?.success()?;
        serde_json::from_slice(&ended.stdout).context("the report is no JSON")
    }

    fn problems(&self, wanted: usize, may_lose: bool) -> Vec<String> {
        let Self { log: Summary { unfinished, unreadable, lost, .. }, sessions } = self;
        let judged = sessions.iter().filter(|session| session.complete || !may_lose);
        let mut problems: Vec<String> = judged.filter_map(Session::problem).collect();
        let more = problems.len().saturating_sub(20);
        problems.truncate(20);
        if more > 0 {
            problems.push(format!("and {more} sessions more"));
        }
        let connections: BTreeSet<(&str, &str)> = sessions.iter().map(|session| (session.client.as_str(), session.started.as_str())).collect();
        let ids: BTreeSet<&str> = sessions.iter().map(|session| session.id.as_str()).collect();
        let (reported, connections, ids) = (sessions.len(), connections.len(), ids.len());
        // A session whose accept was lost is not reported; nine of ten must be.
        let is_all = reported == wanted || may_lose && *lost > 0 && reported < wanted && reported * 10 >= wanted * 9;
        if !is_all || connections != reported || ids != reported {
            problems.push(format!("{wanted} sessions, of which {reported} are reported, {connections} different ones, under {ids} names"));
        }
        if *unfinished || *unreadable > 0 {
            problems.push(format!("the log is unfinished: {unfinished}, with {unreadable} lines that cannot be read"));
        }
        problems
    }
}

impl Session {
    fn problem(&self) -> Option<String> {
        let verbs: Vec<&str> = self.commands.iter().map(|command| command.verb.as_str()).collect();
        // smtp-source greets by EHLO or HELO, as its version likes.
        let is_whole =
            verbs.len() == VERBS.len() && verbs.iter().zip(VERBS).all(|(verb, wanted)| *verb == wanted || wanted == "HELO" && *verb == "EHLO");
        let unexplained = self.commands.iter().find(|command| command.unexplained_s.abs() > UNEXPLAINED_S);
        let unexplained = unexplained.map(|command| format!("{} has {} s unexplained", command.verb, command.unexplained_s));
        let is_good = is_whole && self.complete && self.end == "quit" && unexplained.is_none();
        let Self { id, client, complete, end, .. } = self;
        (!is_good).then(|| format!("{id} of {client}: complete {complete}, ended by {end}: {}; {}", verbs.join(" "), unexplained.unwrap_or_default()))
    }
}
