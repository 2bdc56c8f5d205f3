//! The typed events: what happened in the traced processes, in the words of the manual pages.
//!
//! `decode/` makes them from the kernel's records, `log/` from the lines of a saved log; everything behind
//! knows only these. Their serde form *is* the log line (`mta-trace.log/1`): a field that is not known is absent.
//! Not here: any interpretation (which session, which cause).

mod args;
mod bytes;
mod endpoint;
mod message;
mod process;
mod seed;
mod sys;
mod trace;

pub use args::{Args, PollFd};
pub use bytes::Bytes;
pub use endpoint::{Endpoint, Proto, SocketId};
pub use message::Message;
pub use process::{Exec, Exit, Fork, Helper, Release};
pub use seed::{SeedFd, SeedFile, SeedProc, SeedSetting, SeedSettings};
pub use sys::{Block, Counters, Smtp, SmtpMode, Sys};
pub use trace::{Backlog, Clock, Daemon, End, Header, LOG_SCHEMA, Loss, Malformed, Target};

use serde::{Deserialize, Serialize};

/// One record of a log; `k` names its kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "k")]
pub enum Record {
    /// First line: what was traced, when, how.
    #[serde(rename = "header")]
    Header(Box<Header>),
    /// A process that existed when tracing began.
    #[serde(rename = "seed.proc")]
    SeedProc(SeedProc),
    /// One of its descriptors.
    #[serde(rename = "seed.fd")]
    SeedFd(SeedFd),
    /// A file that matters for the explanation (`/etc/resolv.conf`).
    #[serde(rename = "seed.file")]
    SeedFile(SeedFile),
    /// What a configuration file says of settings that advice names.
    #[serde(rename = "seed.settings")]
    SeedSettings(SeedSettings),
    /// A completed system call.
    #[serde(rename = "sys")]
    Sys(Box<Sys>),
    /// Time blocked outside hooked calls, or in a call that has not returned.
    #[serde(rename = "block")]
    Block(Box<Block>),
    /// A process forked.
    #[serde(rename = "fork")]
    Fork(Fork),
    /// A process executed another program.
    #[serde(rename = "exec")]
    Exec(Exec),
    /// A process ended.
    #[serde(rename = "exit")]
    Exit(Exit),
    /// A connection waited in the listen backlog before it was accepted.
    #[serde(rename = "accept-backlog")]
    Backlog(Backlog),
    /// What the daemon says of itself, and the kernel of its listen queues.
    #[serde(rename = "daemon")]
    Daemon(Daemon),
    /// Somebody for whom a process waits, who is traced from now on.
    #[serde(rename = "helper")]
    Helper(Helper),
    /// A helper is traced no longer.
    #[serde(rename = "release")]
    Release(Release),
    /// Cumulative counts of what could not be reported.
    #[serde(rename = "loss")]
    Loss(Loss),
    /// Wall clock at a monotonic time.
    #[serde(rename = "clock")]
    Clock(Clock),
    /// Bytes from the kernel that could not be decoded.
    #[serde(rename = "malformed")]
    Malformed(Malformed),
    /// Last line: why tracing ended.
    #[serde(rename = "end")]
    End(End),
}

impl Record {
    /// `CLOCK_MONOTONIC` in ns, where the record has a time.
    pub fn t(&self) -> Option<u64> {
        match self {
            Self::Header(_) | Self::SeedProc(_) | Self::SeedFd(_) | Self::SeedFile(_) | Self::SeedSettings(_) | Self::Malformed(_) => None,
            Self::Sys(it) => Some(it.t),
            Self::Block(it) => Some(it.t),
            Self::Fork(it) => Some(it.t),
            Self::Exec(it) => Some(it.t),
            Self::Exit(it) => Some(it.t),
            Self::Backlog(it) => Some(it.t),
            Self::Daemon(it) => Some(it.t),
            Self::Helper(it) => Some(it.t),
            Self::Release(it) => Some(it.t),
            Self::Loss(it) => Some(it.t),
            Self::Clock(it) => Some(it.t),
            Self::End(it) => Some(it.t),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(crate) fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(crate) fn is_false(value: &bool) -> bool {
    !*value
}
