//! Python with packages from `pypi.org`, in a folder of its own: tools that others wrote, to look at what mta-trace writes.
//!
//! In come names and versions, out comes an interpreter. What is there already is not made again; nothing is installed on the machine.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result};

use crate::packages::{run, target_dir};

/// The interpreter that has these packages (`NAME==VERSION`); all of them are downloaded by pip if they are not there yet.
pub fn with(packages: &[&str]) -> Result<PathBuf> {
    static ONCE: Mutex<()> = Mutex::new(());
    let _guard = ONCE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let root = target_dir().join("lab-cache");
    std::fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
    let root = root.canonicalize().with_context(|| format!("resolve {}", root.display()))?;
    let folder = root.join(format!("python-{}", packages.join("-").replace("==", "-")));
    let python = folder.join("bin/python3");
    if python.is_file() {
        return Ok(python);
    }
    let part = root.join(format!("python.{}.part", std::process::id()));
    run(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(&part))?;
    run(Command::new(part.join("bin/python3"))
        .args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"])
        .args(packages))?;
    match std::fs::rename(&part, &folder) {
        // Another process was faster.
        Err(_) if python.is_file() => std::fs::remove_dir_all(&part).context("remove a second copy")?,
        other => other.with_context(|| format!("rename to {}", folder.display()))?,
    }
    Ok(python)
}
