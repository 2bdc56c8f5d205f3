//! Processes: forked, executing another program, ended; and those that are traced because a session waits for them.

use super::{Counters, Endpoint};
use serde::{Deserialize, Serialize};

/// See [`super::Record::Fork`].
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

/// See [`super::Record::Exec`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// When.
    pub t: u64,
    /// Thread group id.
    pub pid: u32,
    /// New name of the task.
    pub comm: String,
}

/// See [`super::Record::Exit`].
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

/// See [`super::Record::Helper`]: the process at the other end of a connection, found while somebody waited for it. All that it does from `t` on is told.
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

/// See [`super::Record::Release`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// When.
    pub t: u64,
    /// Thread group id.
    pub pid: u32,
}
