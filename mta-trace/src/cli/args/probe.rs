//! Arguments of `mta-trace probe`. What clap cannot say of them is checked where it runs.

use super::duration;
use super::report::Format;
use super::trace::{How, Selection};
use crate::probe::{Address, Stage, check_helo};
use clap::{Args, ValueHint};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  mta-trace probe --to 127.0.0.1 --from a@example.com --rcpt b@example.net
                                              with a short test message
  mta-trace probe --to 127.0.0.1 --from a@example.com --rcpt b@example.net \\
      --data none -o probe.jsonl              no message; the log is kept
  mta-trace probe --to mx.example.com --starttls --quit-after tls --no-trace
                                              from another host, without root
  mta-trace probe --to 127.0.0.1:587 --from a@example.com --rcpt b@example.net \\
      --starttls --auth user --password-file ~/.pw --data none --format json

Without a selection, what listens on the port of --to is traced. Without --data
none a message is sent, which is delivered. The server's TLS certificate is not
verified without --tls-verify.
Exit codes: 0 played, whatever the server answered; 1 not played to its end;
2 wrong usage; 3 not permitted to trace.";

/// Play a test session against a server, and trace it
///
/// Tells of each exchange how much of it was the server's, and how much the network's and the client's. With --no-trace it is the client alone, which needs
/// no privilege and may run on another host.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Probe {
    #[command(flatten)]
    pub selection: Selection,
    /// The server: an address or a name, and a port if it is not 25, such as 127.0.0.1:587
    #[arg(long, value_name = "HOST[:PORT]", value_hint = ValueHint::Hostname)]
    pub to: String,
    /// Sender; <> is the null sender
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<Address>,
    /// Recipient; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub rcpt: Vec<Address>,
    /// Name for EHLO [default: this host's]
    #[arg(long, visible_alias = "ehlo", value_name = "NAME", value_parser = parse_helo)]
    pub helo: Option<String>,
    /// Authenticate as this user, by PLAIN or LOGIN
    #[arg(long, visible_alias = "auth-user", value_name = "USER", requires = "password_file")]
    pub auth: Option<String>,
    /// File whose first line is the password; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "auth")]
    pub password_file: Option<String>,
    /// Send the password without TLS to a server that is not on this machine
    #[arg(long, requires = "auth")]
    pub auth_without_tls: bool,
    /// Begin TLS by STARTTLS; nothing more is sent where that fails
    #[arg(long, visible_alias = "tls")]
    pub starttls: bool,
    /// Take only a certificate that this machine trusts and that is for the host of --to
    #[arg(long, requires = "starttls")]
    pub tls_verify: bool,
    /// Send MAIL, RCPT and DATA together if the server offers PIPELINING
    #[arg(long)]
    pub pipeline: bool,
    /// The message, headers and all (- is standard input); none: RSET behind RCPT [default: a short one]
    #[arg(long, value_name = "FILE|none", value_hint = ValueHint::FilePath)]
    pub data: Option<String>,
    /// Say QUIT after this: connect, first-helo, tls, helo, auth, mail, rcpt
    #[arg(long, value_name = "STAGE")]
    pub quit_after: Option<Stage>,
    /// Longest time for the connection, for each reply and for the TLS handshake
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration::parse)]
    pub timeout: Duration,
    /// Only the client: needs no privilege and may run on another host
    #[arg(long, conflicts_with_all = ["pid", "port", "mta", "output"])]
    pub no_trace: bool,
    /// Keep the event log of the server's side in this file (.zst compresses)
    #[arg(short, long, value_name = "LOG", value_hint = ValueHint::FilePath)]
    pub output: Option<String>,
    /// Overwrite the log if it exists
    #[arg(long, requires = "output")]
    pub force: bool,
    /// Form of the report
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
    #[command(flatten)]
    pub how: How,
}

fn parse_helo(text: &str) -> Result<String, String> {
    check_helo(text).map_err(|error| error.to_string())
}
