//! The reported case from beginning to end on one's own machine: `cargo xtask demo`.
//!
//! Builds, finds a name for the log that is not taken, and becomes `lab demo`, so that signals and the exit code are its own.

use crate::shell::root;
use anyhow::{Context as _, bail};
use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Runs it.
pub fn run() -> anyhow::Result<()> {
    let target = target()?;
    let log = free_name(&target)?;
    become_lab(&["demo".as_ref(), shortest(&log).as_os_str()]).map(|never| match never {})
}

/// Builds tracer and lab, and goes on as the lab.
pub fn become_lab(args: &[&std::ffi::OsStr]) -> anyhow::Result<Infallible> {
    use std::os::unix::process::CommandExt as _;
    let mut build = crate::shell::cargo();
    build.args(["build", "--release", "--package", "mta-trace", "--package", "mta-trace-tests", "--bins"]);
    crate::shell::run(&mut build)?;
    let lab = target()?.join("release/lab");
    let error = Command::new(&lab).args(args).stdin(Stdio::null()).exec();
    Err(error).with_context(|| format!("cannot run {}", lab.display()))
}

/// Where cargo puts what it builds: this program lies in its `release`.
fn target() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("own path")?;
    own.parent().and_then(Path::parent).map(PathBuf::from).with_context(|| format!("{} lies in no target folder", own.display()))
}

/// A log is never overwritten: the number counts up.
fn free_name(folder: &Path) -> anyhow::Result<PathBuf> {
    for number in 1..1000 {
        let path = folder.join(format!("demo-{number}.jsonl"));
        if !path.exists() {
            return Ok(path);
        }
    }
    bail!("{} is full of logs named demo-N.jsonl; remove some", folder.display())
}

/// As seen from the current folder, where it lies below it.
fn shortest(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_else(|_| root());
    path.strip_prefix(here).unwrap_or(path).to_owned()
}
