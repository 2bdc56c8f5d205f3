//! Findings of the report, of one session and of several. Not here: the rules (`diagnosis/`).

use super::{Cause, Verb};
use serde::{Deserialize, Serialize};

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
