//! A tracer from its start to its end, and what it used.

use crate::{LIMIT, proc};
use anyhow::{Context as _, Result, bail, ensure};
use lab::Stop;
use rustix::process::{Pid, PidfdFlags, Signal};
use std::{
    io::{BufRead as _, BufReader, Read},
    os::fd::OwnedFd,
    process::{Child, Command},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

/// What the lab gives its own processes; a tracer gets the same, or the scheduler would hide what it costs.
const NICE: i32 = -15;

/// What a tracer used.
pub struct Cost {
    pub attach_s: f64,
    pub detach_s: f64,
    pub user_s: f64,
    pub system_s: f64,
    pub peak_kib: u64,
}

/// A tracer from its start to its end.
pub struct Tracer {
    child: Child,
    pidfd: OwnedFd,
    lines: Receiver<String>,
    attach_s: f64,
    cpu_at_ready_s: [f64; 4],
}

impl Tracer {
    pub fn start(mut command: Command, word: &str) -> Result<Self> {
        let began = Instant::now();
        let mut child = command.spawn().with_context(|| format!("start {}", command.get_program().display()))?;
        let pid = pid_of(&child)?;
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).context("pidfd_open")?;
        rustix::process::setpriority_process(Some(pid), NICE).context("set the tracer's priority")?;
        let lines = follow(child.stderr.take().context("the tracer's stderr")?);
        let mut tracer = Self { child, pidfd, lines, attach_s: 0.0, cpu_at_ready_s: [0.0; 4] };
        let mut seen = String::new();
        loop {
            let Ok(line) = tracer.lines.recv_timeout(LIMIT.saturating_sub(began.elapsed())) else {
                bail!("the tracer did not get ready: {}", seen.trim());
            };
            if line.contains(word) {
                break;
            }
            seen = seen + &line + "\n";
        }
        tracer.attach_s = began.elapsed().as_secs_f64();
        tracer.cpu_at_ready_s = proc::cpu_s(tracer.child.id())?;
        Ok(tracer)
    }

    /// Interrupts it and waits for its end.
    pub fn stop(mut self) -> Result<Cost> {
        let began = Instant::now();
        // The peak is gone with the process, so it is looked at until then.
        let (stop, mut peak_kib) = (Stop::new()?, proc::peak(self.child.id()).unwrap_or(0));
        rustix::process::pidfd_send_signal(&self.pidfd, Signal::INT).context("interrupt the tracer")?;
        while stop.wait_readable_for(&self.pidfd, Duration::from_millis(1)) != Some(true) {
            peak_kib = proc::peak(self.child.id()).unwrap_or(0).max(peak_kib);
            ensure!(began.elapsed() < LIMIT, "the tracer does not end");
        }
        let detach_s = began.elapsed().as_secs_f64();
        // It has ended but is not reaped: its account is complete and still there.
        let [user_s, system_s, ..] = proc::cpu_s(self.child.id())?;
        let [user_before_s, system_before_s, ..] = self.cpu_at_ready_s;
        let status = self.child.wait().context("wait for the tracer")?;
        let is_expected = status.success() || std::os::unix::process::ExitStatusExt::signal(&status) == Some(2);
        let said = || self.lines.try_iter().collect::<Vec<_>>().join("\n");
        ensure!(is_expected || status.code() == Some(130), "the tracer failed ({status}): {}", said());
        Ok(Cost { attach_s: self.attach_s, detach_s, user_s: user_s - user_before_s, system_s: system_s - system_before_s, peak_kib })
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // After `stop` both say that there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pid_of(child: &Child) -> Result<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("pid")
}

/// The lines of a stream, which is read to its end whether they are wanted or not.
fn follow(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}
