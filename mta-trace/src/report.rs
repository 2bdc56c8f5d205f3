//! The report `mta-trace.report/1`: one vocabulary for every view and export.
//!
//! These structures serialise to exactly the JSON that `schema/report.schema.json` describes. They are
//! what the analysis ends in and what every view begins with. Not here: how anything is found or shown.

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

/// What happened before `accept`, seen from outside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DaemonReport {
    /// Accepting process.
    pub pid: u32,
    /// Connections that did not fit into a listen queue of its network namespace while the trace lasted.
    pub listen_overflows: u64,
    /// Connections that were dropped there for whatever reason.
    pub listen_drops: u64,
    /// What it said of new connections, one after another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<DaemonState>,
    /// What to look at, worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<DaemonFinding>,
}

/// What the daemon's title said for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DaemonState {
    /// Its words (`rejecting connections on daemon MTA: 20 children, max 20`).
    pub state: String,
    /// When it was first seen, RFC 3339.
    pub started: String,
    /// How long, s; it is looked at once a second.
    pub elapsed_s: f64,
}

/// A [`Finding`] that belongs to no session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DaemonFinding {
    /// Name of the rule.
    pub rule: String,
    /// How grave.
    pub severity: Severity,
    /// How long it lasted, s; 0 where that is not known.
    pub elapsed_s: f64,
    /// One sentence.
    pub summary: String,
    /// What was seen.
    pub evidence: String,
    /// The setting to look at.
    pub remedy: String,
    /// A command to confirm it by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
}

/// The findings of all sessions of one rule, at one verb, for one target: also of those that the report does not hold.
///
/// A session's time is the sum of its findings of this kind. Median and 95th percentile are those of the sessions that have one, by nearest
/// rank; they are off by 2 % at most, and not at all where these sessions' times are much the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommonFinding {
    /// Name of the rule.
    pub rule: String,
    /// The gravest of any session.
    pub severity: Severity,
    /// Verb of the commands.
    pub verb: Verb,
    /// Cause of the waits.
    pub cause: Cause,
    /// Their target; of a child the name alone. Null also where several are told together.
    pub target: Option<String>,
    /// How many targets are told together: those of one session each, and those that came when there were too many to be told apart,
    /// each time that they came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<u64>,
    /// In how many sessions.
    pub sessions: u64,
    /// Of how many in all.
    pub of: u64,
    /// Half of these sessions have no more, s.
    pub median_s: f64,
    /// 95 % of these sessions have no more, s.
    pub p95_s: f64,
    /// The most of a session, s.
    pub max_s: f64,
    /// Of all sessions, s.
    pub total_s: f64,
    /// One sentence with the figures.
    pub summary: String,
    /// The session that has the most, and what it waited for.
    pub evidence: String,
    /// Which setting to look at, as that session's finding has it.
    pub remedy: String,
    /// A command to confirm it by hand, as that session's finding has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
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

/// Verbs of the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "RFC 5321 and report-schema name them")]
pub enum Verb {
    Helo,
    Ehlo,
    Lhlo,
    Auth,
    Starttls,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Vrfy,
    Expn,
    Help,
    Etrn,
    Quit,
    Xclient,
    Xforward,
    Connect,
    Body,
    Eom,
    Tls,
    Disconnect,
    Opaque,
    Invalid,
}

impl Verb {
    /// As in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Helo => "HELO",
            Self::Ehlo => "EHLO",
            Self::Lhlo => "LHLO",
            Self::Auth => "AUTH",
            Self::Starttls => "STARTTLS",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::Bdat => "BDAT",
            Self::Rset => "RSET",
            Self::Noop => "NOOP",
            Self::Vrfy => "VRFY",
            Self::Expn => "EXPN",
            Self::Help => "HELP",
            Self::Etrn => "ETRN",
            Self::Quit => "QUIT",
            Self::Xclient => "XCLIENT",
            Self::Xforward => "XFORWARD",
            Self::Connect => "CONNECT",
            Self::Body => "BODY",
            Self::Eom => "EOM",
            Self::Tls => "TLS",
            Self::Disconnect => "DISCONNECT",
            Self::Opaque => "OPAQUE",
            Self::Invalid => "INVALID",
        }
    }
}

/// Whether a command's boundary was seen in a syscall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Boundary {
    /// Seen.
    Observed,
    /// No syscall shows it (a pipelined batch).
    Inferred,
}

/// One command: a span of server time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// From 0.
    pub index: usize,
    /// What it is.
    pub verb: Verb,
    /// The client's line without its line end.
    pub line: Option<String>,
    /// `INVALID`: how long the line was, bytes; its text is not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line_bytes: Option<usize>,
    /// Code of the reply.
    pub reply_code: Option<u16>,
    /// First line of the reply.
    pub reply: Option<String>,
    /// s since accept.
    pub start_s: f64,
    /// s.
    pub elapsed_s: f64,
    /// Waits below the threshold, s.
    pub short_waits_s: f64,
    /// On a CPU outside waits, s.
    pub cpu_s: f64,
    /// Runnable outside waits, s.
    pub runqueue_s: f64,
    /// What is left, s.
    pub unexplained_s: f64,
    /// In order; they never overlap.
    pub waits: Vec<Wait>,
    /// Queue id of the message (EOM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_id: Option<String>,
    /// Absent: observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boundary: Option<Boundary>,
    /// What provably did not happen, in a command of a second or more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<String>,
}

impl Command {
    /// What it cost on the server's side, s: the client's time in it (`BODY`, `AUTH`, `TLS`) is not the server's.
    pub fn server_s(&self) -> f64 {
        let client_s: f64 = self.waits.iter().filter(|wait| wait.cause == Cause::Client).map(|wait| wait.elapsed_s).sum();
        self.elapsed_s - client_s
    }
}

macro_rules! causes {
    ($($variant:ident $name:literal;)*) => {
        /// Causes of the vocabulary.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[allow(missing_docs, reason = "report-schema describes each; so does its file in cause/")]
        pub enum Cause {
            $(#[serde(rename = $name)] $variant),*
        }

        impl Cause {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// As in the report.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),*
                }
            }
        }
    };
}

causes! {
    Dns "dns";
    Ident "ident";
    Callback "callback";
    Relay "relay";
    Milter "milter";
    Sasl "sasl";
    Ldap "ldap";
    Sql "sql";
    Map "map";
    Policy "policy";
    ContentFilter "content-filter";
    NameService "name-service";
    Mta "mta";
    SpoolSync "spool-sync";
    FileLock "file-lock";
    FileIo "file-io";
    Child "child";
    Sleep "sleep";
    Tls "tls";
    Client "client";
    Network "network";
    Unknown "unknown";
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "report-schema describes each")]
pub enum Outcome {
    Ok,
    Timeout,
    Refused,
    Unreachable,
    Reset,
    Denied,
    Error,
    Interrupted,
    Unfinished,
}

/// One reason for which the session did not go on, over one interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wait {
    /// Its name.
    pub cause: Cause,
    /// The far end.
    pub target: Option<String>,
    /// s since accept.
    pub start_s: f64,
    /// s.
    pub elapsed_s: f64,
    /// How it ended.
    pub outcome: Outcome,
    /// Queries or connection attempts sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// The question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
    /// The milter's stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milter: Option<Milter>,
    /// The process's own timer that ended it, s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer_s: Option<f64>,
    /// Of a wait that began with a connection attempt: whether the connection came about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected: Option<bool>,
    /// Calls in which it blocked.
    pub syscalls: Vec<String>,
    /// `fd 7: tcp 10.99.0.2:41822 -> 10.99.0.1:113`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<String>,
    /// Local process at the far end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
    /// What that process was waiting for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inner: Vec<Wait>,
}

/// A DNS question and who was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dns {
    /// Without the final dot; unprintable bytes escaped as in RFC 1035, 5.1.
    pub qname: String,
    /// `A`, `AAAA`, `A+AAAA`, `TYPE123`.
    pub qtype: String,
    /// `NOERROR`, `NXDOMAIN`...; null if never answered.
    pub rcode: Option<String>,
    /// In the order in which they were asked.
    pub servers: Vec<DnsServer>,
    /// Of several questions asked at once (`A+AAAA`), of which some were answered: how many were not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<u32>,
    /// What is asked for, where name and type tell it: `dnsbl` (RFC 5782, 2.1), `dkim-key` (RFC 6376, 3.6.2.1), `dmarc-policy` (RFC 7489, 6.1);
    /// and `spf` (RFC 7208) where it is about the very domain of MAIL or HELO in this session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Of a blocklist: its zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// One name server of a look-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DnsServer {
    /// `ADDR:PORT`.
    pub address: String,
    /// Queries sent to it.
    pub attempts: u32,
    /// Whether it answered one.
    pub answered: bool,
    /// Time spent on it, s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_s: Option<f64>,
    /// How many of the attempts were over TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_attempts: Option<u32>,
    /// An answer of it did not fit into UDP (TC).
    #[serde(default, skip_serializing_if = "crate::event::is_false")]
    pub truncated: bool,
}

/// What the milter protocol tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Milter {
    /// `negotiate`, `connect`, `helo`, `envfrom`, `envrcpt`, `data`, `header`, `eoh`, `body`, `eom`, ...
    pub stage: String,
    /// `continue`, `accept`, `reject`, `tempfail`, ...; null: none came.
    #[serde(default)]
    pub reply: Option<String>,
    /// In how many writes the request left before an answer was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes: Option<u32>,
}

/// A local process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Thread group id.
    pub pid: u32,
    /// Name of the task.
    pub comm: String,
    /// Unix path, or address and port, at which it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Why what it waited for is not told, where that is not for lack of a wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unclear: Option<String>,
}

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "report-schema gives the limits")]
pub enum Severity {
    Intended,
    Low,
    Medium,
    High,
}

/// The present value of a setting that a remedy names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// As its file calls it, behind the service for which alone it holds.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Where it is set, or would be.
    pub file: String,
    /// On this line; absent where it is the default, or the whole file says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

/// What to look at, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Name of the rule.
    pub rule: String,
    /// How grave.
    pub severity: Severity,
    /// Index of the command.
    pub command: usize,
    /// Cause of the waits.
    pub cause: Cause,
    /// Their target.
    pub target: Option<String>,
    /// Their sum, s.
    pub elapsed_s: f64,
    /// Of the server's time.
    pub share: f64,
    /// One sentence with the figure.
    pub summary: String,
    /// What was seen.
    pub evidence: String,
    /// Which setting to look at.
    pub remedy: String,
    /// A command to confirm it by hand.
    #[serde(default)]
    pub check: Option<String>,
    /// What is set now of what the remedy names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Setting>,
}

/// What a client measured without a trace: `mta-trace probe --no-trace --format json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// [`PROBE_SCHEMA`].
    pub schema: String,
    /// Version of mta-trace.
    pub version: String,
    /// What it measured.
    pub probe: Probe,
}

/// One session by its client's clock; seconds count from the beginning of `connect(2)`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// `ADDR:PORT` that was connected to.
    pub server: String,
    /// The client's own `ADDR:PORT`.
    pub client: String,
    /// When it began to connect, RFC 3339.
    pub started: String,
    /// Until the last reply, s.
    pub elapsed_s: f64,
    /// How long `connect(2)` took, s.
    pub connect_s: f64,
    /// When the server's `accept(2)` returned: where the session's own times have their 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_s: Option<f64>,
    /// Sum of the exchanges' `server_s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_s: Option<f64>,
    /// Sum of the exchanges' `outside_s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside_s: Option<f64>,
    /// What came of STARTTLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ProbeTls>,
    /// In order; they do not overlap.
    pub exchanges: Vec<Exchange>,
    /// Why the dialogue did not go on to its end, one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// What else is to be said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// TLS as the client negotiated it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeTls {
    /// `TLSv1.3`.
    pub version: String,
    /// `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// Whether the server's certificate was verified.
    pub verified: bool,
}

/// What the client sent at once, and the replies to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// When the last of it was given to the kernel, s.
    pub start_s: f64,
    /// Until its last reply was here, s.
    pub elapsed_s: f64,
    /// How much of that the server had it, s; absent: the server's side was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_s: Option<f64>,
    /// The rest: network, listen queue, the client's own wake-up, s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside_s: Option<f64>,
    /// Several in a pipelined batch.
    pub commands: Vec<ProbeCommand>,
}

/// A command as its client saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeCommand {
    /// What it is.
    pub verb: Verb,
    /// Its line; of AUTH only the mechanism.
    pub line: Option<String>,
    /// Code of the reply; null: none came.
    pub reply_code: Option<u16>,
    /// First line of the reply; null in an AUTH exchange.
    pub reply: Option<String>,
    /// When the reply was here, s since the exchange began; null: it never was.
    pub reply_s: Option<f64>,
    /// Index of the session's command that is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<usize>,
}
