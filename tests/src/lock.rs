//! Another process's exclusive lock on a map file, as `makemap` holds it while it rebuilds the map: of both kinds, since some look for the
//! one (`flock`), others for the other (`fcntl`).

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::FlockOperation;

use crate::journal::{Journal, What};
use crate::stop::Stop;

/// Takes the lock now and gives it back after `hold`, beside the caller.
pub fn hold(path: &Path, hold: Duration, journal: &Journal, stop: &Stop) -> Result<()> {
    let file = File::options().read(true).write(true).open(path).with_context(|| format!("open {}", path.display()))?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive).with_context(|| format!("lock {}", path.display()))?;
    rustix::fs::fcntl_lock(&file, FlockOperation::LockExclusive).with_context(|| format!("lock records of {}", path.display()))?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    journal.note(What::Locked { file: name.clone() });
    let (journal, stop) = (journal.clone(), stop.clone());
    std::thread::spawn(move || {
        stop.pass(hold);
        journal.note(What::Unlocked { file: name });
        drop(file);
    });
    Ok(())
}
