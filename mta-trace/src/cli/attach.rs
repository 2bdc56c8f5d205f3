//! `mta-trace attach`: the trace of a running mail server, until something ends it, and the report.
//!
//! In: arguments. Out: the view and the report on standard output, or the log, an exit code. Also here: what is said of a trace when it begins.

use super::args::attach::{Attach, ViewKind};
use super::output::{self, Failure, say};
use crate::event::{Header, Record};
use crate::kernel;
use crate::live::{self, Finished, Limits, Signals, View};
use crate::log;
use crate::source;
use crate::view::{strace::Strace, summary, timeline::Timeline};
use std::io::{self, BufWriter, Write};

/// Traces and tells.
pub fn run(attach: Attach) -> Result<(), Failure> {
    let is_log_stdout = attach.output.as_deref() == Some("-");
    let view = match (attach.view, is_log_stdout) {
        (None, true) => ViewKind::None,
        (Some(ViewKind::Timeline | ViewKind::Strace), true) => {
            return Err(Failure::usage("with -o - standard output carries the log; use --view none, or write the log into a file"));
        }
        (view, _) => view.unwrap_or(ViewKind::Timeline),
    };
    // The log is opened before anything is attached: a bad name must not cost a session.
    if is_log_stdout && attach.log_max_size.is_some() {
        return Err(Failure::usage("--log-max-size is for a log in a file; leave it out with -o -"));
    }
    if let Some(full) = attach.output.as_deref().filter(|_| attach.log_max_size.is_some() && !attach.force).map(|path| format!("{path}.1"))
        && std::fs::symlink_metadata(&full).is_ok()
    {
        return Err(Failure::failed(format!("{full}: exists already and would be written over; move it away, or give --force")));
    }
    let log = attach.output.as_deref().map(|path| log::Writer::create(path, attach.force)).transpose()?;
    let log = log.map(|log| log.rotating(attach.log_max_size));
    let sessions = attach.sessions.and_then(|n| usize::try_from(n).ok());
    let mut limits = Limits { sessions, duration: attach.duration, slower_than: attach.slower_than, only: None };
    let options = attach.how.options(attach.selection, attach.client, attach.existing);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::system)?;
    let finished = runtime.block_on(async {
        let trace = source::attach(&options).inspect_err(|_| output::discard(attach.output.as_deref(), attach.force))?;
        let signals = Signals::new().map_err(Failure::system)?;
        let (ready, gone) = (ready_line(&trace.header()), gone_line(&trace.header()));
        let warning = stranger(&trace.header());
        let shared = shared_line(&trace.seeds(), limits.slower_than.is_some(), options.existing);
        if shared.is_some() {
            // What a process does is not one session's, so records cannot be kept by session.
            limits.slower_than = None;
        }
        // Said when the log holds its beginning: whoever has read it can rely on both.
        let began = || warning.iter().chain(&shared).chain([&ready]).for_each(|text| say(text));
        let out = BufWriter::new(io::stdout());
        let view = match view {
            ViewKind::Timeline => View::Timeline(Timeline::new(out, output::screen())),
            ViewKind::Strace => View::Strace(Strace::new(out)),
            ViewKind::None => View::None,
        };
        let finished = live::run(trace, log, view, limits, signals, began, &mut |text| say(text)).await;
        if let Some(text) = gone.filter(|_| finished.has_target_ended) {
            say(&text);
        }
        Ok::<_, Failure>(finished)
    })?;
    conclude(&finished, is_log_stdout, view != ViewKind::None)?;
    if let Some(path) = attach.output.filter(|_| !is_log_stdout) {
        say(&format!("the log is kept in {path}; `mta-trace report {path}` shows this again"));
    }
    Ok(())
}

/// Whoever is not known by name is traced all the same, if it listens: it may be a mail server that we have not met.
pub fn stranger(header: &Header) -> Option<String> {
    let target = &header.target;
    (target.mta == "unknown").then(|| {
        format!("{} is no mail server that is known by its name: what it speaks is taken for SMTP, and findings name no settings", target.exe)
    })
}

/// What is said of options that go by process, where one process serves many sessions.
fn shared_line(seeds: &[Record], is_slower_than: bool, is_existing: bool) -> Option<String> {
    let is_loop = seeds.iter().any(|seed| matches!(seed, Record::SeedProc(seed) if seed.role.as_deref() == Some("loop")));
    let without = match (is_slower_than, is_existing) {
        (true, true) => "every session is kept (--slower-than does not count), and those that run already are not traced (--existing)",
        (true, false) => "every session is kept (--slower-than does not count)",
        (false, true) => "sessions that run already are not traced (--existing)",
        (false, false) => return None,
    };
    is_loop.then(|| format!("one process of this server serves many sessions: {without}"))
}

/// What is said when a daemon has ended, as it does where it is started anew. That a process ends with its one session is no news.
fn gone_line(header: &Header) -> Option<String> {
    let pid = header.target.pid;
    let text = format!("the mail server (pid {pid}) has ended, and so does the trace; its successor is another target for `mta-trace attach`");
    (!header.target.listening.is_empty()).then_some(text)
}

/// `ready: tracing sendmail 8.17.1.9, pid 13633, listening on 0.0.0.0:25, hooks tracepoint`.
pub fn ready_line(header: &Header) -> String {
    let target = &header.target;
    let version = target.mta_version.as_deref().map(|it| format!(" {it}")).unwrap_or_default();
    let name = if target.mta == "unknown" { &target.exe } else { &target.mta };
    let listening: Vec<String> = target.listening.iter().map(ToString::to_string).collect();
    let place = if listening.is_empty() { "serving a session".to_owned() } else { format!("listening on {}", listening.join(", ")) };
    let inside = kernel::pid_inside(target.pid).map(|pid| format!(" ({pid} in its container)")).unwrap_or_default();
    format!("ready: tracing {name}{version}, pid {}{inside}, {place}, hooks {}", target.pid, header.hooks)
}

/// The report, unless standard output carries the log; then what failed.
fn conclude(finished: &Finished, is_log_stdout: bool, has_view: bool) -> Result<(), Failure> {
    let text = summary::text(&finished.report, &finished.accepted);
    if is_log_stdout {
        say(&format!("{} sessions were traced", finished.report.session_count()));
    } else if finished.view_error.is_none() {
        let mut out = io::stdout().lock();
        let gap = if has_view { "\n" } else { "" };
        write!(out, "{gap}{text}").and_then(|()| out.flush()).map_err(Failure::io)?;
    }
    if let Some(error) = &finished.log_error {
        return if live::is_broken_pipe(error) { Ok(()) } else { Err(Failure::failed(format!("the log is incomplete: {error}"))) };
    }
    let view_error = finished.view_error.as_ref().filter(|error| error.kind() != io::ErrorKind::BrokenPipe);
    view_error.map_or(Ok(()), |error| Err(Failure::failed(format!("standard output: {error}"))))
}
