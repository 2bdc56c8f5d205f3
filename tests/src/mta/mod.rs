//! The mail servers of the lab: what is known of each, one file each.
//!
//! In comes the scenario's `mta`, out comes an [`Mta`]: its packages, its `/etc`, its command line, and which of its processes
//! serve. How it is started, mounted and waited for is the same for all (`daemon.rs`), and so is most of an `/etc` (`etc.rs`).
//! Another one is a file, a line in [`of`] and in [`ALL`], and a table of its own in the scenario.

mod aiosmtpd;
mod daemon;
mod etc;
mod exim;
mod opensmtpd;
mod postfix;
mod sendmail;

use std::path::Path;
use std::process::Command;

use anyhow::Result;

pub use daemon::Daemon;
pub use etc::HOSTNAME;

use crate::packages::{Packages, Set};
use crate::scenario::{MtaKind, Scenario};

/// One kind of mail server.
pub trait Mta: Sync {
    /// Its name: `mta` of a scenario, and `NAME.err` and `NAME.log` in the lab's folder.
    fn name(&self) -> &'static str;

    /// Its packages, those in which the server is first.
    fn sets(&self) -> &'static [Set];

    /// Folder of the cache for the libraries that these need and the machine lacks.
    fn libraries(&self) -> &'static str;

    /// Its users, besides those that every `/etc` has.
    fn accounts(&self) -> &'static [Account] {
        &[]
    }

    /// The number of the user that serves: the queue is its own, and so are the sockets of services that it asks.
    fn user(&self) -> u32 {
        0
    }

    /// What it reads, written from the scenario into the folder that is its `/etc`; what every MTA needs is there already.
    fn configure(&self, etc: &Path, scenario: &Scenario, packages: &Packages) -> Result<()>;

    /// The daemon in the foreground.
    fn command(&self, scenario: &Scenario, packages: &Packages) -> Command;

    /// The folder below `/var/spool` that is a slow disk or memory.
    fn queue(&self) -> &'static str;

    /// Folders that must be there in it.
    fn queue_folders(&self) -> &'static [&'static str] {
        &[]
    }

    /// On how many sockets with port 25 it listens once it is ready.
    fn sockets(&self, _scenario: &Scenario) -> usize {
        1
    }

    /// Whether it is ready, of a daemon that listens already.
    fn is_ready(&self, _daemon: u32) -> bool {
        true
    }

    /// The processes that serve a session now.
    fn serving(&self, daemon: u32) -> Vec<u32> {
        children(daemon)
    }
}

/// A user, and a group of the same name and number.
#[derive(Debug, Clone, Copy)]
pub struct Account {
    /// Its name.
    pub name: &'static str,
    /// Its number, which is the lab's own choice.
    pub id: u32,
}

/// All of them.
pub const ALL: &[&dyn Mta] = &[&sendmail::Sendmail, &postfix::Postfix, &exim::Exim, &opensmtpd::OpenSmtpd, &aiosmtpd::Aiosmtpd];

/// The one that a scenario names.
pub fn of(kind: MtaKind) -> &'static dyn Mta {
    match kind {
        MtaKind::Sendmail => &sendmail::Sendmail,
        MtaKind::Postfix => &postfix::Postfix,
        MtaKind::Exim => &exim::Exim,
        MtaKind::OpenSmtpd => &opensmtpd::OpenSmtpd,
        MtaKind::Aiosmtpd => &aiosmtpd::Aiosmtpd,
    }
}

/// Whether a process sleeps, by `State` of `/proc/PID/status`.
pub fn sleeps(pid: u32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    text.lines().any(|line| line.strip_prefix("State:").is_some_and(|state| state.trim_start().starts_with('S')))
}

/// The processes that a process has forked and not yet reaped.
pub fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
