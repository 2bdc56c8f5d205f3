//! Calls that have returned, and time blocked in others or outside of any, with the thread's counters.

use super::{Args, Bytes, Endpoint, Message, SocketId};
use mta_trace_common::syscalls::Call;
use serde::{Deserialize, Serialize};

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

/// See [`super::Record::Sys`].
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
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub cut: bool,
    /// Memory could not be read.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub fault: bool,
    /// How the client's bytes were read, if the descriptor is the client's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<Smtp>,
    /// `accept`: whether the peer matched the filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<bool>,
    /// The connection was recognised as a milter's; `data` is the head of a packet: length, command, of macros the command that they are for.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub milter: bool,
    /// The connection was recognised as one to a policy service.
    #[serde(default, skip_serializing_if = "super::is_false")]
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
    /// A call of which nothing is known but what it returned: what else is known of it is said over this.
    pub fn bare(call: Call, ret: i64) -> Self {
        Self {
            t: 0,
            pid: 0,
            tid: 0,
            call,
            args: Args::default(),
            ret,
            start: None,
            cpu_ns: 0,
            blocked_ns: 0,
            rq_ns: 0,
            at_start: None,
            socket: None,
            peer: None,
            data: None,
            cut: false,
            fault: false,
            smtp: None,
            matched: None,
            milter: false,
            policy: false,
            passed: None,
            messages: Vec::new(),
        }
    }

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
    #[serde(default, skip_serializing_if = "super::is_false")]
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

/// See [`super::Record::Block`].
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
    #[serde(default, skip_serializing_if = "super::is_false")]
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
    /// The socket behind the descriptor, of a call that has not returned, or of which the end was not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<SocketId>,
    /// Its peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Endpoint>,
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
