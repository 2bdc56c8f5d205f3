//! The trace itself: its header, clock, losses and end, and what was seen of the daemon and its listen queue.

use super::{Bytes, Endpoint};
use serde::{Deserialize, Serialize};

/// Name and number of the log's format.
pub const LOG_SCHEMA: &str = "mta-trace.log/1";

/// See [`super::Record::Header`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`LOG_SCHEMA`].
    pub schema: String,
    /// Version of mta-trace.
    pub tool: String,
    /// Kernel release.
    pub kernel: String,
    /// Architecture (`x86_64`, `aarch64`).
    pub arch: String,
    /// Back end: `tracepoint` or `fentry`.
    pub hooks: String,
    /// What to add to monotonic ns for ns since 1970.
    pub boot_to_wall_ns: i64,
    /// When attaching began and when every hook was in place (`ready`).
    pub attach_ns: [u64; 2],
    /// What was traced.
    pub target: Target,
    /// Peers whose sessions were asked for; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client: Vec<String>,
    /// Threshold of waits.
    pub min_wait_ns: u64,
    /// Sessions that ran when tracing began were asked for too.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub existing: bool,
    /// What those waited for themselves for whom sessions wait was not asked for.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub no_chains: bool,
}

impl Header {
    /// Threshold of waits, ns; 1 ms in a log without a header.
    pub fn min_wait_ns_of(header: Option<&Self>) -> u64 {
        header.map_or(1_000_000, |header| header.min_wait_ns)
    }
}

/// The process that was named or found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Thread group id in the host's numbering.
    pub pid: u32,
    /// Path of its program.
    pub exe: String,
    /// `sendmail`, `postfix`, `exim`, `opensmtpd` or `unknown`.
    pub mta: String,
    /// Version, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mta_version: Option<String>,
    /// Addresses on which it listens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listening: Vec<Endpoint>,
}

/// See [`super::Record::Backlog`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backlog {
    /// When it was accepted.
    pub t: u64,
    /// The peer.
    pub peer: Endpoint,
    /// When the connection was established.
    pub since: u64,
}

/// See [`super::Record::Daemon`]: as it was when the trace began, and whenever it was found to have changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daemon {
    /// When it was looked at.
    pub t: u64,
    /// Thread group id.
    pub pid: u32,
    /// What its title says of new connections, of a mail server that tells there (`accepting connections`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Connections that did not fit into a listen queue of its network namespace (`ListenOverflows` in /proc/PID/net/netstat), since it exists.
    pub listen_overflows: u64,
    /// Connections that were dropped there for whatever reason (`ListenDrops`).
    pub listen_drops: u64,
}

/// See [`super::Record::Loss`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// When it was counted.
    pub t: u64,
    /// Events lost because the ring was full.
    pub ring: u64,
    /// Events of which less was copied than there was.
    pub truncated: u64,
    /// Events whose memory could not be read.
    pub fault: u64,
    /// Events lost because a table was full.
    pub tables: u64,
    /// Switches of the scheduler to a traced thread that were not seen: what it waited for ends at its next hook.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub switches: u64,
    /// Hooked calls that blocked and whose end was not seen: what they returned is not known.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub exits: u64,
}

impl Loss {
    /// What was lost since an earlier count.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            t: self.t,
            ring: self.ring.saturating_sub(earlier.ring),
            truncated: self.truncated.saturating_sub(earlier.truncated),
            fault: self.fault.saturating_sub(earlier.fault),
            tables: self.tables.saturating_sub(earlier.tables),
            switches: self.switches.saturating_sub(earlier.switches),
            exits: self.exits.saturating_sub(earlier.exits),
        }
    }
}

/// See [`super::Record::Clock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Monotonic.
    pub t: u64,
    /// Since 1970.
    pub wall_ns: i64,
}

/// See [`super::Record::Malformed`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Malformed {
    /// Why it could not be decoded.
    pub reason: String,
    /// The bytes.
    pub malformed: Bytes,
}

/// See [`super::Record::End`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When.
    pub t: u64,
    /// `sessions`, `duration`, `signal`, `target-exited` or `error`.
    pub reason: String,
}
