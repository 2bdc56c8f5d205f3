//! `lab demo LOG`: the reported case from beginning to end on the user's screen.
//!
//! Puts the world up, attaches the tracer with its timeline on our standard output, plays the dialogue; the tracer prints
//! the report and keeps the log. Everything else is gone at the end, also after SIGINT, SIGTERM and SIGHUP. Where tracing
//! is not permitted a recorded session is shown instead, and the exit code is 3.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lab::scenario::{Scenario, scenario_dir};
use lab::tracer::{READY, Tracer};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::interrupt;
use crate::world::World;

const SCENARIO: &str = "the-case";
/// The exit code of mta-trace for "not permitted, or the kernel is not able".
const NOT_ABLE: u8 = 3;
/// How long an interrupted tracer may take to print its report, before the session is cut.
const REPORT_LIMIT: Duration = Duration::from_secs(2);
/// How long it may take to end.
const END_LIMIT: Duration = Duration::from_secs(15);

enum Event {
    /// SIGINT, SIGTERM or SIGHUP.
    Signal(u8),
    /// The tracer's line says `ready`, or not; `None`: it says nothing any more.
    Tracer(Option<bool>),
}

/// How the demonstration went.
enum Ended {
    /// The tracer's status.
    Tracer(ExitStatus),
    Signal(u8),
    /// Why tracing is not possible here.
    NotAble(String),
}

/// Runs it; the tracer's log is kept in `log`.
pub fn run(log: &Path) -> Result<ExitCode> {
    let (sender, events) = channel();
    interrupt::catch(sender.clone(), Event::Signal)?;
    let ended = if let Some(reason) = not_able()? {
        Ended::NotAble(reason)
    } else {
        let dir = Temporary::new()?;
        let attach = |pid: u32, client: &str| attach(pid, client, log, sender.clone());
        show(&dir.0, attach, &events).or_else(|error| {
            let is_refused = is_refusal(&error);
            if is_refused { Ok(Ended::NotAble(format!("{error:#}"))) } else { Err(error) }
        })?
    };
    match ended {
        Ended::NotAble(reason) => replay(&reason),
        Ended::Tracer(status) => Ok(ExitCode::from(code(status))),
        Ended::Signal(number) => {
            let kept = if log.exists() { format!("; the log so far is {}", log.display()) } else { String::new() };
            eprintln!("demo: interrupted{kept}");
            Ok(ExitCode::from(128 + number))
        }
    }
}

/// The tracer for one session. Its standard output is ours, and what it says on standard error is passed on.
fn attach(pid: u32, client: &str, log: &Path, events: Sender<Event>) -> Result<Tracer> {
    let mut command = Command::new(lab::run::tracer_path()?);
    command.args(["attach", "-p", &pid.to_string(), "--client", client, "--sessions", "1", "-o"]).arg(log);
    lab::netns::die_with_parent(&mut command);
    Tracer::start(&mut command, move |line| {
        if let Some(line) = line {
            eprintln!("{line}");
        }
        let is_ready = line.map(|line| line.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == READY));
        // Nobody may be listening any more.
        let _ = events.send(Event::Tracer(is_ready));
    })
}

/// As a shell reports it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// Whether the kernel refused it to us, or to a program such as ip(8), which only says so in words.
fn is_refusal(error: &anyhow::Error) -> bool {
    let mut errnos = error.chain().filter_map(|cause| cause.downcast_ref::<Errno>());
    errnos.any(|errno| matches!(*errno, Errno::PERM | Errno::ACCESS)) || format!("{error:#}").contains("Operation not permitted")
}

/// Whether it is plain from the start that nothing can be traced.
fn not_able() -> Result<Option<String>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Some("only root may make namespaces and trace other processes".to_owned()));
    }
    let mut doctor = Command::new(lab::run::tracer_path()?);
    let output = doctor.arg("doctor").stdin(Stdio::null()).output().context("run mta-trace doctor")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().trim_start_matches("mta-trace: ").to_owned();
    Ok((output.status.code() == Some(i32::from(NOT_ABLE))).then_some(said))
}

fn show(dir: &Path, attach: impl FnOnce(u32, &str) -> Result<Tracer>, events: &Receiver<Event>) -> Result<Ended> {
    // A demonstration leaves the user's system as it is.
    lab::packages::require(&["ip", "nft"])?;
    let scenario = Scenario::named(SCENARIO)?;
    let up = World::up(&scenario, &dir.join("lab"));
    if let Some(number) = pending_signal(events) {
        return Ok(Ended::Signal(number));
    }
    let world = up.context("put the lab up")?;
    eprintln!("demo: nobody answers AAAA and A of the two domains; the client drops ident");
    eprintln!("demo: one SMTP session follows, less than a minute; Ctrl-C ends it");
    let tracer = attach(world.pid(), &scenario.client)?;
    match wait_ready(events)? {
        Begin::Ready => {}
        Begin::Signal(number) => {
            tracer.interrupt(END_LIMIT)?;
            return Ok(Ended::Signal(number));
        }
        Begin::Failed => {
            let status = tracer.wait(END_LIMIT)?.status;
            if status.code() == Some(i32::from(NOT_ABLE)) {
                return Ok(Ended::NotAble("the kernel refused what the tracer needs, see above".to_owned()));
            }
            bail!("the tracer ended before it was ready ({status})");
        }
    }
    world.install_faults().context("install the faults")?;
    play(&world, &scenario, tracer, events)
}

enum Begin {
    Ready,
    Signal(u8),
    Failed,
}

fn wait_ready(events: &Receiver<Event>) -> Result<Begin> {
    loop {
        match events.recv().context("wait for the tracer")? {
            Event::Signal(number) => return Ok(Begin::Signal(number)),
            Event::Tracer(Some(true)) => return Ok(Begin::Ready),
            Event::Tracer(Some(false)) => {}
            Event::Tracer(None) => return Ok(Begin::Failed),
        }
    }
}

/// The dialogue is played beside; this thread, with which all processes would die, looks for signals.
fn play(world: &World, scenario: &Scenario, mut tracer: Tracer, events: &Receiver<Event>) -> Result<Ended> {
    std::thread::scope(|scope| {
        let player = scope.spawn(|| world.play(scenario));
        let mut signal = None;
        while !player.is_finished() {
            match events.recv_timeout(Duration::from_millis(50)) {
                Ok(Event::Signal(number)) if signal.is_none() => {
                    signal = Some(number);
                    // First the tracer, so that it tells the session as it was; Ctrl-C has reached it already.
                    interrupt(&mut tracer)?;
                    tracer.wait_ended(REPORT_LIMIT)?;
                    world.cut();
                }
                Ok(Event::Signal(_) | Event::Tracer(_)) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("nobody looks for signals any more"),
            }
            if signal.is_none() && tracer.ended()?.is_some_and(|status| !status.success()) {
                world.cut();
            }
        }
        let played = player.join().map_err(|_| anyhow::anyhow!("the client panicked"))?;
        let signal = signal.or_else(|| pending_signal(events));
        if played.is_err() || signal.is_some() {
            interrupt(&mut tracer)?;
        }
        let status = tracer.wait(END_LIMIT)?.status;
        match signal {
            Some(number) => Ok(Ended::Signal(number)),
            None if !status.success() => Ok(Ended::Tracer(status)),
            None => played.context("play the dialogue").map(|_| Ended::Tracer(status)),
        }
    })
}

/// As Ctrl-C does, which may have reached it already.
fn interrupt(tracer: &mut Tracer) -> Result<()> {
    if tracer.ended()?.is_none() { tracer.signal(Signal::INT) } else { Ok(()) }
}

fn pending_signal(events: &Receiver<Event>) -> Option<u8> {
    events.try_iter().find_map(|event| match event {
        Event::Signal(number) => Some(number),
        Event::Tracer(_) => None,
    })
}

/// Shows the recorded session.
fn replay(reason: &str) -> Result<ExitCode> {
    let log = scenario_dir().join(format!("../replay/{SCENARIO}.jsonl"));
    let log = log.canonicalize().with_context(|| format!("{}", log.display()))?;
    eprintln!("demo: tracing is not permitted here: {reason}");
    eprintln!("demo: so this is a session that was recorded earlier, {}", shortest(&log).display());
    let mut report = Command::new(lab::run::tracer_path()?);
    let status = report.arg("report").arg(&log).stdin(Stdio::null()).status().context("run mta-trace report")?;
    Ok(ExitCode::from(if status.success() { NOT_ABLE } else { code(status) }))
}

/// As seen from the current folder, where it lies below it.
fn shortest(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).to_owned()
}

/// A folder that is gone at the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("mta-trace-demo.{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("demo: {} is left behind: {error}", self.0.display());
        }
    }
}
