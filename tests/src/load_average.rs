//! The machine's load average, as the MTA sees it: a file that is mounted over its `/proc/loadavg`.
//!
//! In comes a number, and sendmail's own code reads it (`sm_getla`, sendmail/conf.c). Not here: any load.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::netns::Mount;

/// Makes the file, for a machine that does nothing, and the mount.
pub fn mount(dir: &Path) -> Result<Mount> {
    std::fs::write(path(dir), text(0.0)).context("create loadavg")?;
    Ok(Mount::Bind(path(dir), "/proc/loadavg".into()))
}

/// Sets it, from now on.
pub fn set(dir: &Path, load: f64) -> Result<()> {
    // Not truncated before: whoever reads meanwhile would find nothing.
    let mut file = std::fs::File::options().write(true).open(path(dir)).context("open loadavg")?;
    file.write_all(text(load).as_bytes()).context("write loadavg")
}

fn path(dir: &Path) -> PathBuf {
    dir.join("loadavg")
}

/// As `proc_loadavg(5)` shows it, always of the same length.
fn text(load: f64) -> String {
    format!("{load:07.2} {load:07.2} {load:07.2} 1/100 1\n")
}
