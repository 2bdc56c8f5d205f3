//! A spool that is as slow as the scenario says: a FUSE file system over a folder, served by the lab itself.
//!
//! In come the kernel's requests for the daemon's queue, out go the folder's answers, each delayed operation with its
//! begin and end in the journal. It is mounted inside the daemon's mount namespace and goes with it. Not here: the operations.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::disk_fs::Folder;
use crate::journal::{Journal, What};
use crate::scenario::{DiskDelay, DiskOperation};
use crate::stop::Stop;

/// Who waits how long for which operation; nobody until the faults are installed.
#[derive(Debug, Clone)]
pub struct Delays {
    rules: Arc<RwLock<Vec<DiskDelay>>>,
    journal: Journal,
    stop: Stop,
}

impl Delays {
    /// Lets the time of an operation on a file pass.
    pub fn pass(&self, operation: DiskOperation, name: &str) {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        let rule = rules.iter().find(|rule| rule.operation == operation && name.starts_with(&rule.file)).cloned();
        drop(rules);
        let Some(DiskDelay { delay_s, .. }) = rule else { return };
        self.journal.note(What::DiskBegin { operation, file: name.to_owned() });
        self.stop.pass(Duration::from_secs_f64(delay_s));
        self.journal.note(What::DiskEnd { operation, file: name.to_owned() });
    }
}

/// A disk that can be mounted.
#[derive(Debug)]
pub struct Disk {
    device: Arc<OwnedFd>,
    folder: PathBuf,
    delays: Delays,
}

impl Disk {
    /// One over an empty folder. The kernel's side is a descriptor, which whoever mounts names in the mount's options.
    pub fn new(folder: &Path, journal: &Journal, stop: &Stop) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let device = File::options().read(true).write(true).open("/dev/fuse").context("open /dev/fuse (is the kernel's module fuse there?)")?;
        let delays = Delays { rules: Arc::default(), journal: journal.clone(), stop: stop.clone() };
        Ok(Self { device: Arc::new(device.into()), folder: folder.to_owned(), delays })
    }

    /// Makes folders in it, which are a user's own like itself.
    pub fn prepare(&self, folders: &[&str], user: u32) -> Result<()> {
        let own = |path: &Path| chown(path, Some(user), Some(user)).with_context(|| format!("chown {}", path.display()));
        for folder in folders {
            let path = self.folder.join(folder);
            std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
            own(&path)?;
        }
        own(&self.folder)
    }

    /// What is mounted.
    pub fn device(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.device)
    }

    /// Puts the delays in force.
    pub fn install(&self, delays: &[DiskDelay]) {
        *self.delays.rules.write().unwrap_or_else(PoisonError::into_inner) = delays.to_vec();
    }

    /// Answers the kernel from now on, until nobody has it mounted any more. It must be mounted already: the kernel speaks first.
    ///
    /// One thread: whoever uses the disk waits for it as long as one operation is slow, as for a real one.
    pub fn serve(&self) -> Result<()> {
        let device = self.device.try_clone().context("copy the descriptor of /dev/fuse")?;
        let folder = Folder::new(self.folder.clone(), self.delays.clone())?;
        let session = fuser::Session::from_fd(folder, device, fuser::SessionACL::All, fuser::Config::default()).context("greet the kernel's FUSE")?;
        std::thread::spawn(move || session.run());
        Ok(())
    }
}
