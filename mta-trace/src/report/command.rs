//! Commands of the report: spans of server time, by the verbs of RFC 5321 and those of the vocabulary.

use super::{Cause, Wait};
use serde::{Deserialize, Serialize};

/// Verbs of the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "RFC 5321 and report-schema name them")]
pub enum Verb {
    Helo,
    Ehlo,
    Lhlo,
    Auth,
    Starttls,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Vrfy,
    Expn,
    Help,
    Etrn,
    Quit,
    Xclient,
    Xforward,
    Connect,
    Body,
    Eom,
    Tls,
    Disconnect,
    Opaque,
    Invalid,
}

impl Verb {
    /// As in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Helo => "HELO",
            Self::Ehlo => "EHLO",
            Self::Lhlo => "LHLO",
            Self::Auth => "AUTH",
            Self::Starttls => "STARTTLS",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::Bdat => "BDAT",
            Self::Rset => "RSET",
            Self::Noop => "NOOP",
            Self::Vrfy => "VRFY",
            Self::Expn => "EXPN",
            Self::Help => "HELP",
            Self::Etrn => "ETRN",
            Self::Quit => "QUIT",
            Self::Xclient => "XCLIENT",
            Self::Xforward => "XFORWARD",
            Self::Connect => "CONNECT",
            Self::Body => "BODY",
            Self::Eom => "EOM",
            Self::Tls => "TLS",
            Self::Disconnect => "DISCONNECT",
            Self::Opaque => "OPAQUE",
            Self::Invalid => "INVALID",
        }
    }
}

/// Whether a command's boundary was seen in a syscall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Boundary {
    /// Seen.
    Observed,
    /// No syscall shows it (a pipelined batch).
    Inferred,
}

/// One command: a span of server time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// From 0.
    pub index: usize,
    /// What it is.
    pub verb: Verb,
    /// The client's line without its line end.
    pub line: Option<String>,
    /// `INVALID`: how long the line was, bytes; its text is not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line_bytes: Option<usize>,
    /// Code of the reply.
    pub reply_code: Option<u16>,
    /// First line of the reply.
    pub reply: Option<String>,
    /// s since accept.
    pub start_s: f64,
    /// s.
    pub elapsed_s: f64,
    /// Waits below the threshold, s.
    pub short_waits_s: f64,
    /// On a CPU outside waits, s.
    pub cpu_s: f64,
    /// Runnable outside waits, s.
    pub runqueue_s: f64,
    /// What is left, s.
    pub unexplained_s: f64,
    /// In order; they never overlap.
    pub waits: Vec<Wait>,
    /// Queue id of the message (EOM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_id: Option<String>,
    /// Absent: observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boundary: Option<Boundary>,
    /// What provably did not happen, in a command of a second or more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<String>,
}

impl Command {
    /// What it cost on the server's side, s: the client's time in it (`BODY`, `AUTH`, `TLS`) is not the server's.
    pub fn server_s(&self) -> f64 {
        let client_s: f64 = self.waits.iter().filter(|wait| wait.cause == Cause::Client).map(|wait| wait.elapsed_s).sum();
        self.elapsed_s - client_s
    }
}
