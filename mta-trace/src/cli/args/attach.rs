//! Arguments of `mta-trace attach`.

use super::trace::{How, Selection};
use super::{duration, size};
use crate::options::Cidr;
use clap::{Args, ValueEnum};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  mta-trace attach                            whatever listens on port 25
  mta-trace attach -p 1234                    this daemon, or the one session of this child
  mta-trace attach --client 192.0.2.0/24 --client 2001:db8::/32 --sessions 3
  mta-trace attach --duration 5m --view none -o mail.jsonl.zst
  mta-trace attach --slower-than 5s --log-max-size 100M --view none -o slow.jsonl
                                              a flight recorder for days
  mta-trace attach -o - --view none | mta-trace report -

The line with the word `ready` on standard error says that every hook is in place.
Ctrl-C ends the trace and prints the report.";

/// Trace a running mail server and say what each SMTP command waited for
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Attach {
    #[command(flatten)]
    pub selection: Selection,
    /// Only sessions of these clients: an address or a network such as 192.0.2.0/24; may be repeated
    #[arg(long, value_name = "CIDR")]
    pub client: Vec<Cidr>,
    /// Also sessions that are running already
    #[arg(long)]
    pub existing: bool,
    /// End after N sessions have ended
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub sessions: Option<u32>,
    /// End after this time, such as 30s, 5m, 1h30m
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub duration: Option<Duration>,
    /// Keep the event log in this file (.zst compresses; - is standard output)
    #[arg(short, long, value_name = "LOG")]
    pub output: Option<String>,
    /// Overwrite the log if it exists
    #[arg(long, requires = "output")]
    pub force: bool,
    /// Keep only sessions in which a command, or a wait before or between them, took at least this time: a flight recorder for days
    #[arg(long, value_name = "TIME", requires = "output", value_parser = duration::parse)]
    pub slower_than: Option<Duration>,
    /// When the log is larger than this, such as 100M, it is renamed to LOG.1 and begun again; looked at once a second
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
