//! One turn of one variant: the queue emptied, the tracer attached, the messages sent, the tracer stopped.

use crate::{
    LIMIT,
    log::Log,
    proc,
    tracer::{Cost, Tracer},
    variant::Variant,
};
use anyhow::{Context as _, Result, ensure};
use lab::{Lab, Stop};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

/// Connections at a time.
pub const CLIENTS: usize = 4;

/// What one run showed.
pub struct Run {
    pub wall_s: f64,
    pub sendmail_cpu_s: f64,
    pub cost: Option<Cost>,
    pub log: Option<Log>,
}

pub fn measure(lab: &Lab, variant: Variant, messages: usize) -> Result<Run> {
    clean_queue(lab)?;
    let output = lab.dir().join("bench-output");
    let tracer = match variant.command(lab.daemon_pid(), &output)? {
        Some((command, word)) => Some(Tracer::start(command, word)?),
        None => None,
    };
    let cpu_before_s = proc::sendmail_cpu_s(lab)?;
    let wall_s = send(lab, messages)?;
    let sendmail_cpu_s = proc::sendmail_cpu_s(lab)? - cpu_before_s;
    let cost = tracer.map(Tracer::stop).transpose()?;
    let queued = queue(lab)?.iter().filter(|path| is_control_file(path)).count();
    ensure!(queued == messages, "{queued} of {messages} messages are in the queue");
    let log = match variant {
        Variant::Traced | Variant::Nobody => Some(Log::read(&output)?),
        Variant::Bpftrace => Some(Log::of_bpftrace(&output)?),
        Variant::Untraced | Variant::Again | Variant::Strace => None,
    };
    Ok(Run { wall_s, sendmail_cpu_s, cost, log })
}

/// Sends messages, one a session, and waits until nobody is served any more; gives the client's time.
pub fn send(lab: &Lab, messages: usize) -> Result<f64> {
    let mut command = lab.smtp_source()?;
    command.args(["-s", &CLIENTS.to_string(), "-m", &messages.to_string()]);
    command.args(["-M", "client.lab.test", "-f", "a@example.com", "-t", "b@example.net", "10.99.0.2:25"]);
    let began = Instant::now();
    let output = command.stdin(Stdio::null()).output().context("run smtp-source")?;
    let wall_s = began.elapsed().as_secs_f64();
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "smtp-source: {}: {}", output.status, error.trim());
    wait_reaped(lab)?;
    Ok(wall_s)
}

/// Waits until the daemon has reaped every child, and so has its CPU time in its own account.
pub fn wait_reaped(lab: &Lab) -> Result<()> {
    ensure!(lab.wait_served(LIMIT), "a session goes on after its client has ended");
    let pause = Stop::new()?;
    let end = Instant::now() + LIMIT;
    while !lab.serving().is_empty() {
        ensure!(Instant::now() < end, "sendmail does not reap its children");
        pause.pass(Duration::from_millis(1));
    }
    Ok(())
}

/// The daemon's spool, which only its own mount namespace has.
fn queue(lab: &Lab) -> Result<Vec<PathBuf>> {
    let path = format!("/proc/{}/root/var/spool/mqueue", lab.daemon_pid());
    let entries = std::fs::read_dir(&path).with_context(|| format!("read {path}"))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

pub fn clean_queue(lab: &Lab) -> Result<()> {
    queue(lab)?.iter().try_for_each(|path| std::fs::remove_file(path).with_context(|| format!("remove {}", path.display())))
}

fn is_control_file(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"qf"))
}
