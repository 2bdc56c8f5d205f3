//! Arguments of a system call by their meaning: one flat structure, of which each call fills what it has.
//! Not here: how they are read from registers and memory (`decode/`).

use super::Endpoint;
use serde::{Deserialize, Serialize};

/// Arguments of a call. Absent: the call has no such argument, or it is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Args {
    /// Descriptor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fd: Option<i32>,
    /// Second descriptor (`dup2`), or the last of a range (`close_range`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fd2: Option<i32>,
    /// Length of the buffer in bytes (for vectors and messages: unknown, absent).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub len: Option<u64>,
    /// Flags by name; bits without a name as hexadecimal number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// Address of `connect`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addr: Option<Endpoint>,
    /// Path as the process gave it; invalid UTF-8 replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Operation by name: `fcntl` command, `flock` operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub op: Option<String>,
    /// Polled descriptors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fds: Vec<PollFd>,
    /// Descriptors of `select`'s read set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read: Vec<i32>,
    /// Descriptors of `select`'s write set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub write: Vec<i32>,
    /// Descriptors of `select`'s except set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<i32>,
    /// Time-out or duration in ns; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ns: Option<u64>,
    /// Process waited for (`wait4`: -1 is any child).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
}

/// One entry of a poll.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollFd {
    /// Descriptor.
    pub fd: i32,
    /// Requested events by name (`POLLIN`).
    pub events: Vec<String>,
    /// Returned events by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revents: Vec<String>,
}
