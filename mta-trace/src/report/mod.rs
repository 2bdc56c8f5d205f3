//! The report `mta-trace.report/1`: one vocabulary for every view and export.
//!
//! These structures serialise to exactly the JSON that `schema/report.schema.json` describes. They are
//! what the analysis ends in and what every view begins with. Not here: how anything is found or shown.

mod command;
mod daemon;
mod finding;
mod probe;
mod session;
mod wait;

pub use command::{Boundary, Command, Verb};
pub use daemon::{DaemonFinding, DaemonReport, DaemonState};
pub use finding::{CommonFinding, Finding, Setting, Severity};
pub use probe::{Exchange, Probe, ProbeCommand, ProbeReport, ProbeTls};
pub use session::{Began, LeftOutCommands, Session, SessionEnd, Tls, VerbSum};
pub use wait::{Cause, Dns, DnsServer, Milter, Outcome, Peer, Wait};

use serde::{Deserialize, Serialize};

/// Name and number of the report's format.
pub const REPORT_SCHEMA: &str = "mta-trace.report/1";

/// Name and number of the format of what a client measured alone.
pub const PROBE_SCHEMA: &str = "mta-trace.probe/1";

/// A whole report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`REPORT_SCHEMA`].
    pub schema: String,
    /// What recorded it.
    pub tool: Tool,
    /// How complete it is.
    pub log: LogSummary,
    /// What the daemon did with connections that never became sessions; absent: nothing that would have to be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemon: Option<DaemonReport>,
    /// What several sessions have in common, worst first; empty where there is one session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<CommonFinding>,
    /// In the order in which they began.
    pub sessions: Vec<Session>,
    /// What a long trace keeps only the sums of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOut>,
    /// What the client of `mta-trace probe` measured, if none of the sessions is its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

impl Report {
    /// How many sessions were traced.
    pub fn session_count(&self) -> u64 {
        let kept = u64::try_from(self.sessions.len()).unwrap_or(u64::MAX);
        kept.saturating_add(self.left_out.as_ref().map_or(0, |left_out| left_out.sessions))
    }
}

/// Sessions of which the report holds only the sums: those that cost least.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// How many.
    pub sessions: u64,
    /// Their time on the server's side, s.
    pub server_s: f64,
    /// What they waited for, but for the client.
    pub waits: Vec<CauseSum>,
}

/// All waits of one cause for one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CauseSum {
    /// Their cause.
    pub cause: Cause,
    /// Their target; null also where there were too many to be told apart.
    pub target: Option<String>,
    /// Verb of the commands in which they were, where that is told: in a session's own sums.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verb: Option<Verb>,
    /// Their sum, s.
    pub elapsed_s: f64,
    /// Their number.
    pub waits: u64,
}

/// What recorded the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Version of mta-trace.
    pub version: String,
    /// Kernel release.
    pub kernel: String,
    /// Back end: `tracepoint` or `fentry`.
    pub hooks: String,
}

/// How complete the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSummary {
    /// Events received.
    pub events: u64,
    /// Events lost (ring full, table full).
    pub lost: u64,
    /// Events of which something was not copied.
    pub truncated: u64,
    /// The log ends without its `end` record: the tracer was stopped.
    #[serde(default, skip_serializing_if = "crate::event::is_false")]
    pub unfinished: bool,
    /// Lines of the log that could not be read.
    #[serde(default, skip_serializing_if = "crate::event::is_zero")]
    pub unreadable: u64,
    /// Records or kinds that this version does not know.
    #[serde(default, skip_serializing_if = "crate::event::is_zero")]
    pub unknown: u64,
    /// Waits whose end was seen late, since the scheduler's switch was not: at the thread's next call.
    #[serde(default, skip_serializing_if = "crate::event::is_zero")]
    pub switches: u64,
    /// Calls that blocked and whose end was not told, nor what they returned.
    #[serde(default, skip_serializing_if = "crate::event::is_zero")]
    pub exits: u64,
    /// Accepted connections whose peer did not match `--client`.
    #[serde(default, skip_serializing_if = "crate::event::is_zero")]
    pub unmatched: u64,
}
