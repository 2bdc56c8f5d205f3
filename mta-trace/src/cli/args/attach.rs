//! Arguments of `mta-trace attach`.

use super::trace::{How, Selection};
use super::{duration, size};
use crate::options::Cidr;
use clap::{Args, ValueEnum, ValueHint};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  mta-trace attach                            whatever listens on port 25
  mta-trace attach -p 1234                    this daemon, or child's session
  mta-trace attach --client 192.0.2.0/24 --client 2001:db8::/32 --sessions 3
  mta-trace attach --duration 5m --view none -o mail.jsonl.zst
  mta-trace attach --slower-than 5s --log-max-size 100M --view none \\
      -o slow.jsonl                           a flight recorder for days
  mta-trace attach -o - --view none | mta-trace report -

The line with the word `ready` on standard error says that every hook is in
place. Ctrl-C ends the trace and prints the report.";

/// Trace a running mail server and say what each SMTP command waited for
///
/// Without a selection (-p, --port, --mta) whatever listens on port 25 is traced. Sessions are followed from their accept on, in all processes that serve
/// them, until --sessions, --duration, Ctrl-C or the end of the mail server ends the trace; then the report comes.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Attach {
    #[command(flatten)]
    pub selection: Selection,
    /// Only sessions of these clients: an address or a network; may be repeated
    ///
    /// Such as 192.0.2.7 or 192.0.2.0/24. Of other sessions only the client's address and port are seen, and counted.
    #[arg(long, value_name = "CIDR")]
    pub client: Vec<Cidr>,
    /// Also sessions that are running already
    ///
    /// What they said before is not known: of such a session only sizes are kept until its next whole reply.
    #[arg(long)]
    pub existing: bool,
    /// End after N sessions have ended
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub sessions: Option<u32>,
    /// End after this time, such as 30s, 5m, 1h30m
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub duration: Option<Duration>,
    /// Keep the event log in this file (.zst compresses; - is standard output)
    #[arg(short, long, value_name = "LOG", value_hint = ValueHint::FilePath)]
    pub output: Option<String>,
    /// Overwrite the log if it exists
    #[arg(long, requires = "output")]
    pub force: bool,
    /// Keep only sessions in which something took at least this time
    ///
    /// A flight recorder for days: the log keeps a session only if one of its commands, or a wait before or between them, took at least this time.
    #[arg(long, value_name = "TIME", requires = "output", value_parser = duration::parse)]
    pub slower_than: Option<Duration>,
    /// Rename the log to LOG.1 and begin it again when it is larger than this, such as 100M
    ///
    /// Looked at once a second. An older LOG.1 of this trace is written over, so the two take at most twice the size.
    #[arg(long, value_name = "SIZE", requires = "output", value_parser = size::parse)]
    pub log_max_size: Option<u64>,
    #[command(flatten)]
    pub how: How,
    /// What is shown while it runs [default: timeline; none with -o -]
    #[arg(long, value_name = "VIEW")]
    pub view: Option<ViewKind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ViewKind {
    /// The dialogue, with the waits in between
    Timeline,
    /// The system calls, in strace's form
    Strace,
    /// Nothing; the report comes at the end
    None,
}
