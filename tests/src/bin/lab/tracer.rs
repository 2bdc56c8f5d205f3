//! The tracer with its output on the user's terminal: started, ready, interrupted, ended.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal};

/// How long it may take to end; it prints its report then.
const END_LIMIT: Duration = Duration::from_secs(15);

/// A running tracer; it dies with the thread that started it.
pub struct Tracer(Child);

impl Tracer {
    /// Attaches for one session. Its standard output is ours; what it says on standard error is passed on, and each line
    /// tells `events` whether it is the one that says `ready`; after the last comes a `None`.
    pub fn attach<T: Send + 'static>(pid: u32, client: &str, log: &Path, events: Sender<T>, event: fn(Option<bool>) -> T) -> Result<Self> {
        let binary = lab::run::tracer_path()?;
        let mut command = Command::new(&binary);
        command.args(["attach", "-p", &pid.to_string(), "--client", client, "--sessions", "1", "-o"]).arg(log);
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        lab::netns::die_with_parent(&mut command);
        let mut child = command.spawn().with_context(|| format!("start {}", binary.display()))?;
        let stderr = child.stderr.take().context("the tracer's stderr")?;
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                eprintln!("{line}");
                let is_ready = line.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == "ready");
                // Nobody may be listening any more.
                let _ = events.send(event(Some(is_ready)));
            }
            let _ = events.send(event(None));
        });
        Ok(Self(child))
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.0.try_wait().context("ask for the tracer's state")
    }

    /// Interrupts it, as Ctrl-C does.
    pub fn interrupt(&self) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            // It may have ended already; it has not been waited for, so the number is still its own.
            let _ = rustix::process::kill_process(pid, Signal::INT);
        }
    }

    /// Waits for its end; kills it when that takes too long.
    pub fn wait(mut self) -> Result<ExitStatus> {
        let end = Instant::now() + END_LIMIT;
        while Instant::now() < end {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.0.kill().context("kill the tracer")?;
        self.0.wait().context("wait for the tracer")
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // After `wait` both say that there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// As a shell reports it.
pub fn code(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
