//! The command line: what is asked for, what runs, what the exit code is.
//!
//! In: argv. Out: results on standard output, everything else on standard error, an exit code: 0 done, 1 failed,
//! 2 usage, 3 not permitted or kernel not able. The only file that knows clap. Not here: any analysis.

mod doctor;
mod duration;
mod export;
mod output;
mod probe;
mod progress;
mod size;

use crate::analysis::Analysis;
use crate::compare::{Side, compare};
use crate::event::{Header, Record};
use crate::kernel;
use crate::live::{self, Finished, Limits, Signals, View};
use crate::log;
use crate::options::{AttachOptions, Cidr, Hooks};
use crate::report::Report;
use crate::source;
use crate::update::Update;
use crate::view::{accepted::Accepted, comparison, json, strace::Strace, summary, timeline::Timeline};
use clap::{Args, Parser, Subcommand, ValueEnum};
use output::{Failure, say};
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  mta-trace attach                            whatever listens on port 25
  mta-trace attach -p 1234 --client 192.0.2.7 --sessions 1 -o slow.jsonl
                                              one test session of one client, kept
  mta-trace probe --to 127.0.0.1 --from a@example.com --rcpt b@example.net
                                              play a session and trace it
  mta-trace report slow.jsonl                 the same report again
  mta-trace report slow.jsonl --format json | jq '.sessions[].findings'
  mta-trace doctor                            can it run here?

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not permitted or kernel not able.";

const ATTACH_EXAMPLES: &str = "\
Examples:
  mta-trace attach                            whatever listens on port 25
  mta-trace attach -p 1234                    this daemon, or the one session of this child
  mta-trace attach --client 192.0.2.0/24 --client 2001:db8::/32 --sessions 3
  mta-trace attach --duration 5m --view none -o mail.jsonl.zst
  mta-trace attach --slower-than 5s --log-max-size 100M --view none -o slow.jsonl
                                              a flight recorder for days
  mta-trace attach -o - --view none | mta-trace report -

The line with the word `ready` on standard error says that every hook is in place.
Ctrl-C ends the trace and prints the report.";

const REPORT_EXAMPLES: &str = "\
Examples:
  mta-trace report slow.jsonl
  mta-trace report slow.jsonl.zst --format json -o slow.json
  ssh mail mta-trace attach --sessions 1 -o - | mta-trace report -";

const DIFF_EXAMPLES: &str = "\
Examples:
  mta-trace diff before.jsonl after.jsonl
  mta-trace diff monday.jsonl.zst tuesday.jsonl.zst | tail -1

The exit code is 0 whatever the difference. Times are medians of all sessions; what
differs by less than 10 ms or a tenth is the same.";

/// Shows why a mail server makes its clients wait.
#[derive(Debug, Parser)]
#[command(name = "mta-trace", version, after_help = EXAMPLES, arg_required_else_help = true, max_term_width = 80)]
struct Cli {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Trace a running mail server and say what each SMTP command waited for
    #[command(after_help = ATTACH_EXAMPLES)]
    Attach(Attach),
    /// Play a test session against a server, and trace it
    #[command(after_help = probe::EXAMPLES)]
    Probe(probe::Probe),
    /// Make the report again from a saved log
    #[command(after_help = REPORT_EXAMPLES)]
    Report(Replay),
    /// Write a log in the format of another program
    #[command(after_help = export::EXAMPLES)]
    Export(export::Export),
    /// Show what a change of the configuration did: two logs side by side
    #[command(after_help = DIFF_EXAMPLES)]
    Diff {
        /// Log of before the change; - is standard input
        #[arg(value_name = "LOG_BEFORE")]
        before: String,
        /// Log of after it
        #[arg(value_name = "LOG_AFTER")]
        after: String,
    },
    /// Tell whether tracing can work here, and what is missing
    Doctor {
        /// Also list the eBPF programs: instructions that the verifier walked through, bytes
        #[arg(long)]
        programs: bool,
    },
}

/// Which mail server.
#[derive(Debug, Args)]
struct Selection {
    /// The mail server's daemon, or one child that serves a session already
    #[arg(short, long, value_name = "PID", conflicts_with_all = ["port", "mta"], value_parser = parse_pid)]
    pid: Option<u32>,
    /// Port on which the mail server listens [default: 25]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Name of the mail server: sendmail, postfix, exim, opensmtpd
    #[arg(long, value_name = "NAME")]
    mta: Option<String>,
}

/// How it is traced.
#[derive(Debug, Args)]
struct How {
    /// Waits below this are only summed up
    #[arg(long, value_name = "TIME", default_value = "1ms", value_parser = duration::parse)]
    min_wait: Duration,
    /// Do not look at what the processes wait for, for which a session waits: milters, policy services, the mail server's own
    #[arg(long)]
    no_chains: bool,
    /// How the kernel tells of completed system calls
    #[arg(long, value_name = "HOOKS", default_value = "auto")]
    hooks: HooksKind,
    /// Size of the buffer in which events wait to be read, a power of two; larger where events were LOST
    #[arg(long, value_name = "SIZE", default_value = "4M", value_parser = size::parse_ring)]
    ring_size: u32,
    /// Write every record of the ring as it is into this file; for tests
    #[arg(long, value_name = "FILE", hide = true)]
    ring_dump: Option<std::path::PathBuf>,
}

impl How {
    fn options(self, selection: Selection, clients: Vec<Cidr>, existing: bool) -> AttachOptions {
        let Selection { pid, port, mta } = selection;
        AttachOptions {
            pid,
            port,
            mta,
            clients,
            existing,
            min_wait_ns: u64::try_from(self.min_wait.as_nanos()).unwrap_or(u64::MAX),
            chains: !self.no_chains,
            hooks: match self.hooks {
                HooksKind::Auto => Hooks::Auto,
                HooksKind::Fentry => Hooks::Fentry,
                HooksKind::Tracepoint => Hooks::Tracepoint,
            },
            ring_bytes: Some(self.ring_size),
            ring_dump: self.ring_dump,
        }
    }
}

#[derive(Debug, Args)]
struct Attach {
    #[command(flatten)]
    selection: Selection,
    /// Only sessions of these clients: an address or a network such as 192.0.2.0/24; may be repeated
    #[arg(long, value_name = "CIDR")]
    client: Vec<Cidr>,
    /// Also sessions that are running already
    #[arg(long)]
    existing: bool,
    /// End after N sessions have ended
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    sessions: Option<u32>,
    /// End after this time, such as 30s, 5m, 1h30m
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    duration: Option<Duration>,
    /// Keep the event log in this file (.zst compresses; - is standard output)
    #[arg(short, long, value_name = "LOG")]
    output: Option<String>,
    /// Overwrite the log if it exists
    #[arg(long, requires = "output")]
    force: bool,
    /// Keep only sessions in which a command, or a wait before or between them, took at least this time: a flight recorder for days
    #[arg(long, value_name = "TIME", requires = "output", value_parser = duration::parse)]
    slower_than: Option<Duration>,
    /// When the log is larger than this, such as 100M, it is renamed to LOG.1 and begun again; looked at once a second
    #[arg(long, value_name = "SIZE", requires = "output", value_parser = size::parse)]
    log_max_size: Option<u64>,
    #[command(flatten)]
    how: How,
    /// What is shown while it runs [default: timeline; none with -o -]
    #[arg(long, value_name = "VIEW")]
    view: Option<ViewKind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ViewKind {
    /// The dialogue, with the waits in between
    Timeline,
    /// The system calls, in strace's form
    Strace,
    /// Nothing; the report comes at the end
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum HooksKind {
    /// fentry where the kernel attaches it, else tracepoint
    Auto,
    /// A program on each call's own function: costs other processes next to nothing
    Fentry,
    /// One program on the tracepoint of all calls: works everywhere
    Tracepoint,
}

#[derive(Debug, Args)]
struct Replay {
    /// A log that `attach -o` wrote; - is standard input
    log: String,
    /// Form of the report
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Write the report into this file, which must not exist
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people, 80 columns
    Text,
    /// mta-trace.report/1
    Json,
}

/// Parses the command line, does it, and says how it ended.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output and is no error; a closed pipe does not matter here.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(output::USAGE));
        }
    };
    let done = match cli.command {
        Sub::Attach(attach) => run_attach(attach),
        Sub::Probe(probe) => probe::run(probe),
        Sub::Report(replay) => run_report(&replay),
        Sub::Export(asked) => export::run(&asked),
        Sub::Diff { before, after } => run_diff(&before, &after),
        Sub::Doctor { programs } => doctor::run(programs),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

/// Up to the kernel's own limit (`PID_MAX_LIMIT`).
fn parse_pid(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|pid| (1..=4_194_304).contains(pid));
    number.ok_or_else(|| format!("`{text}` is no process id; write the number that `pgrep -o sendmail` prints"))
}

fn run_attach(attach: Attach) -> Result<(), Failure> {
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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::io)?;
    let finished = runtime.block_on(async {
        let trace = source::attach(&options).inspect_err(|_| output::discard(attach.output.as_deref(), attach.force))?;
        let signals = Signals::new().map_err(Failure::io)?;
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
fn stranger(header: &Header) -> Option<String> {
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
fn ready_line(header: &Header) -> String {
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

fn run_report(replay: &Replay) -> Result<(), Failure> {
    // Text is for people, and the same as live; JSON is for programs, which may want every session.
    let analysis = match replay.format {
        Format::Text => Analysis::new(),
        Format::Json => Analysis::keeping_all(),
    };
    let (report, accepted) = analyse(&replay.log, analysis, |_| {})?;
    let mut text = Vec::new();
    match replay.format {
        Format::Text => text.extend_from_slice(summary::text(&report, &accepted).as_bytes()),
        Format::Json => json::write(&mut text, &report).map_err(Failure::io)?,
    }
    output::write_new(replay.output.as_deref().unwrap_or("-"), &text)
}

fn run_diff(before: &str, after: &str) -> Result<(), Failure> {
    let side = |path: &str| {
        let mut side = Side::default();
        let (report, _) = analyse(path, Analysis::new(), |update| {
            if let Update::SessionEnded(session) = update {
                side.add(session);
            }
        })?;
        if report.log.lost > 0 {
            say(&format!("{path}: {} events were lost when it was recorded: its times may be wrong or missing", report.log.lost));
        }
        Ok::<_, Failure>(side)
    };
    let (before, after) = (side(before)?, side(after)?);
    output::write_new("-", comparison::text(&compare(&before, &after)).as_bytes())
}

/// The same analysis as live, from a log; `see` is told what it says.
fn analyse(path: &str, mut analysis: Analysis, mut see: impl FnMut(&Update)) -> Result<(Report, Accepted), Failure> {
    let mut accepted = Accepted::default();
    let mut updates = Vec::new();
    for item in log::read(path)? {
        match item? {
            log::Item::Record(record) => {
                accepted.record(&record);
                analysis.feed(&record, &mut updates);
            }
            log::Item::Unreadable { line, reason } => {
                analysis.note_unreadable();
                say(&format!("{path}: line {line} cannot be read and is passed over: {reason}"));
            }
            log::Item::Unknown { .. } => analysis.note_unknown(),
            // The report says that the end is missing.
            log::Item::Cut { .. } => {}
        }
        for update in updates.drain(..) {
            accepted.update(&update);
            see(&update);
        }
    }
    let report = analysis.finish(&mut updates);
    for update in &updates {
        accepted.update(update);
        see(update);
    }
    Ok((report, accepted))
}
