//! What existed before the trace: processes, their descriptors, and files that matter for the explanation.

use super::SocketId;
use serde::{Deserialize, Serialize};

/// See [`super::Record::SeedProc`].
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
    /// Its root directory (chroot(2)), if that is not the machine's: paths that its calls name begin there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
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

/// See [`super::Record::SeedFd`].
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
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub client: bool,
}

/// See [`super::Record::SeedFile`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedFile {
    /// Path as the process sees it.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// See [`super::Record::SeedSettings`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedSettings {
    /// Path as the process sees it.
    pub file: String,
    /// All of it was understood: what is not among the settings is not set in it.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub whole: bool,
    /// It was changed after the process had started.
    #[serde(default, skip_serializing_if = "super::is_false")]
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
