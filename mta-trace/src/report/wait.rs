//! Waits of the report: causes, outcomes, and what a cause's own protocol tells. Not here: how a cause is recognised (`cause/`).

use serde::{Deserialize, Serialize};

macro_rules! causes {
    ($($variant:ident $name:literal;)*) => {
        /// Causes of the vocabulary.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[allow(missing_docs, reason = "report-schema describes each; so does its file in cause/")]
        pub enum Cause {
            $(#[serde(rename = $name)] $variant),*
        }

        impl Cause {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// As in the report.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),*
                }
            }
        }
    };
}

causes! {
    Dns "dns";
    Ident "ident";
    Callback "callback";
    Relay "relay";
    Milter "milter";
    Sasl "sasl";
    Ldap "ldap";
    Sql "sql";
    Map "map";
    Policy "policy";
    ContentFilter "content-filter";
    NameService "name-service";
    Mta "mta";
    SpoolSync "spool-sync";
    FileLock "file-lock";
    FileIo "file-io";
    Child "child";
    Sleep "sleep";
    Tls "tls";
    Client "client";
    Network "network";
    Unknown "unknown";
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "report-schema describes each")]
pub enum Outcome {
    Ok,
    Timeout,
    Refused,
    Unreachable,
    Reset,
    Denied,
    Error,
    Interrupted,
    Unfinished,
}

/// One reason for which the session did not go on, over one interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wait {
    /// Its name.
    pub cause: Cause,
    /// The far end.
    pub target: Option<String>,
    /// s since accept.
    pub start_s: f64,
    /// s.
    pub elapsed_s: f64,
    /// How it ended.
    pub outcome: Outcome,
    /// Queries or connection attempts sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// The question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
    /// The milter's stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milter: Option<Milter>,
    /// The process's own timer that ended it, s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer_s: Option<f64>,
    /// Of a wait that began with a connection attempt: whether the connection came about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected: Option<bool>,
    /// Calls in which it blocked.
    pub syscalls: Vec<String>,
    /// `fd 7: tcp 10.99.0.2:41822 -> 10.99.0.1:113`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<String>,
    /// Local process at the far end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
    /// What that process was waiting for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inner: Vec<Wait>,
}

impl Wait {
    /// Of which nothing else is known. Both times are 0 until somebody sets them.
    pub const fn bare(cause: Cause, target: Option<String>, outcome: Outcome) -> Self {
        Self {
            cause,
            target,
            start_s: 0.0,
            elapsed_s: 0.0,
            outcome,
            attempts: None,
            dns: None,
            milter: None,
            timer_s: None,
            connected: None,
            syscalls: Vec::new(),
            descriptor: None,
            peer: None,
            inner: Vec::new(),
        }
    }

    /// What it was for, in words: its target, or without one (an unnamed socket) the name of the process at the far end.
    pub fn waited_for(&self) -> Option<&str> {
        self.target.as_deref().or_else(|| self.peer.as_ref().map(|peer| peer.comm.as_str()))
    }
}

/// A DNS question and who was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dns {
    /// Without the final dot; unprintable bytes escaped as in RFC 1035, 5.1.
    pub qname: String,
    /// `A`, `AAAA`, `A+AAAA`, `TYPE123`.
    pub qtype: String,
    /// `NOERROR`, `NXDOMAIN`...; null if never answered.
    pub rcode: Option<String>,
    /// In the order in which they were asked.
    pub servers: Vec<DnsServer>,
    /// Of several questions asked at once (`A+AAAA`), of which some were answered: how many were not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<u32>,
    /// What is asked for, where name and type tell it: `dnsbl` (RFC 5782, 2.1), `dkim-key` (RFC 6376, 3.6.2.1), `dmarc-policy` (RFC 7489, 6.1);
    /// and `spf` (RFC 7208) where it is about the very domain of MAIL or HELO in this session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Of a blocklist: its zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// One name server of a look-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DnsServer {
    /// `ADDR:PORT`.
    pub address: String,
    /// Queries sent to it.
    pub attempts: u32,
    /// Whether it answered one.
    pub answered: bool,
    /// Time spent on it, s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_s: Option<f64>,
    /// How many of the attempts were over TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_attempts: Option<u32>,
    /// An answer of it did not fit into UDP (TC).
    #[serde(default, skip_serializing_if = "crate::event::is_false")]
    pub truncated: bool,
}

/// What the milter protocol tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Milter {
    /// `negotiate`, `connect`, `helo`, `envfrom`, `envrcpt`, `data`, `header`, `eoh`, `body`, `eom`, ...
    pub stage: String,
    /// `continue`, `accept`, `reject`, `tempfail`, ...; null: none came.
    #[serde(default)]
    pub reply: Option<String>,
    /// In how many writes the request left before an answer was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes: Option<u32>,
}

/// A local process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Thread group id.
    pub pid: u32,
    /// Name of the task.
    pub comm: String,
    /// Unix path, or address and port, at which it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Why what it waited for is not told, where that is not for lack of a wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unclear: Option<String>,
    /// How many of its waits are not among `inner`, which has the longest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<usize>,
}
