//! The mail servers of the lab: what is known of each, one file each.
//!
//! In comes the scenario's `mta`, out comes an [`Mta`]: its packages, its `/etc`, its command line, and which of its processes
//! serve. How it is started, mounted and waited for is the same for all (`daemon.rs`), and so is most of an `/etc` (`etc.rs`).
//! Another one is a file, a line in [`of`] and in [`ALL`], and a table of its own in the scenario.

mod daemon;
mod etc;
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

    /// Users with a group of the same name and number, besides those that every `/etc` has.
    fn accounts(&self) -> &'static [(&'static str, u32)];

    /// What it reads, written from the scenario into the folder that is its `/etc`; what every MTA needs is there already.
    fn configure(&self, etc: &Path, scenario: &Scenario, packages: &Packages) -> Result<()>;

    /// The daemon in the foreground.
    fn command(&self, packages: &Packages) -> Command;

    /// The folder below `/var/spool` that is a slow disk or memory.
    fn queue(&self) -> &'static str;

    /// On how many sockets with port 25 it listens once it is ready.
    fn sockets(&self, _scenario: &Scenario) -> usize {
        1
    }

    /// The processes that serve a session now.
    fn serving(&self, daemon: u32) -> Vec<u32> {
        children(daemon)
    }
}

/// All of them.
pub const ALL: &[&dyn Mta] = &[&sendmail::Sendmail, &postfix::Postfix];

/// The one that a scenario names.
pub fn of(kind: MtaKind) -> &'static dyn Mta {
    match kind {
        MtaKind::Sendmail => &sendmail::Sendmail,
        MtaKind::Postfix => &postfix::Postfix,
    }
}

/// The processes that a process has forked and not yet reaped.
pub fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
