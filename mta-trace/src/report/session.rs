//! Sessions of the report: one SMTP connection each, with its commands, waits and findings. Not here: what these are.

use super::{Cause, CauseSum, Command, Finding, Probe, Verb, Wait};
use serde::{Deserialize, Serialize};

/// Commands of a long session of which the report holds only the sums: those that cost least.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LeftOutCommands {
    /// How many.
    pub commands: u64,
    /// Their time, s: their waits and the four below, as in a [`Command`].
    pub elapsed_s: f64,
    /// Waits below the threshold, s.
    pub short_waits_s: f64,
    /// On a CPU outside waits, s.
    pub cpu_s: f64,
    /// Runnable outside waits, s.
    pub runqueue_s: f64,
    /// What is left, s.
    pub unexplained_s: f64,
    /// What they were.
    pub verbs: Vec<VerbSum>,
    /// What they waited for.
    pub waits: Vec<CauseSum>,
    /// As in the session's `between`: waits behind these commands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub between: Vec<CauseSum>,
}

impl LeftOutCommands {
    /// What they and the waits behind them cost on the server's side, s.
    pub fn server_s(&self) -> f64 {
        let inside: f64 = self.verbs.iter().map(|verb| verb.server_s).sum();
        inside + self.between.iter().map(|sum| sum.elapsed_s).sum::<f64>()
    }
}

/// Commands of one verb.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerbSum {
    /// Their verb.
    pub verb: Verb,
    /// How many.
    pub commands: u64,
    /// What they cost on the server's side, s.
    pub server_s: f64,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionEnd {
    /// QUIT was answered.
    Quit,
    /// The client left.
    ClientClosed,
    /// The server closed (421, time-out).
    ServerClosed,
    /// The serving process was killed.
    Killed,
    /// The trace ended first.
    Detached,
}

/// Where a session's trace began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Began {
    /// At its `accept(2)`.
    Accept,
    /// It had begun before the trace.
    Seeded,
}

/// One SMTP connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// `PID-N`.
    pub id: String,
    /// Mail server program.
    pub mta: String,
    /// Its version.
    pub mta_version: Option<String>,
    /// Serving process.
    pub pid: u32,
    /// Accepting process.
    pub daemon_pid: u32,
    /// `ADDR:PORT`.
    pub client: String,
    /// `ADDR:PORT`.
    pub server: String,
    /// RFC 3339.
    pub started: String,
    /// From accept to end, s.
    pub elapsed_s: f64,
    /// Outside commands: the client's time, s.
    pub client_s: f64,
    /// Traced from accept to a regular end without loss.
    pub complete: bool,
    /// Where the trace began.
    pub began: Began,
    /// How it ended.
    pub end: SessionEnd,
    /// TLS, as far as it is known.
    pub tls: Option<Tls>,
    /// Queue ids of its messages.
    pub queue_ids: Vec<String>,
    /// In order.
    pub commands: Vec<Command>,
    /// Of a session of very many commands: the sums of those that are not in `commands`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOutCommands>,
    /// Worst first.
    pub findings: Vec<Finding>,
    /// What the server itself waited for between a reply and the next line, which had come meanwhile: a part of `client_s`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub between: Vec<Wait>,
    /// Time in the listen backlog, s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_accept_s: Option<f64>,
    /// Processes that inherited the connection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inherited_by: Vec<u32>,
    /// What its client measured, if that was `mta-trace probe`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Box<Probe>>,
}

impl Session {
    /// What it cost on the server's side, s: its commands without the client's time in them, and what delayed the
    /// client's lines between them.
    pub fn server_s(&self) -> f64 {
        let inside: f64 = self.commands.iter().map(Command::server_s).sum();
        let between: f64 = self.between.iter().map(|wait| wait.elapsed_s).sum();
        inside + between + self.left_out.as_ref().map_or(0.0, LeftOutCommands::server_s)
    }

    /// Its waits, but for those of which only sums are known.
    pub fn waits(&self) -> impl Iterator<Item = &Wait> {
        self.commands.iter().flat_map(|command| &command.waits).chain(&self.between)
    }

    /// All its waits: cause, target, sum in s, number.
    pub fn wait_sums(&self) -> impl Iterator<Item = (Cause, Option<&str>, f64, u64)> {
        let left_out = self.left_out.iter().flat_map(|it| it.waits.iter().chain(&it.between));
        let kept = self.waits().map(|wait| (wait.cause, wait.target.as_deref(), wait.elapsed_s, 1));
        kept.chain(left_out.map(|sum| (sum.cause, sum.target.as_deref(), sum.elapsed_s, sum.waits)))
    }

    /// The command with this index.
    pub fn command(&self, index: usize) -> Option<&Command> {
        self.commands.binary_search_by_key(&index, |command| command.index).ok().and_then(|at| self.commands.get(at))
    }

    /// How many commands it had.
    pub fn command_count(&self) -> u64 {
        let kept = u64::try_from(self.commands.len()).unwrap_or(u64::MAX);
        kept.saturating_add(self.left_out.as_ref().map_or(0, |left_out| left_out.commands))
    }
}

/// TLS of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tls {
    /// When STARTTLS was answered, s since accept.
    pub start_s: f64,
}
