//! The mail server of the demonstration with its faulty neighbours: a real sendmail, or where there is none the small server.

use std::path::Path;

use anyhow::Result;
use lab::packages::{Packages, target_dir};
use lab::scenario::{MtaKind, Scenario};
use lab::{Lab, client, netns};

use crate::small::Small;

/// Which one it is.
pub enum World {
    /// The lab as the tests use it.
    Sendmail(Box<Lab>),
    /// Only for showing.
    Small(Box<Small>),
}

impl World {
    /// Puts it up inside a folder; says which server it is and why.
    pub fn up(scenario: &Scenario, dir: &Path) -> Result<Self> {
        match sendmail() {
            Ok(()) => {
                eprintln!("demo: a real sendmail (Debian's packages, unpacked, not installed)");
                Lab::up_in(scenario, dir).map(|lab| Self::Sendmail(Box::new(lab)))
            }
            Err(error) => {
                eprintln!("demo: no sendmail can be had here ({error:#})");
                eprintln!("demo: instead a small forking server of the lab, with the real resolver");
                Small::up(scenario, dir).map(|small| Self::Small(Box::new(small)))
            }
        }
    }

    /// The daemon.
    pub fn pid(&self) -> u32 {
        match self {
            Self::Sendmail(lab) => lab.daemon_pid(),
            Self::Small(small) => small.pid(),
        }
    }

    /// Puts the faults in force.
    pub fn install_faults(&self) -> Result<()> {
        match self {
            Self::Sendmail(lab) => lab.install_faults(),
            Self::Small(small) => small.install_faults(),
        }
    }

    /// Plays the dialogue; returns early when the session is cut.
    pub fn play(&self, scenario: &Scenario) -> Result<client::Played> {
        match self {
            Self::Sendmail(lab) => lab.play(&scenario.dialogue, |_| {}),
            Self::Small(small) => small.play(&scenario.dialogue),
        }
    }

    /// Ends the processes that serve a session, and so the dialogue.
    pub fn cut(&self) {
        let serving = match self {
            Self::Sendmail(lab) => lab.serving(),
            Self::Small(small) => small.serving(),
        };
        for pid in serving {
            // One that has ended in between is what is wanted.
            let _ = netns::kill(pid);
        }
    }
}

/// Sees to it that sendmail is there.
fn sendmail() -> Result<()> {
    let unpacked = Packages::unpack(lab::mta::of(MtaKind::Sendmail));
    if unpacked.is_err() {
        remove_parts();
    }
    unpacked.map(drop)
}

/// What an interrupted download of this process left.
fn remove_parts() {
    let cache = std::env::var_os("MTA_TRACE_LAB_CACHE").map_or_else(|| target_dir().join("lab-cache"), Into::into);
    let own = format!(".{}.part", std::process::id());
    let entries = std::fs::read_dir(cache).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(&own)) {
        // It is a cache: whoever looks for it next makes it anew.
        let _ = std::fs::remove_dir_all(entry.path());
    }
}
