//! A tracer from its start to its end, and what it used.

use crate::{LIMIT, proc};
use anyhow::{Result, ensure};
use lab::Stop;
use rustix::process::Signal;
use std::{
    process::Command,
    time::{Duration, Instant},
};

/// What a tracer used.
pub struct Cost {
    pub attach_s: f64,
    pub detach_s: f64,
    pub user_s: f64,
    pub system_s: f64,
    pub peak_kib: u64,
}

/// A tracer that is attached, and what it had used until then.
pub struct Tracer {
    process: lab::tracer::Tracer,
    attach_s: f64,
    cpu_at_ready_s: [f64; 4],
}

impl Tracer {
    pub fn start(mut command: Command, word: &str) -> Result<Self> {
        let began = Instant::now();
        let process = lab::tracer::Tracer::start(&mut command, |_| {})?;
        // Or the scheduler would hide what it costs.
        process.share_with_lab()?;
        process.wait_for(word, LIMIT)?;
        let attach_s = began.elapsed().as_secs_f64();
        let cpu_at_ready_s = proc::cpu_s(process.id())?;
        Ok(Self { process, attach_s, cpu_at_ready_s })
    }

    /// Interrupts it and waits for its end.
    pub fn stop(self) -> Result<Cost> {
        let Self { process, attach_s, cpu_at_ready_s: [user_before_s, system_before_s, ..] } = self;
        let began = Instant::now();
        // The peak is gone with the process, so it is looked at until then.
        let (stop, mut peak_kib) = (Stop::new()?, proc::peak(process.id()).unwrap_or(0));
        process.signal(Signal::INT)?;
        while stop.wait_readable_for(process.pidfd(), Duration::from_millis(1)) != Some(true) {
            peak_kib = proc::peak(process.id()).unwrap_or(0).max(peak_kib);
            ensure!(began.elapsed() < LIMIT, "the tracer does not end");
        }
        let detach_s = began.elapsed().as_secs_f64();
        // It has ended but is not reaped: its account is complete and still there.
        let [user_s, system_s, ..] = proc::cpu_s(process.id())?;
        let ended = process.wait(LIMIT)?;
        let is_interrupted = std::os::unix::process::ExitStatusExt::signal(&ended.status) == Some(2) || ended.status.code() == Some(130);
        ensure!(ended.status.success() || is_interrupted, "the tracer failed ({}): {}", ended.status, ended.stderr);
        Ok(Cost { attach_s, detach_s, user_s: user_s - user_before_s, system_s: system_s - system_before_s, peak_kib })
    }
}
