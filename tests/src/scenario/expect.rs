//! What the report of a scenario must say.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::DiskOperation;

/// What the report must say.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// How the session ended; `quit` unless given.
    pub end: Option<String>,
    /// Whether the trace is whole.
    pub incomplete: bool,
    /// Whether the connection waited for as long as the daemon was stopped.
    pub accepted_late: bool,
    /// Commands in order.
    pub commands: Vec<ExpectCommand>,
    /// Further commands may follow the last expected one.
    pub open_ended: bool,
    /// Rules of findings about the whole session, whatever command they name.
    pub findings_anywhere: Vec<String>,
    /// Waits for the server's own services may be this long where a command says nothing.
    #[serde(skip)]
    pub own_s: f64,
    /// Processes outside of the mail server that are taken into the trace, by name, in order; checked if given.
    pub helpers: Option<Vec<String>>,
    /// Rules of the findings that belong to no session, the only ones.
    pub daemon_findings: Vec<String>,
    /// So much of each command may be unexplained: of an event loop the time on a processor is.
    pub unexplained_s: f64,
    /// Rules of findings that may be there, where a busy machine decides about it.
    pub findings_maybe: Vec<String>,
}

/// Waits that no expectation mentions may be this long, s.
pub const IGNORE_S: f64 = 0.02;

/// One expected command.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExpectCommand {
    /// Its verb.
    pub verb: String,
    /// Code of its final reply.
    pub code: Option<u16>,
    /// Its waits, in order; shorter ones than `ignore_s` may stand between them.
    pub waits: Vec<ExpectWait>,
    /// Waits not mentioned above may be this long; [`IGNORE_S`] unless given.
    pub ignore_s: Option<f64>,
    /// What must stand in `absent`.
    pub absent: Vec<String>,
    /// Rules of the findings that must be there for this command; the only ones.
    pub findings: Vec<String>,
    /// Of some of these rules: the share of the server's time, within 2 %.
    pub shares: BTreeMap<String, f64>,
    /// All DNS questions during it, in order, as the name servers saw them (`AAAA example.com`); checked if given.
    pub questions: Vec<String>,
    /// `inferred`, where that is expected.
    pub boundary: Option<String>,
    /// About how long it takes, as configured; the exact time comes from the journal.
    pub about_s: Option<f64>,
}

/// One expected wait.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExpectWait {
    /// Its cause.
    pub cause: String,
    /// Its target, exactly; each `*` is any text.
    pub target: Option<String>,
    /// Its outcome.
    pub outcome: Option<String>,
    /// Its attempts.
    pub attempts: Option<u32>,
    /// The DNS question, as `AAAA example.com`.
    pub question: Option<String>,
    /// The DNS answer's code; `none` for null.
    pub rcode: Option<String>,
    /// The servers, in order, each `ADDRESS:53 ATTEMPTS answered|silent`.
    pub servers: Vec<String>,
    /// The disk's operation.
    pub operation: Option<DiskOperation>,
    /// Which of the disk's operations of this kind during the command, from 1.
    pub nth: Option<usize>,
    /// The milter's stage.
    pub stage: Option<String>,
    /// The milter's reply.
    pub reply: Option<String>,
    /// The process's own timer.
    pub timer_s: Option<f64>,
    /// How long, as configured, where no neighbour can measure it.
    pub elapsed_s: Option<f64>,
    /// Name of the process at its far end.
    pub peer: Option<String>,
    /// What that was waiting for; each gives its `elapsed_s`.
    pub inner: Vec<ExpectWait>,
    /// Of an inner wait: how much of its beginning may be missing, since the process was not traced yet.
    pub late_s: Option<f64>,
}
