//! The parts of a report that the lab compares, read from JSON without any code of the product.

#![expect(missing_docs, reason = "the fields are those of the report's schema, which says what they are")]

use serde::Deserialize;

/// A report.
#[derive(Debug, Clone, Deserialize)]
pub struct Report {
    pub log: Log,
    #[serde(default)]
    pub daemon: Daemon,
    pub sessions: Vec<Session>,
}

/// What the daemon did besides.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Daemon {
    #[serde(default)]
    pub findings: Vec<DaemonFinding>,
}

/// A finding that belongs to no session.
#[derive(Debug, Clone, Deserialize)]
pub struct DaemonFinding {
    pub rule: String,
}

/// What was lost.
#[derive(Debug, Clone, Deserialize)]
pub struct Log {
    pub lost: u64,
}

/// A session.
#[derive(Debug, Clone, Deserialize)]
pub struct Session {
    pub client: String,
    pub complete: bool,
    pub began: String,
    pub end: String,
    pub elapsed_s: f64,
    pub client_s: f64,
    #[serde(default)]
    pub before_accept_s: f64,
    pub commands: Vec<Command>,
    pub findings: Vec<Finding>,
}

/// A command.
#[derive(Debug, Clone, Deserialize)]
pub struct Command {
    pub index: usize,
    pub verb: String,
    pub reply_code: Option<u16>,
    pub elapsed_s: f64,
    pub short_waits_s: f64,
    pub cpu_s: f64,
    pub runqueue_s: f64,
    pub unexplained_s: f64,
    pub waits: Vec<Wait>,
    pub boundary: Option<String>,
    #[serde(default)]
    pub absent: Vec<String>,
}

/// A wait.
#[derive(Debug, Clone, Deserialize)]
pub struct Wait {
    pub cause: String,
    pub target: Option<String>,
    pub elapsed_s: f64,
    pub outcome: String,
    pub attempts: Option<u32>,
    pub timer_s: Option<f64>,
    pub dns: Option<Dns>,
    pub milter: Option<Milter>,
    pub peer: Option<Peer>,
    #[serde(default)]
    pub inner: Vec<Wait>,
}

/// The process at the far end.
#[derive(Debug, Clone, Deserialize)]
pub struct Peer {
    pub comm: String,
}

/// What a DNS wait tells.
#[derive(Debug, Clone, Deserialize)]
pub struct Dns {
    pub qname: String,
    pub qtype: String,
    pub rcode: Option<String>,
    pub servers: Vec<Server>,
}

/// One of its servers.
#[derive(Debug, Clone, Deserialize)]
pub struct Server {
    pub address: String,
    pub attempts: u32,
    pub answered: bool,
}

/// What a milter wait tells.
#[derive(Debug, Clone, Deserialize)]
pub struct Milter {
    pub stage: String,
    pub reply: Option<String>,
}

/// A finding.
#[derive(Debug, Clone, Deserialize)]
pub struct Finding {
    pub rule: String,
    pub command: usize,
    pub elapsed_s: f64,
    pub share: f64,
}
