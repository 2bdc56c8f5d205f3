//! A terminal of a test's own (pty(7)): what a program does that has one.
//!
//! Out: the side that its window holds, and the name of the other side, which programs open. Not here: what a screen makes of what is written to it.

use std::fs::File;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Both sides.
#[derive(Debug)]
pub struct Terminal {
    /// What is written to the terminal is read here, until nobody has it open any more.
    pub window: OwnedFd,
    /// Its path.
    pub name: String,
}

impl Terminal {
    /// A terminal of this size.
    pub fn open(rows: u16, columns: u16) -> Result<Self> {
        let window = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).context("a terminal")?;
        unlockpt(&window).context("unlock the terminal")?;
        tcsetwinsize(&window, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).context("size of the terminal")?;
        let name = ptsname(&window, Vec::new()).context("name of the terminal")?;
        Ok(Self { window, name: name.into_string().context("name of the terminal")? })
    }

    /// The side of a program.
    pub fn side(&self) -> Result<File> {
        File::options().read(true).write(true).open(&self.name).with_context(|| format!("open {}", self.name))
    }
}
