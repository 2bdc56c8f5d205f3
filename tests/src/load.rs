//! A load for the lab's mail server: Postfix's `smtp-source`, each message a session of its own.
//!
//! In come a lab and a number of clients, out goes the number of sessions that the generators had; a session that fails is an error. What the server has put into its
//! queue is counted apart, and taken away while it grows, since it lies in memory.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};

use crate::Lab;
use crate::stop::Stop;

/// How many clients have a session at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clients(pub usize);

/// More than two processors can serve: all are taken all the time.
pub const FULL: Clients = Clients(6);
/// What two processors carry, with a tracer.
pub const CARRIED: Clients = Clients(2);

/// Connections of one generator at a time.
const CONNECTIONS: usize = 2;
/// Sessions of one run of a generator.
const SESSIONS: usize = 25;
/// A message that has lain so long in the queue is not touched by its session any more.
const SETTLED: Duration = Duration::from_secs(10);

/// What a load did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Sessions, by the generators.
    pub sessions: usize,
    /// Messages in the queue, by the mail server.
    pub queued: usize,
}

/// Keeps the load up while `work` runs, which is told how to ask for the sessions so far; gives what both came to.
pub fn beside<T>(lab: &Lab, clients: Clients, work: impl FnOnce(&dyn Fn() -> usize) -> Result<T>) -> Result<(T, Sent)> {
    let before = queue(lab)?.len();
    ensure!(before == 0, "{before} messages are in the queue before the load");
    let (sessions, over) = (AtomicUsize::new(0), Stop::new()?);
    let (result, queued) = std::thread::scope(|scope| {
        let generate = || {
            let result = generate(lab, &sessions, &over);
            if result.is_err() {
                over.stop();
            }
            result
        };
        let generators: Vec<_> = (0..clients.0.div_ceil(CONNECTIONS)).map(|_| scope.spawn(generate)).collect();
        let sweeper = scope.spawn(|| sweep(lab, &over));
        let result = work(&|| sessions.load(Ordering::Relaxed));
        over.stop();
        let mut ends: Vec<Result<()>> = generators.into_iter().map(|thread| thread.join().unwrap_or_else(|_| panicked())).collect();
        let queued = sweeper.join().unwrap_or_else(|_| panicked());
        // A generator that failed is the cause of whatever failed besides.
        ends.retain(Result::is_err);
        (ends.pop().unwrap_or(Ok(())).and(result), queued)
    });
    let result = result?;
    wait_reaped(lab)?;
    let rest = queue(lab)?;
    let queued = queued? + rest.len();
    rest.iter().try_for_each(remove)?;
    Ok((result, Sent { sessions: sessions.into_inner(), queued }))
}

fn panicked<T>() -> Result<T> {
    Err(anyhow::anyhow!("a thread of the load panicked"))
}

fn is_over(over: &Stop) -> bool {
    !over.pass(Duration::from_nanos(1))
}

/// One generator, run by run.
fn generate(lab: &Lab, sessions: &AtomicUsize, over: &Stop) -> Result<()> {
    while !is_over(over) {
        let mut command = lab.smtp_source()?;
        command.args(["-s", &CONNECTIONS.to_string(), "-m", &SESSIONS.to_string()]);
        command.args(["-M", "client.lab.test", "-f", "a@example.com", "-t", "b@example.net", "10.99.0.2:25"]);
        let output = command.stdin(Stdio::null()).output().context("run smtp-source")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && error.trim().is_empty(), "smtp-source: {}: {}", output.status, error.trim());
        sessions.fetch_add(SESSIONS, Ordering::Relaxed);
    }
    Ok(())
}

/// Takes settled messages out of the queue until the load is over; gives how many.
fn sweep(lab: &Lab, over: &Stop) -> Result<usize> {
    let mut taken = 0;
    while over.pass(Duration::from_secs(1)) {
        let now = SystemTime::now();
        let is_settled = |path: &PathBuf| {
            let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified());
            modified.is_ok_and(|modified| now.duration_since(modified).is_ok_and(|age| age >= SETTLED))
        };
        let settled: Vec<PathBuf> = queue(lab)?.into_iter().filter(is_settled).collect();
        settled.iter().try_for_each(remove)?;
        taken += settled.len();
    }
    Ok(taken)
}

/// Control files of the messages in the daemon's spool, which only its own mount namespace has.
fn queue(lab: &Lab) -> Result<Vec<PathBuf>> {
    let path = format!("/proc/{}/root/var/spool/mqueue", lab.daemon_pid());
    let entries = std::fs::read_dir(&path).with_context(|| format!("read {path}"))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"qf"))).collect())
}

/// Removes a message: its control file `qfX` and its data `dfX`.
fn remove(control: &PathBuf) -> Result<()> {
    let name = control.file_name().and_then(|name| name.to_str()?.strip_prefix("qf")).context("a control file")?;
    std::fs::remove_file(control)
        .and_then(|()| std::fs::remove_file(control.with_file_name(format!("df{name}"))))
        .with_context(|| format!("remove {name}"))
}

/// Waits until the daemon has reaped every child.
fn wait_reaped(lab: &Lab) -> Result<()> {
    const LIMIT: Duration = Duration::from_mins(1);
    ensure!(lab.wait_served(LIMIT), "a session goes on after its client has ended");
    let (pause, end) = (Stop::new()?, Instant::now() + LIMIT);
    while !lab.serving().is_empty() {
        ensure!(Instant::now() < end, "sendmail does not reap its children");
        pause.pass(Duration::from_millis(1));
    }
    Ok(())
}
