//! A local mailer that takes its time: what sendmail starts to put a message into a mailbox.
//!
//! It is a shell script in the daemon's `/run`: it reads the message, says through one FIFO that it has it, and ends when the lab
//! writes into another. The journal has both. Where the message goes is nobody's business.

use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::{CWD, FileType, Mode};

use crate::journal::{Journal, What};
use crate::scenario::Mailer;
use crate::stop::Stop;

/// What sendmail is told to start.
pub const PATH: &str = "/run/mailer";

const SCRIPT: &str = "#!/bin/sh\ncat >/dev/null\necho >/run/mailer.has\nread -r _ </run/mailer.may\n";

/// Makes the script in `run` and serves it until the lab ends.
pub fn serve(run: &Path, scenario: &Mailer, journal: &Journal, stop: &Stop) -> Result<()> {
    let script = run.join("mailer");
    std::fs::write(&script, SCRIPT).context("write the mailer")?;
    std::fs::set_permissions(&script, Permissions::from_mode(0o755)).context("chmod the mailer")?;
    let (mut has, mut may) = (fifo(&run.join("mailer.has"))?, fifo(&run.join("mailer.may"))?);
    let (delay, journal, stop) = (Duration::from_secs_f64(scenario.delay_s), journal.clone(), stop.clone());
    std::thread::spawn(move || {
        while stop.wait_readable(&has) && has.read(&mut [0]).is_ok() {
            journal.note(What::MailerBegan);
            if stop.pass(delay) {
                journal.note(What::MailerMayEnd);
                // A mailer that was killed meanwhile leaves the FIFO as it is.
                let _ = may.write_all(b"\n");
            }
        }
    });
    Ok(())
}

/// A FIFO for whoever delivers. Opened for both directions it neither blocks nor ends while nobody else has it.
fn fifo(path: &Path) -> Result<File> {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).with_context(|| format!("make {}", path.display()))?;
    std::fs::set_permissions(path, Permissions::from_mode(0o666)).with_context(|| format!("chmod {}", path.display()))?;
    File::options().read(true).write(true).open(path).with_context(|| format!("open {}", path.display()))
}
