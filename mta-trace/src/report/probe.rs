//! What the client of `mta-trace probe` measured, as a part of the report or, without a trace, a report of its own.

use super::Verb;
use serde::{Deserialize, Serialize};

/// What a client measured without a trace: `mta-trace probe --no-trace --format json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// [`super::PROBE_SCHEMA`].
    pub schema: String,
    /// Version of mta-trace.
    pub version: String,
    /// What it measured.
    pub probe: Probe,
}

/// One session by its client's clock; seconds count from the beginning of `connect(2)`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// `ADDR:PORT` that was connected to.
    pub server: String,
    /// The client's own `ADDR:PORT`.
    pub client: String,
    /// When it began to connect, RFC 3339.
    pub started: String,
    /// Until the last reply, s.
    pub elapsed_s: f64,
    /// How long `connect(2)` took, s.
    pub connect_s: f64,
    /// When the server's `accept(2)` returned: where the session's own times have their 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_s: Option<f64>,
    /// Sum of the exchanges' `server_s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_s: Option<f64>,
    /// Sum of the exchanges' `outside_s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside_s: Option<f64>,
    /// What came of STARTTLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ProbeTls>,
    /// In order; they do not overlap.
    pub exchanges: Vec<Exchange>,
    /// Why the dialogue did not go on to its end, one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// What else is to be said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// TLS as the client negotiated it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeTls {
    /// `TLSv1.3`.
    pub version: String,
    /// `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// Whether the server's certificate was verified.
    pub verified: bool,
}

/// What the client sent at once, and the replies to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// When the last of it was given to the kernel, s.
    pub start_s: f64,
    /// Until its last reply was here, s.
    pub elapsed_s: f64,
    /// How much of that the server had it, s; absent: the server's side was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_s: Option<f64>,
    /// The rest: network, listen queue, the client's own wake-up, s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside_s: Option<f64>,
    /// Several in a pipelined batch.
    pub commands: Vec<ProbeCommand>,
}

/// A command as its client saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeCommand {
    /// What it is.
    pub verb: Verb,
    /// Its line; of AUTH only the mechanism.
    pub line: Option<String>,
    /// Code of the reply; null: none came.
    pub reply_code: Option<u16>,
    /// First line of the reply; null in an AUTH exchange.
    pub reply: Option<String>,
    /// When the reply was here, s since the exchange began; null: it never was.
    pub reply_s: Option<f64>,
    /// Index of the session's command that is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<usize>,
}
