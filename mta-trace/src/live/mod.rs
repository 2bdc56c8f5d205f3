//! The live loop: records from the kernel into the log, the analysis and the view, until something ends it.
//!
//! In: a [`Source`], limits, a view. Out: the same report that a replay of the log gives. Invariant: one thread, one
//! loop; what the view cannot show or the log cannot take never stops the mail server. Not here: what is traced
//! (`kernel/`), what is printed at the end (`cli/`).

mod lookups;
mod recorder;

use crate::analysis::Analysis;
use crate::event::{Header, Record};
use crate::log;
use crate::probe::Progress;
use crate::report::Report;
use crate::source::LiveTrace;
use crate::update::Update;
use crate::view::{accepted::Accepted, strace::Strace, timeline::Timeline};
use lookups::Lookups;
use recorder::Recorder;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often running waits are looked at and the target is checked.
const TICK: Duration = Duration::from_millis(200);
/// How often the log is flushed.
const FLUSH: Duration = Duration::from_secs(1);

/// Why a trace ended whose target did, in the words of the log's last record.
const TARGET_EXITED: &str = "target-exited";

/// A wait shorter than this is not shown before it ends.
const LOOK_NS: u64 = 200_000_000;

/// Where records come from: the kernel, or a test.
pub(crate) trait Source {
    /// First record.
    fn header(&self) -> Header;
    /// What existed before.
    fn seeds(&self) -> Vec<Record>;
    /// Waits for records; none: nothing came within that time.
    async fn next(&mut self, timeout: Duration) -> Option<Vec<Record>>;
    /// What threads have been waiting for, for at least so long.
    fn waiting(&mut self, at_least_ns: u64) -> Vec<Record>;
    /// Whether there is anything left to trace.
    fn is_target_alive(&self) -> bool;
    /// Whatever is left, loss, and the end.
    fn stop(self, reason: &str) -> Vec<Record>;
}

impl Source for LiveTrace {
    fn header(&self) -> Header {
        self.header()
    }

    fn seeds(&self) -> Vec<Record> {
        self.seeds()
    }

    async fn next(&mut self, timeout: Duration) -> Option<Vec<Record>> {
        self.next(timeout).await
    }

    fn waiting(&mut self, at_least_ns: u64) -> Vec<Record> {
        self.waiting(at_least_ns)
    }

    fn is_target_alive(&self) -> bool {
        self.is_target_alive()
    }

    fn stop(self, reason: &str) -> Vec<Record> {
        self.stop(reason)
    }
}

/// When it ends by itself.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// After so many sessions.
    pub sessions: Option<usize>,
    /// After so much time.
    pub duration: Option<Duration>,
    /// The log keeps only sessions with a command that took at least so long.
    pub slower_than: Option<Duration>,
    /// After the session of this client.
    pub only: Option<Arc<Progress>>,
}

/// What a session may need to end after its client has left; it is not waited for longer, as it may not be one of the traced server.
const END_GRACE: Duration = Duration::from_secs(5);

/// What is shown while it runs.
pub enum View<W> {
    /// The dialogue with its waits.
    Timeline(Timeline<W>),
    /// The calls.
    Strace(Strace<W>),
    /// Nothing.
    None,
}

impl<W: Write> View<W> {
    fn record(&mut self, record: &Record) -> io::Result<()> {
        match self {
            Self::Strace(strace) => strace.record(record),
            Self::Timeline(timeline) => timeline.record(record),
            Self::None => Ok(()),
        }
    }

    fn update(&mut self, update: &Update) -> io::Result<()> {
        match self {
            Self::Timeline(timeline) => timeline.update(update),
            Self::Strace(strace) => strace.update(update),
            Self::None => Ok(()),
        }
    }

    fn flush(&mut self, is_last: bool) -> io::Result<()> {
        match self {
            Self::Timeline(timeline) if is_last => timeline.finish(),
            Self::Strace(strace) => strace.finish(),
            Self::Timeline(_) | Self::None => Ok(()),
        }
    }
}

/// What came of it.
pub struct Finished {
    /// The report.
    pub report: Report,
    /// Who else was accepted.
    pub accepted: Accepted,
    /// There was nothing left to trace.
    pub has_target_ended: bool,
    /// The log could not be written to its end.
    pub log_error: Option<log::Error>,
    /// The view could not be shown to its end.
    pub view_error: Option<io::Error>,
}

/// Signals that end a trace; made before `ready` is said.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// The terminal is lost; behind `nohup` that is nothing to us.
    hangup: Option<Signal>,
}

impl Signals {
    /// Inside a runtime.
    pub fn new() -> io::Result<Self> {
        let hangup = if is_hangup_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())?, hangup })
    }

    async fn any(&mut self) {
        let Self { interrupt, terminate, hangup } = self;
        let hung_up = async {
            match hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hung_up => {}
        }
    }
}

/// Whether whoever started us wants us to outlive the terminal (`SigIgn` in `proc_pid_status(5)`, a mask whose first bit is signal 1).
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0)
}

struct Run<'a, W> {
    log: Option<log::Writer>,
    view: View<W>,
    analysis: Analysis,
    accepted: Accepted,
    updates: Vec<Update>,
    /// Only slow sessions are written.
    lookups: Lookups,
    recorder: Option<Recorder>,
    /// The client whose session is waited for, and whether that has ended.
    only: Option<Arc<Progress>>,
    has_only_ended: bool,
    log_error: Option<log::Error>,
    view_error: Option<io::Error>,
    warn: &'a mut dyn FnMut(&str),
}

/// Runs until a limit, a signal or the target's end. `began`: the log holds header and seeds, so that it can be read whatever happens.
pub(crate) async fn run<W: Write>(
    mut source: impl Source,
    log: Option<log::Writer>,
    view: View<W>,
    limits: Limits,
    mut signals: Signals,
    began: impl FnOnce(),
    warn: &mut dyn FnMut(&str),
) -> Finished {
    let mut run = Run {
        log,
        view,
        analysis: Analysis::new(),
        accepted: Accepted::default(),
        updates: Vec::new(),
        lookups: Lookups::default(),
        recorder: limits.slower_than.map(|time| Recorder::new(time.as_secs_f64())),
        only: limits.only.clone(),
        has_only_ended: false,
        log_error: None,
        view_error: None,
        warn,
    };
    run.take(&[Record::Header(Box::new(source.header()))]);
    let seeds = source.seeds();
    run.take(&seeds);
    run.flush_log();
    began();
    let reason = run.pump(&mut source, &limits, &mut signals).await;
    let last = source.stop(reason);
    run.take(&last);
    run.finish(reason == TARGET_EXITED)
}

impl<W: Write> Run<'_, W> {
    /// The loop; returns why it ended, in the words of the log's last record.
    async fn pump(&mut self, source: &mut impl Source, limits: &Limits, signals: &mut Signals) -> &'static str {
        let began = Instant::now();
        let (mut ticked, mut flushed) = (began, began);
        loop {
            if limits.sessions.is_some_and(|wanted| self.analysis.ended_sessions() >= wanted) {
                return "sessions";
            }
            if self.is_only_over() {
                return "sessions";
            }
            if self.view_error.is_some() || self.is_pipe_closed() {
                return "signal";
            }
            let left = limits.duration.map(|limit| limit.saturating_sub(began.elapsed()));
            if left.is_some_and(|left| left.is_zero()) {
                return "duration";
            }
            let patience = left.map_or(TICK, |left| left.min(TICK));
            tokio::select! {
                () = signals.any() => return "signal",
                records = source.next(patience) => self.take(&records.unwrap_or_default()),
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                // Looks are for the eye: the log gets only those of the end.
                for look in source.waiting(LOOK_NS) {
                    self.feed(&look);
                }
                self.flush_view(false);
                if !source.is_target_alive() {
                    return TARGET_EXITED;
                }
            }
            if flushed.elapsed() >= FLUSH {
                flushed = Instant::now();
                self.flush_log();
            }
        }
    }

    /// Whether the one client's session has ended, or cannot be waited for any more.
    fn is_only_over(&self) -> bool {
        let Some(only) = &self.only else { return false };
        let is_given_up = |over: &Instant| only.client.get().is_none() || over.elapsed() >= END_GRACE;
        self.has_only_ended || only.over.get().is_some_and(is_given_up)
    }

    fn take(&mut self, records: &[Record]) {
        for record in records {
            if !self.lookups.keeps(record) {
                continue;
            }
            match &mut self.recorder {
                Some(recorder) => {
                    let records = recorder.take(record);
                    self.write(&records);
                }
                None => self.write(std::slice::from_ref(record)),
            }
            if self.view_error.is_none() {
                self.view_error = self.view.record(record).err();
            }
            self.feed(record);
        }
    }

    fn write(&mut self, records: &[Record]) {
        for record in records {
            let written = self.log.as_mut().map_or(Ok(()), |log| log.write(record));
            self.log_result(written);
        }
    }

    fn feed(&mut self, record: &Record) {
        self.accepted.record(record);
        let mut updates = std::mem::take(&mut self.updates);
        self.analysis.feed(record, &mut updates);
        self.show(&mut updates);
        self.updates = updates;
    }

    fn show(&mut self, updates: &mut Vec<Update>) {
        for update in updates.drain(..) {
            self.accepted.update(&update);
            if let (Some(only), Update::SessionEnded(session)) = (&self.only, &update) {
                self.has_only_ended |= only.client.get() == Some(&session.client);
            }
            if let (Some(recorder), Update::SessionEnded(session)) = (&mut self.recorder, &update) {
                let records = recorder.ended(session);
                self.write(&records);
            }
            if self.view_error.is_none() {
                self.view_error = self.view.update(&update).err();
            }
        }
    }

    fn flush_view(&mut self, is_last: bool) {
        if self.view_error.is_none() {
            self.view_error = self.view.flush(is_last).err();
        }
    }

    fn flush_log(&mut self) {
        let flushed = self.log.as_mut().map_or(Ok(()), log::Writer::flush);
        self.log_result(flushed);
    }

    /// The first failure is said; tracing goes on without the log: the report may be all that is left.
    fn log_result(&mut self, result: Result<(), log::Error>) {
        let Err(error) = result else { return };
        if !is_broken_pipe(&error) {
            (self.warn)(&format!("{error}; tracing goes on without the log"));
        }
        self.log = None;
        self.log_error = Some(error);
    }

    /// Whoever read the log from standard output has gone.
    fn is_pipe_closed(&self) -> bool {
        self.log_error.as_ref().is_some_and(is_broken_pipe)
    }

    fn finish(mut self, has_target_ended: bool) -> Finished {
        let mut updates = std::mem::take(&mut self.updates);
        let report = self.analysis.finish(&mut updates);
        self.show(&mut updates);
        self.flush_view(true);
        self.flush_log();
        Finished { report, accepted: self.accepted, has_target_ended, log_error: self.log_error, view_error: self.view_error }
    }
}

/// Whether the reader of our output closed it: no failure of ours.
pub fn is_broken_pipe(error: &log::Error) -> bool {
    matches!(error, log::Error::Write { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests;
