//! What the clients of a scenario do.

use serde::Deserialize;

/// A client whose session is not asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtherClient {
    /// Its address.
    pub address: String,
    /// It does not talk first, but beside the client.
    pub is_beside: bool,
    /// What it does.
    pub dialogue: Vec<Step>,
}

/// One step of the client. Exactly one of the first group is given.
#[expect(clippy::struct_excessive_bools, reason = "each is one kind of step; in TOML they read better than a tag")]
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Step {
    /// Reads the greeting.
    pub greeting: bool,
    /// Sends a line and reads its reply.
    pub line: Option<String>,
    /// Sends these lines in one segment and reads as many replies.
    pub batch: Option<Vec<String>>,
    /// Sends a line byte by byte, each its own segment, and reads its reply.
    pub split: Option<String>,
    /// Sends these bytes as they are and reads `replies` replies.
    pub raw: Option<String>,
    /// Sends the message (dots are doubled) with its final dot, reads the reply.
    pub body: Option<String>,
    /// Sends a line and does not read its reply yet.
    pub send: Option<String>,
    /// Reads the reply to what was sent before and has none yet.
    pub reply: bool,
    /// Waits until a name server was asked this (`AAAA example.com`).
    pub until_asked: Option<String>,
    /// From now on the machine's load average is this, for the MTA.
    pub load_average: Option<f64>,
    /// Waits until the daemon's title begins with this (`rejecting connections`).
    pub until_title: Option<String>,
    /// Takes an exclusive lock on a file of /etc/mail, or at an absolute path as the MTA sees it, for `hold_s`, beside the dialogue.
    pub lock: Option<String>,
    /// Closes the connection.
    pub leave: bool,
    /// Kills the serving process by SIGKILL.
    pub kill: bool,
    /// STARTTLS is sent as a line before; this does the handshake, and what follows goes through it.
    pub tls: bool,
    /// Lets time pass.
    pub sleep_s: Option<f64>,
    /// Connects from this address to that one (with a port, if it is not 25) instead of the usual two; must be the first step.
    pub connect: Option<[String; 2]>,

    /// Code of each reply read, in order; empty means that any will do.
    pub codes: Vec<u16>,
    /// For `raw`: how many replies follow.
    pub replies: usize,
    /// For `raw`: what it is called in the journal.
    pub verb: Option<String>,
    /// For `split`: time between two bytes.
    pub gap_ms: u64,
    /// For `body`: time between two of its lines, which otherwise are sent at once. For `tls`: how long the client lets the server's first flight lie.
    pub gap_s: f64,
    /// For `lock`: how long.
    pub hold_s: f64,
}
