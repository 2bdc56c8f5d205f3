//! Arguments of every subcommand that traces: which mail server, and how.

use super::{duration, size};
use crate::options::{AttachOptions, Cidr, Hooks};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Which mail server.
#[derive(Debug, Args)]
pub struct Selection {
    /// The mail server's daemon, or one child that serves a session already
    #[arg(short, long, value_name = "PID", conflicts_with_all = ["port", "mta"], value_parser = parse_pid)]
    pub pid: Option<u32>,
    /// Port on which the mail server listens [default: 25]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Name of the mail server: sendmail, postfix, exim, opensmtpd
    #[arg(long, value_name = "NAME")]
    pub mta: Option<String>,
}

/// How it is traced.
#[derive(Debug, Args)]
pub struct How {
    /// Waits below this are only summed up
    ///
    /// Such as 500us, 1ms, 2s. A lower value makes more events.
    #[arg(long, value_name = "TIME", default_value = "1ms", value_parser = duration::parse)]
    pub min_wait: Duration,
    /// Do not look into the processes for which a session waits
    ///
    /// Milters, policy services, the mail server's own: what they wait for themselves is told too, without this option.
    #[arg(long)]
    pub no_chains: bool,
    /// How the kernel tells of completed system calls
    ///
    /// What `auto` took stands in the line with the word `ready`; `mta-trace doctor` tries both.
    #[arg(long, value_name = "HOOKS", default_value = "auto")]
    pub hooks: HooksKind,
    /// Size of the buffer in which events wait to be read, a power of two
    ///
    /// From 4K to 1G; larger where the report says that events were LOST.
    #[arg(long, value_name = "SIZE", default_value = "4M", value_parser = size::parse_ring)]
    pub ring_size: u32,
    /// Write every record of the ring as it is into this file; for tests
    #[arg(long, value_name = "FILE", hide = true)]
    pub ring_dump: Option<PathBuf>,
}

impl How {
    pub fn options(self, selection: Selection, clients: Vec<Cidr>, existing: bool) -> AttachOptions {
        let Selection { pid, port, mta } = selection;
        AttachOptions {
            pid,
            port,
            mta,
            clients,
            existing,
            min_wait_ns: u64::try_from(self.min_wait.as_nanos()).unwrap_or(u64::MAX),
            chains: !self.no_chains,
            hooks: match self.hooks {
                HooksKind::Auto => Hooks::Auto,
                HooksKind::Fentry => Hooks::Fentry,
                HooksKind::Tracepoint => Hooks::Tracepoint,
            },
            ring_bytes: Some(self.ring_size),
            ring_dump: self.ring_dump,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HooksKind {
    /// fentry where the kernel attaches it, else tracepoint
    Auto,
    /// A program on each call's own function: costs other processes next to nothing
    Fentry,
    /// One program on the tracepoint of all calls: works everywhere
    Tracepoint,
}

/// Up to the kernel's own limit (`PID_MAX_LIMIT`).
fn parse_pid(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|pid| (1..=4_194_304).contains(pid));
    number.ok_or_else(|| format!("`{text}` is no process id; write the number that `pgrep -o sendmail` prints"))
}
