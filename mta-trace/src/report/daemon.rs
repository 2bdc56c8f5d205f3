//! What happened before `accept`, seen from outside: of the report what belongs to no session.

use super::Severity;
use serde::{Deserialize, Serialize};

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
    /// How long, s; it is looked at four times a second.
    pub elapsed_s: f64,
}

/// A [`super::Finding`] that belongs to no session.
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
