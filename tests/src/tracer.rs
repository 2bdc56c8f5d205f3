//! The tracer as a process: started, ready, ended.
//!
//! Ready is a line with the word `ready` on its stderr; the end is waited for by a pidfd. Its output is kept in
//! `tracer.out` and `tracer.err`.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{PidfdFlags, Signal};

use crate::run::LOG;
use crate::stop::Stop;

/// Loading and attaching may wait for a busy machine's verifier.
const READY_LIMIT: Duration = Duration::from_mins(1);

/// A running tracer; it dies with the thread that started it.
pub struct Tracer {
    child: Child,
    pidfd: OwnedFd,
    dir: std::path::PathBuf,
}

impl Tracer {
    /// Attaches to a daemon for one session and waits until all hooks are in place.
    pub fn attach(binary: &Path, pid: u32, client: &str, dir: &Path) -> Result<Self> {
        let mut command = Command::new(binary);
        command
            .args(["attach", "-p", &pid.to_string(), "--client", client, "--sessions", "1", "-o"])
            .arg(dir.join(LOG))
            .stdin(Stdio::null())
            .stdout(File::create(dir.join("tracer.out")).context("create tracer.out")?)
            .stderr(Stdio::piped());
        crate::netns::die_with_parent(&mut command);
        let mut child = command.spawn().with_context(|| format!("start {}", binary.display()))?;
        let stderr = child.stderr.take().context("the tracer's stderr")?;
        let lines = copy_lines(stderr, File::create(dir.join("tracer.err")).context("create tracer.err")?);
        let raw = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).context("pid")?;
        let pidfd = rustix::process::pidfd_open(raw, PidfdFlags::empty()).context("pidfd_open")?;
        let mut tracer = Self { child, pidfd, dir: dir.to_owned() };
        tracer.wait_ready(&lines)?;
        Ok(tracer)
    }

    fn wait_ready(&mut self, lines: &Receiver<String>) -> Result<()> {
        let end = std::time::Instant::now() + READY_LIMIT;
        loop {
            match lines.recv_timeout(end.saturating_duration_since(std::time::Instant::now())) {
                Ok(line) if is_ready(&line) => return Ok(()),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    bail!("the tracer is not ready after {READY_LIMIT:?}: {}", self.stderr())
                }
                Err(RecvTimeoutError::Disconnected) => bail!("the tracer ended before it was ready: {}", self.stderr()),
            }
        }
    }

    /// Waits until it ends by itself, with success.
    pub fn wait(&mut self, limit: Duration) -> Result<()> {
        let is_ended = Stop::new()?.wait_readable_for(&self.pidfd, limit) == Some(true);
        if !is_ended {
            self.child.kill().context("kill the tracer")?;
            self.child.wait().context("wait for the tracer")?;
            bail!("the tracer did not end in {limit:?} after the session: {}", self.stderr());
        }
        let status = self.child.wait().context("wait for the tracer")?;
        ensure!(status.success(), "the tracer failed ({status}): {}", self.stderr());
        Ok(())
    }

    /// Interrupts it, as an admin would, and waits for its end.
    pub fn stop(&mut self, limit: Duration) -> Result<()> {
        rustix::process::pidfd_send_signal(&self.pidfd, Signal::INT).context("interrupt the tracer")?;
        self.wait(limit)
    }

    fn stderr(&self) -> String {
        std::fs::read_to_string(self.dir.join("tracer.err")).unwrap_or_default().trim().to_owned()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // After `wait` both say that there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_ready(line: &str) -> bool {
    line.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == "ready")
}

/// Copies a stream into a file, and each line to whoever still listens.
fn copy_lines(stream: impl std::io::Read + Send + 'static, mut file: File) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            // The file is for people, and after `ready` nobody listens.
            let _ = writeln!(file, "{line}");
            let _ = sender.send(line);
        }
    });
    receiver
}
