//! The typed events: what happened in the traced processes, in the words of the manual pages.
//!
//! `decode/` makes them from the kernel's records, `log/` from the lines of a saved log; everything behind
//! knows only these. Their serde form *is* the log line (`mta-trace.log/1`): a field that is not known is absent.
//! Not here: any interpretation (which session, which cause).

mod args;
mod bytes;
mod endpoint;
mod message;

pub use args::{Args, PollFd};
pub use bytes::Bytes;
pub use endpoint::{Endpoint, Proto, SocketId};
pub use message::Message;

use mta_trace_common::syscalls::Call;
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

/// Name and number of the log's format.
pub const LOG_SCHEMA: &str = "mta-trace.log/1";

/// See [`Record::Header`].
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
    #[serde(default, skip_serializing_if = "is_false")]
    pub existing: bool,
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

/// See [`Record::SeedProc`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedProc {
    /// Thread group id.
    pub pid: u32,
    /// Its parent.
    pub ppid: u32,
    /// Path of its program.
    pub exe: String,
    /// Name of the task.
    pub comm: String,
    /// Working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// What the process is: `daemon` (accepts), `server` (accepts and serves), `session` (serves one), `helper` (is waited for), `loop` (serves many at a
    /// time, or is asked by one that does), `other`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What its title says that it is, among several of one server (`lookup`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The verb that its title names: it is inside this command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verb: Option<String>,
    /// The call in which it blocks (`/proc/PID/syscall`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// Descriptor in that call's argument 0, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fd: Option<i32>,
}

/// See [`Record::SeedFd`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedFd {
    /// Thread group id.
    pub pid: u32,
    /// Descriptor.
    pub fd: i32,
    /// Path, if it is no socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Socket, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<SocketId>,
    /// The session's connection to the client.
    #[serde(default, skip_serializing_if = "is_false")]
    pub client: bool,
}

/// See [`Record::SeedFile`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedFile {
    /// Path as the process sees it.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// See [`Record::SeedSettings`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedSettings {
    /// Path as the process sees it.
    pub file: String,
    /// All of it was understood: what is not among the settings is not set in it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub whole: bool,
    /// It was changed after the process had started.
    #[serde(default, skip_serializing_if = "is_false")]
    pub newer: bool,
    /// Those of the mail server's list that are set in it.
    pub settings: Vec<SeedSetting>,
}

/// A setting in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedSetting {
    /// As the file calls it.
    pub name: String,
    /// None: it is set, but to something that is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Line, from 1.
    pub line: u32,
}

/// Cumulative counters of a thread, ns. Differences between two events close the accounting of the time between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// On a CPU.
    pub cpu_ns: u64,
    /// Blocked.
    pub blocked_ns: u64,
    /// Runnable, waiting for a CPU.
    pub rq_ns: u64,
}

/// See [`Record::Sys`].
#[expect(clippy::struct_excessive_bools, reason = "independent facts, no states")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sys {
    /// When it returned.
    pub t: u64,
    /// Thread group id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// The call.
    #[serde(with = "call_name")]
    pub call: Call,
    /// Its arguments.
    pub args: Args,
    /// What it returned; -512 to -516: interrupted (`ERESTARTSYS` ...), -516 leaves the wait open.
    pub ret: i64,
    /// When it first blocked; absent if it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<u64>,
    /// The thread's [`Counters`] at `t`, ns: fields of their own, since nearly all lines are calls and serde reads a flattened structure slowly.
    pub cpu_ns: u64,
    /// Blocked.
    pub blocked_ns: u64,
    /// Runnable, waiting for a CPU.
    pub rq_ns: u64,
    /// The thread's counters at `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_start: Option<Counters>,
    /// The socket behind the descriptor (for `accept` the accepted one).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<SocketId>,
    /// Its peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Endpoint>,
    /// Bytes that the call transferred, as far as the secret rule allows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Bytes>,
    /// There were more bytes than were copied.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cut: bool,
    /// Memory could not be read.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fault: bool,
    /// How the client's bytes were read, if the descriptor is the client's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<Smtp>,
    /// `accept`: whether the peer matched the filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<bool>,
    /// The connection was recognised as a milter's; `data` is the 5-byte packet header.
    #[serde(default, skip_serializing_if = "is_false")]
    pub milter: bool,
    /// The connection was recognised as one to a policy service.
    #[serde(default, skip_serializing_if = "is_false")]
    pub policy: bool,
    /// The message carries a client's descriptor of this number to another process (`SCM_RIGHTS`, unix(7)); `socket` and `peer` are what is behind that
    /// one, not behind `args.fd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<i32>,
    /// Heads of the messages between the server's own processes that it transferred; with `cut` there may have been more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Message>,
}

impl Sys {
    /// The thread's counters when it returned.
    pub fn at(&self) -> Counters {
        let Self { cpu_ns, blocked_ns, rq_ns, .. } = *self;
        Counters { cpu_ns, blocked_ns, rq_ns }
    }

    /// Whether a signal ended it (`-EINTR` and the kernel's restart codes).
    pub fn is_interrupted(&self) -> bool {
        self.ret == -4 || (-516..=-512).contains(&self.ret)
    }
}

/// State of the SMTP dialogue as the kernel side saw it; decides what of the client's bytes was kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Smtp {
    /// Mode in which the read's bytes were taken (before they changed it).
    pub mode: SmtpMode,
    /// The read completed the final dot of a message.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dot: bool,
    /// Beginning of the first line of `data`, held back by earlier reads: it takes the place of as many
    /// wiped bytes at the end of what they brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carry: Option<Bytes>,
}

/// See `mta_trace_common::smtp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpMode {
    /// The session began before the trace: sizes only until a whole reply.
    Unknown,
    /// Lines of allowed verbs are in `data`, other bytes are NUL.
    Command,
    /// Behind AUTH, DATA, BDAT, STARTTLS, before the reply: sizes only.
    Pending,
    /// Behind a 334: sizes only.
    Auth,
    /// Behind a 354: sizes only.
    Data,
    /// Inside TLS: sizes only.
    Opaque,
}

/// See [`Record::Block`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// When it ended, or when it was looked at.
    pub t: u64,
    /// Thread group id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// System call number; -1: none.
    pub nr: i64,
    /// Name, where the table has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// When it began.
    pub since: u64,
    /// `page-fault` where no system call was running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// It had not ended at `t`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unfinished: bool,
    /// Arguments, where the table knows the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Args>,
    /// The thread's counters at `t`.
    #[serde(flatten)]
    pub at: Counters,
    /// The thread's counters at `since`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_start: Option<Counters>,
    /// The socket behind the descriptor, of a call that has not returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<SocketId>,
    /// Its peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Endpoint>,
}

/// See [`Record::Fork`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fork {
    /// When.
    pub t: u64,
    /// The parent.
    pub pid: u32,
    /// The parent's thread.
    pub tid: u32,
    /// The child (equal to `pid`: a new thread).
    pub child: u32,
    /// The child's first thread.
    pub child_tid: u32,
    /// Name of the task.
    pub comm: String,
    /// The child's calls are traced.
    pub traced: bool,
    /// The parent's counters.
    #[serde(flatten)]
    pub at: Counters,
}

/// See [`Record::Exec`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// When.
    pub t: u64,
    /// Thread group id.
    pub pid: u32,
    /// New name of the task.
    pub comm: String,
}

/// See [`Record::Exit`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    /// When.
    pub t: u64,
    /// Thread group id.
    pub pid: u32,
    /// Thread id; equal to `pid` for the process.
    pub tid: u32,
    /// Exit status.
    pub code: i32,
    /// Signal that killed it.
    #[serde(default)]
    pub signal: Option<u32>,
    /// The call in which it was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// When that call first blocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// The thread's counters.
    #[serde(flatten)]
    pub at: Counters,
}

/// See [`Record::Backlog`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backlog {
    /// When it was accepted.
    pub t: u64,
    /// The peer.
    pub peer: Endpoint,
    /// When the connection was established.
    pub since: u64,
}

/// See [`Record::Daemon`]: as it was when the trace began, and whenever it was found to have changed.
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

/// See [`Record::Helper`]: the process at the other end of a connection, found while somebody waited for it. All that it does from `t` on is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Helper {
    /// Since when it is traced.
    pub t: u64,
    /// Its thread group id.
    pub pid: u32,
    /// Name of the task.
    pub comm: String,
    /// Path of its program.
    pub exe: String,
    /// The process that waits for it: a session's, or another helper.
    pub waiter: u32,
    /// Inode of that one's end of the connection.
    pub inode: u64,
    /// Inode of the helper's own end.
    pub peer_inode: u64,
    /// Where the helper's end listens, or is bound: a path, or address and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// Connections of that kind that the helper had then, this one included.
    pub connections: u32,
}

/// See [`Record::Release`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// When.
    pub t: u64,
    /// Thread group id.
    pub pid: u32,
}

/// See [`Record::Loss`].
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
    #[serde(default, skip_serializing_if = "is_zero")]
    pub switches: u64,
    /// Hooked calls that blocked and whose end was not seen: what they returned is not known.
    #[serde(default, skip_serializing_if = "is_zero")]
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

/// See [`Record::Clock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Monotonic.
    pub t: u64,
    /// Since 1970.
    pub wall_ns: i64,
}

/// See [`Record::Malformed`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Malformed {
    /// Why it could not be decoded.
    pub reason: String,
    /// The bytes.
    pub malformed: Bytes,
}

/// See [`Record::End`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When.
    pub t: u64,
    /// `sessions`, `duration`, `signal`, `target-exited` or `error`.
    pub reason: String,
}

mod call_name {
    use super::Call;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::borrow::Cow;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub fn serialize<S: Serializer>(call: &Call, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(call.name())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Call, D::Error> {
        let name = Cow::<str>::deserialize(deserializer)?;
        Call::by_name(&name).ok_or_else(|| D::Error::custom(format!("no such system call in the table: {name}")))
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
