//! What may stand on the command line: the one definition, from which help, man pages and completions are made.
//!
//! In: argv. Out: what is asked for, as structures; a file for each subcommand. Not here: doing it (`cli/SUBCOMMAND.rs`).

pub mod attach;
pub mod diff;
pub mod doctor;
mod duration;
pub mod export;
pub mod probe;
pub mod report;
mod size;
pub mod trace;

use clap::{Parser, Subcommand};

const BEGINNING: &str = "\
Begin with `mta-trace attach`. Examples: `mta-trace --help`, `mta-trace attach --help`.";

const EXAMPLES: &str = "\
Examples:
  mta-trace attach                            whatever listens on port 25
  mta-trace attach -p 1234 --client 192.0.2.7 --sessions 1 -o slow.jsonl
                                              one session of one client, kept
  mta-trace probe --to 127.0.0.1 --from a@example.com --rcpt b@example.net
                                              play a session and trace it
  mta-trace report slow.jsonl                 the same report again
  mta-trace report slow.jsonl --format json | jq '.sessions[].findings'
  mta-trace doctor                            can it run here?

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not permitted or kernel not able.";

/// Shows why a mail server makes its clients wait
///
/// mta-trace attaches to a running mail server by eBPF, follows its SMTP sessions, and tells of each command what it waited for, and for how long: DNS,
/// ident, milters, policy services, locks, disks, the client. The server is neither changed nor restarted. There is no configuration file.
#[derive(Debug, Parser)]
#[command(name = "mta-trace", version, after_help = BEGINNING, after_long_help = EXAMPLES, arg_required_else_help = true, max_term_width = 80)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Sub,
}

/// What each does is said beside its arguments.
#[derive(Debug, Subcommand)]
pub enum Sub {
    Attach(attach::Attach),
    Probe(probe::Probe),
    Report(report::Replay),
    Export(export::Export),
    Diff(diff::Diff),
    Doctor(doctor::Doctor),
}
