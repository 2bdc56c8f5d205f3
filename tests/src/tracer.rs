//! A tracer as a process: started, ready, signalled, ended. The one wrapper for tests, demonstration and bench.
//!
//! In comes a command, out come the lines that it says on standard error, one by one, and how it ended. Every wait is for an
//! event (a line, or the pidfd) and has a limit. Not here: with which arguments it is started.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::stop::Stop;

/// The word by which mta-trace says that every hook is in place.
pub const READY: &str = "ready";

/// How a process ended, and what it said.
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// Standard output, where it was kept.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

/// A running tracer. Whether it dies with the thread that starts it is up to the command.
pub struct Tracer {
    child: Child,
    pidfd: OwnedFd,
    lines: Receiver<String>,
    /// Copies standard error, and gives all of it at its end.
    copier: Option<JoinHandle<String>>,
    stdout: Option<PathBuf>,
}

impl Tracer {
    /// Starts it. Its output is kept in `tracer.out` and `tracer.err` of a folder: a full pipe can hold nobody up.
    pub fn start_in(command: &mut Command, dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let stdout = dir.join("tracer.out");
        command.stdout(File::create(&stdout).context("create tracer.out")?);
        let mut copy = File::create(dir.join("tracer.err")).context("create tracer.err")?;
        let mut tracer = Self::start(command, move |line| {
            // The file is for people; whoever compares has the lines.
            let _ = line.map_or(Ok(()), |line| writeln!(copy, "{line}"));
        })?;
        tracer.stdout = Some(stdout);
        Ok(tracer)
    }

    /// Starts it with standard output as the command has it; `on_line` sees each line of standard error, and `None` at its end.
    pub fn start(command: &mut Command, mut on_line: impl FnMut(Option<&str>) + Send + 'static) -> Result<Self> {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().with_context(|| format!("start {command:?}"))?;
        let stderr = child.stderr.take().context("the tracer's stderr")?;
        let (sender, lines) = channel();
        let copier = std::thread::spawn(move || {
            let mut all = String::new();
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                on_line(Some(&line));
                all = all + &line + "\n";
                // After `ready` nobody may be listening.
                let _ = sender.send(line);
            }
            on_line(None);
            all
        });
        let pidfd = rustix::process::pidfd_open(pid_of(&child)?, PidfdFlags::empty()).context("pidfd_open")?;
        Ok(Self { child, pidfd, lines, copier: Some(copier), stdout: None })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Gives it the lab's own priority, as tracer and mail server have the same on a machine of their own.
    pub fn share_with_lab(&self) -> Result<()> {
        rustix::process::setpriority_process(Some(pid_of(&self.child)?), crate::netns::PRECEDENCE).context("set the tracer's priority")
    }

    /// Becomes readable when it has ended.
    pub fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Waits for a line on standard error with this word in it.
    pub fn wait_for(&self, word: &str, limit: Duration) -> Result<String> {
        let end = Instant::now() + limit;
        let mut said = Vec::new();
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if has_word(&line, word) => return Ok(line),
                Ok(line) => said.push(line),
                Err(RecvTimeoutError::Timeout) => bail!("no `{word}` after {limit:?}: {}", said.join("\n")),
                Err(RecvTimeoutError::Disconnected) => bail!("it ended before it said `{word}`: {}", said.join("\n")),
            }
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        rustix::process::pidfd_send_signal(&self.pidfd, signal).context("signal the tracer")
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("ask for the tracer's state")
    }

    /// Waits for its end; false when the time is over.
    pub fn wait_ended(&self, limit: Duration) -> Result<bool> {
        Ok(Stop::new()?.wait_readable_for(&self.pidfd, limit) == Some(true))
    }

    /// Waits for its end and takes what it left. One that does not end in time is killed, and that is an error.
    pub fn wait(mut self, limit: Duration) -> Result<Ended> {
        let is_late = !self.wait_ended(limit)?;
        if is_late {
            self.child.kill().context("kill the tracer")?;
        }
        let status = self.child.wait().context("wait for the tracer")?;
        let copier = self.copier.take().context("the tracer is waited for once")?;
        let stderr = copier.join().map_err(|_| anyhow::anyhow!("the thread that copies standard error panicked"))?;
        ensure!(!is_late, "it did not end in {limit:?}: {stderr}");
        let stdout = self.stdout.as_ref().map(std::fs::read).transpose().context("read tracer.out")?.unwrap_or_default();
        Ok(Ended { status, stdout, stderr })
    }

    /// Interrupts it, as an admin would, and waits for its end.
    pub fn interrupt(self, limit: Duration) -> Result<Ended> {
        self.signal(Signal::INT)?;
        self.wait(limit)
    }
}

impl Ended {
    /// It must have ended with success.
    pub fn success(self) -> Result<Self> {
        ensure!(self.status.success(), "the tracer failed ({}): {}", self.status, self.stderr.trim());
        Ok(self)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // After `wait` both say that there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end, which must come within the limit.
pub fn run(command: &mut Command, limit: Duration) -> Result<Ended> {
    command.stdout(Stdio::piped());
    let mut tracer = Tracer::start(command, |_| {})?;
    let mut stdout = tracer.child.stdout.take().context("standard output")?;
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).map(|_| bytes)
    });
    let ended = tracer.wait(limit)?;
    let stdout = reader.join().map_err(|_| anyhow::anyhow!("the thread that reads standard output panicked"))??;
    Ok(Ended { stdout, ..ended })
}

fn pid_of(child: &Child) -> Result<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("pid")
}

/// Whole words only: `already` says nothing about being ready.
fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part == word)
}
