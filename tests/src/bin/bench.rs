//! What tracing costs: `bench [--short] [--assert] [--rounds N] [--messages N]`, called by `cargo xtask bench`.
//!
//! In comes a real sendmail under the load of Postfix's `smtp-source`, out goes a table of ratios: in each round every
//! variant has its turn, and is compared with the untraced run of the same round. Nothing sleeps for a fixed time:
//! tracers are waited for until they say that they are ready, and until they have ended.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lab::scenario::Scenario;
use lab::{Lab, Stop};
use rustix::process::{Pid, PidfdFlags, Signal};

/// Connections at a time.
const CLIENTS: usize = 4;
/// Longest time that attaching, detaching, or one run may take.
const LIMIT: Duration = Duration::from_mins(2);
/// `/proc` counts CPU time in these, on every architecture (`USER_HZ`).
const TICKS_PER_S: f64 = 100.0;
/// What the lab gives its own processes; a tracer gets the same, or the scheduler would hide what it costs.
const NICE: i32 = -15;
/// Sessions whose CPU time is compared with the kernel's own account.
const ACCOUNTED: usize = 5;

const MAX_TRACED: f64 = 1.20;
const MAX_NOBODY: f64 = 1.06;
const MAX_PEAK_KIB: u64 = 64 * 1024;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match Options::parse(&arguments).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    rounds: usize,
    messages: usize,
    is_short: bool,
    is_asserting: bool,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let is_short = arguments.iter().any(|argument| argument == "--short");
        let (rounds, messages) = if is_short { (3, 200) } else { (11, 200) };
        let mut options = Self { rounds, messages, is_short, is_asserting: false };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut number = || -> Result<usize> {
                let text = rest.next().with_context(|| format!("{argument} needs a number"))?;
                text.parse().ok().filter(|n| *n > 0).with_context(|| format!("{argument}: `{text}` is no number above 0"))
            };
            match argument.as_str() {
                "--short" => {}
                "--assert" => options.is_asserting = true,
                "--rounds" => options.rounds = number()?,
                "--messages" => options.messages = number()?,
                _ => bail!("usage: bench [--short] [--assert] [--rounds N] [--messages N]"),
            }
        }
        Ok(options)
    }
}

/// Who looks on while the messages pass.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Variant {
    Untraced,
    /// Once more, later in the round: what is noise.
    Again,
    Traced,
    Nobody,
    Strace,
    Bpftrace,
}

impl Variant {
    fn title(self) -> &'static str {
        match self {
            Self::Untraced => "no tracer",
            Self::Again => "no tracer, once more (noise)",
            Self::Traced => "mta-trace, every session into a log",
            Self::Nobody => "mta-trace, a `--client` that matches nobody",
            Self::Strace => "`strace -f -ttt -T`",
            Self::Bpftrace => "bpftrace, the same kind of calls",
        }
    }

    fn all(is_short: bool) -> Vec<Self> {
        let mut all = vec![Self::Untraced, Self::Traced, Self::Nobody, Self::Again, Self::Strace];
        let is_installed = std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join("bpftrace").is_file()));
        match (is_short, is_installed) {
            (false, true) => all.push(Self::Bpftrace),
            (false, false) => eprintln!("bench: no bpftrace here: its line is left out"),
            (true, _) => {}
        }
        all
    }

    /// The tracer, and the word by which it says that it is attached.
    fn command(self, daemon: u32, output: &Path) -> Result<Option<(Command, &'static str)>> {
        let pid = daemon.to_string();
        let mut command;
        let word = match self {
            Self::Untraced | Self::Again => return Ok(None),
            Self::Traced | Self::Nobody => {
                command = Command::new(lab::run::tracer_path()?);
                command.args(["attach", "-p", &pid, "--view", "none", "--force", "-o"]).arg(output);
                if self == Self::Nobody {
                    command.args(["--client", "192.0.2.1"]);
                }
                "ready"
            }
            Self::Strace => {
                command = Command::new("strace");
                command.args(["-f", "-ttt", "-T", "-o", "/dev/null", "-p", &pid]);
                "attached"
            }
            Self::Bpftrace => {
                command = with_tracefs("bpftrace");
                // It is allowed to run a command: the last probe's tells us that all are attached.
                command.args(["--unsafe", "-e", &bpftrace_script(daemon), "-o"]).arg(output);
                "ready"
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        lab::netns::die_with_parent(&mut command);
        Ok(Some((command, word)))
    }
}

/// A command that finds the tracepoints: where tracefs is not mounted, it gets a private mount.
fn with_tracefs(program: &str) -> Command {
    const SCRIPT: &str = "mount -t tracefs tracefs /sys/kernel/tracing && exec \"$@\"";
    if Path::new("/sys/kernel/tracing/events").is_dir() {
        return Command::new(program);
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", SCRIPT, "sh", program]);
    command
}

/// What somebody would write by hand: the calls that wait, of the daemon's descendants, with result and duration.
fn bpftrace_script(daemon: u32) -> String {
    const CALLS: [&str; 6] = ["connect", "sendto", "recvfrom", "poll", "read", "write"];
    let probes = |edge| CALLS.map(|call| format!("tracepoint:syscalls:sys_{edge}_{call}")).join(",\n");
    format!(
        "tracepoint:sched:sched_process_fork /args->parent_pid == {daemon} || @of[args->parent_pid]/ {{ @of[args->child_pid] = 1; }}\n\
         tracepoint:sched:sched_process_exit /@of[tid]/ {{ delete(@of[tid]); }}\n\
         {} /@of[tid]/ {{ @since[tid] = nsecs; }}\n\
         {} /@since[tid]/ {{ printf(\"%llu %d %s %d %llu\\n\", nsecs, tid, probe, args->ret, nsecs - @since[tid]); delete(@since[tid]); }}\n\
         interval:ms:20 /!@ready/ {{ system(\"echo ready >&2\"); @ready = 1; }}\n\
         END {{ clear(@ready); clear(@of); clear(@since); }}",
        probes("enter"),
        probes("exit"),
    )
}

/// What one run showed.
struct Run {
    wall_s: f64,
    sendmail_cpu_s: f64,
    cost: Option<Cost>,
    log: Option<Log>,
}

/// What a tracer used.
struct Cost {
    attach_s: f64,
    detach_s: f64,
    user_s: f64,
    system_s: f64,
    peak_kib: u64,
}

fn run(options: &Options) -> Result<()> {
    let lab = Lab::up(&Scenario::named("fast")?)?;
    let variants = Variant::all(options.is_short);
    let (mut runs, mut loads) = (BTreeMap::<Variant, Vec<Run>>::new(), Vec::new());
    load(&lab, CLIENTS * 5).context("warm up")?;
    for round in 0..options.rounds {
        loads.push(load_average()?);
        for turn in 0..variants.len() {
            // Each round begins with another one, so that nobody always follows strace.
            let Some(&variant) = variants.get((turn + round) % variants.len()) else { continue };
            let run = measure(&lab, variant, options.messages).with_context(|| variant.title().to_owned())?;
            eprintln!("round {}: {:<44} {:7.3} s", round + 1, variant.title(), run.wall_s);
            runs.entry(variant).or_default().push(run);
        }
    }
    let accounts = accounts(&lab)?;
    let results = Results { options, runs, accounts, loads };
    let text = results.markdown();
    let path = lab::packages::target_dir().join("bench.md");
    std::fs::write(&path, &text).with_context(|| format!("write {}", path.display()))?;
    // Whoever closed our output has what he wanted; the file is there.
    let _ = std::io::stdout().write_all(text.as_bytes());
    let problems = results.problems();
    if options.is_asserting && !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    for problem in &problems {
        eprintln!("bench: {problem}");
    }
    Ok(())
}

fn measure(lab: &Lab, variant: Variant, messages: usize) -> Result<Run> {
    clean_queue(lab)?;
    let output = lab.dir().join("bench-output");
    let tracer = match variant.command(lab.daemon_pid(), &output)? {
        Some((command, word)) => Some(Tracer::start(command, word)?),
        None => None,
    };
    let cpu_before_s = sendmail_cpu_s(lab)?;
    let wall_s = load(lab, messages)?;
    let sendmail_cpu_s = sendmail_cpu_s(lab)? - cpu_before_s;
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
fn load(lab: &Lab, messages: usize) -> Result<f64> {
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
fn wait_reaped(lab: &Lab) -> Result<()> {
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

fn clean_queue(lab: &Lab) -> Result<()> {
    queue(lab)?.iter().try_for_each(|path| std::fs::remove_file(path).with_context(|| format!("remove {}", path.display())))
}

fn is_control_file(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"qf"))
}

/// A tracer from its start to its end.
struct Tracer {
    child: Child,
    pidfd: OwnedFd,
    lines: Receiver<String>,
    attach_s: f64,
    cpu_at_ready_s: [f64; 4],
}

impl Tracer {
    fn start(mut command: Command, word: &str) -> Result<Self> {
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
        tracer.cpu_at_ready_s = cpu_s(tracer.child.id())?;
        Ok(tracer)
    }

    /// Interrupts it and waits for its end.
    fn stop(mut self) -> Result<Cost> {
        let began = Instant::now();
        // The peak is gone with the process, so it is looked at until then.
        let (stop, mut peak_kib) = (Stop::new()?, peak(self.child.id()).unwrap_or(0));
        rustix::process::pidfd_send_signal(&self.pidfd, Signal::INT).context("interrupt the tracer")?;
        while stop.wait_readable_for(&self.pidfd, Duration::from_millis(1)) != Some(true) {
            peak_kib = peak(self.child.id()).unwrap_or(0).max(peak_kib);
            ensure!(began.elapsed() < LIMIT, "the tracer does not end");
        }
        let detach_s = began.elapsed().as_secs_f64();
        // It has ended but is not reaped: its account is complete and still there.
        let [user_s, system_s, ..] = cpu_s(self.child.id())?;
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

/// User and system time of a process, and of the children that it has reaped.
fn cpu_s(pid: u32) -> Result<[f64; 4]> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("read /proc/{pid}/stat"))?;
    // The name may hold anything; the 14th field is the 12th behind it (proc_pid_stat(5)).
    let (_, fields) = text.rsplit_once(')').context("/proc/PID/stat without a name")?;
    let ticks: Vec<f64> = fields.split_whitespace().skip(11).take(4).filter_map(|field| field.parse().ok()).collect();
    let ticks: [f64; 4] = ticks.try_into().ok().context("/proc/PID/stat without times")?;
    Ok(ticks.map(|ticks| ticks / TICKS_PER_S))
}

fn sendmail_cpu_s(lab: &Lab) -> Result<f64> {
    Ok(cpu_s(lab.daemon_pid())?.iter().sum())
}

fn peak(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.split_whitespace().next()?.parse().ok()
}

fn load_average() -> Result<String> {
    let text = std::fs::read_to_string("/proc/loadavg").context("read /proc/loadavg")?;
    Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
}

/// What a tracer wrote down.
#[derive(Default)]
struct Log {
    bytes: u64,
    events: u64,
    lost: u64,
    truncated: u64,
    sessions: usize,
    complete: usize,
    by_kind: BTreeMap<String, u64>,
}

impl Log {
    fn read(path: &Path) -> Result<Self> {
        let mut log = Self { bytes: size(path)?, ..Self::default() };
        for record in records(path)? {
            let record = record?;
            let kind = text(&record, "k");
            match kind.as_str() {
                "loss" => {
                    // Counts since the start, so the last is the sum; the report has its own idea of it below.
                    log.lost = ["ring", "fault", "tables"].iter().map(|cause| number(&record, cause)).sum();
                }
                "header" | "seed.proc" | "seed.fd" | "seed.file" | "clock" | "end" => {}
                _ => {
                    log.events += 1;
                    let name = if kind == "sys" { text(&record, "call") } else { kind };
                    *log.by_kind.entry(name).or_default() += 1;
                }
            }
        }
        let report = report(path)?;
        let summary = report.get("log").context("a report without `log`")?;
        log.lost = log.lost.max(number(summary, "lost"));
        log.truncated = number(summary, "truncated");
        let sessions = report.get("sessions").and_then(serde_json::Value::as_array).context("a report without sessions")?;
        log.sessions = sessions.len();
        let is_complete = |session: &&serde_json::Value| session.get("complete") == Some(&serde_json::Value::Bool(true));
        log.complete = sessions.iter().filter(is_complete).count();
        Ok(log)
    }

    fn of_bpftrace(path: &Path) -> Result<Self> {
        let mut log = Self { bytes: size(path)?, ..Self::default() };
        for line in BufReader::new(File::open(path).context("open bpftrace's output")?).lines() {
            let line = line.context("read bpftrace's output")?;
            match line.strip_prefix("Lost ").and_then(|rest| rest.split(' ').next()) {
                Some(lost) => log.lost += lost.parse::<u64>().unwrap_or(1),
                None => log.events += 1,
            }
        }
        Ok(log)
    }
}

fn size(path: &Path) -> Result<u64> {
    Ok(std::fs::metadata(path).with_context(|| format!("stat {}", path.display()))?.len())
}

fn records(path: &Path) -> Result<impl Iterator<Item = Result<serde_json::Value>>> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    Ok(BufReader::new(file).lines().map(|line| serde_json::from_str(&line?).context("a line of the log is no JSON")))
}

fn text(value: &serde_json::Value, name: &str) -> String {
    value.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

fn number(value: &serde_json::Value, name: &str) -> u64 {
    value.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0)
}

fn report(log: &Path) -> Result<serde_json::Value> {
    let mut command = Command::new(lab::run::tracer_path()?);
    let output = command.arg("report").arg(log).args(["--format", "json"]).stdin(Stdio::null()).output();
    let output = output.context("run mta-trace report")?;
    ensure!(output.status.success(), "mta-trace report: {}", String::from_utf8_lossy(&output.stderr).trim());
    serde_json::from_slice(&output.stdout).context("parse the report")
}

/// CPU time of one session until it waits for QUIT, by the kernel and by the tracer; seconds.
struct Account {
    kernel: f64,
    /// The counter in the log's first record after that.
    counter: f64,
    /// The sum of the report's commands until then.
    commands: f64,
}

/// Plays some sessions, traced, and reads the serving child's account just before QUIT.
fn accounts(lab: &Lab) -> Result<Vec<Account>> {
    let output = lab.dir().join("bench-output");
    let (command, word) = Variant::Traced.command(lab.daemon_pid(), &output)?.context("a tracer")?;
    let tracer = Tracer::start(command, word)?;
    let readings = (0..ACCOUNTED).map(|_| session(lab)).collect::<Result<Vec<_>>>()?;
    tracer.stop()?;
    let records = records(&output)?.collect::<Result<Vec<_>>>()?;
    let report = report(&output)?;
    let sessions = report.get("sessions").and_then(serde_json::Value::as_array).context("a report without sessions")?;
    readings.iter().map(|reading| reading.account(&records, sessions)).collect()
}

struct Reading {
    pid: u32,
    t_ns: u64,
    cpu_ns: u64,
}

/// One session by hand; the child is read while it waits for the last command.
fn session(lab: &Lab) -> Result<Reading> {
    let mut stream = lab.connect()?;
    stream.set_read_timeout(Some(LIMIT)).context("set a time limit")?;
    let mut replies = BufReader::new(stream.try_clone().context("copy the connection")?);
    let mut reply = || -> Result<()> {
        let mut line = String::new();
        replies.read_line(&mut line).context("read a reply")?;
        ensure!(line.starts_with(['2', '3']), "sendmail says {line}");
        Ok(())
    };
    reply()?;
    for line in ["HELO client.lab.test", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA", "Subject: test\r\n\r\nhello\r\n."] {
        write!(stream, "{line}\r\n").context("send a command")?;
        reply()?;
    }
    let &[pid] = lab.serving().as_slice() else { bail!("not one serving process") };
    let reading = settled(pid)?;
    write!(stream, "QUIT\r\n").context("send QUIT")?;
    reply()?;
    wait_reaped(lab)?;
    Ok(reading)
}

/// The CPU time of a process that has come to rest: the same twice.
fn settled(pid: u32) -> Result<Reading> {
    let read = || -> Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).context("read /proc/PID/schedstat")?;
        text.split_whitespace().next().and_then(|field| field.parse().ok()).context("/proc/PID/schedstat")
    };
    let pause = Stop::new()?;
    let mut cpu_ns = read()?;
    loop {
        pause.pass(Duration::from_millis(10));
        let again_ns = read()?;
        if again_ns == cpu_ns {
            return Ok(Reading { pid, t_ns: lab::journal::now_ns(), cpu_ns });
        }
        cpu_ns = again_ns;
    }
}

impl Reading {
    fn account(&self, records: &[serde_json::Value], sessions: &[serde_json::Value]) -> Result<Account> {
        let is_next = |record: &&serde_json::Value| {
            number(record, "pid") == u64::from(self.pid) && text(record, "k") == "sys" && number(record, "t") > self.t_ns
        };
        let next = records.iter().find(is_next).context("no record of the session after the reading")?;
        let is_own = |session: &&serde_json::Value| number(session, "pid") == u64::from(self.pid);
        let session = sessions.iter().find(is_own).context("the session is not in the report")?;
        let commands = session.get("commands").and_then(serde_json::Value::as_array).context("a session without commands")?;
        let before_quit = commands.iter().take_while(|command| text(command, "verb") != "QUIT");
        let cpu = |command: &serde_json::Value| command.get("cpu_s").and_then(serde_json::Value::as_f64);
        Ok(Account {
            kernel: lab::journal::seconds(self.cpu_ns),
            counter: lab::journal::seconds(number(next, "cpu_ns")),
            commands: before_quit.filter_map(cpu).sum(),
        })
    }
}

/// Everything that was measured.
struct Results<'a> {
    options: &'a Options,
    runs: BTreeMap<Variant, Vec<Run>>,
    accounts: Vec<Account>,
    loads: Vec<String>,
}

impl Results<'_> {
    fn of(&self, variant: Variant) -> &[Run] {
        self.runs.get(&variant).map_or(&[], Vec::as_slice)
    }

    /// A variant's value through the untraced one, round by round.
    fn ratios(&self, variant: Variant, value: impl Fn(&Run) -> f64) -> Spread {
        let untraced = self.of(Variant::Untraced);
        Spread::of(self.of(variant).iter().zip(untraced).map(|(run, base)| value(run) / value(base)))
    }

    fn markdown(&self) -> String {
        let Options { rounds, messages, .. } = self.options;
        let mut text = format!(
            "# What tracing costs\n\n\
             sendmail with queue-only delivery to a spool in memory, {CLIENTS} clients at a time, {messages} messages, one a session, \
             by Postfix's smtp-source; {rounds} rounds, in each of which every line had its turn. Ratios to the untraced \
             run of the same round: median (least to greatest).\n\n\
             | | time of the clients | CPU time of sendmail |\n|---|---|---|\n"
        );
        for &variant in self.runs.keys() {
            let wall = self.ratios(variant, |run| run.wall_s);
            let cpu = self.ratios(variant, |run| run.sendmail_cpu_s);
            let _ = if variant == Variant::Untraced {
                let per_session = |value: fn(&Run) -> f64| Spread::of(self.of(variant).iter().map(|run| value(run) / *messages as f64 * 1e3)).show(2);
                let (wall, cpu) = (per_session(|run| run.wall_s), per_session(|run| run.sendmail_cpu_s));
                writeln!(text, "| {} | 1; {wall} ms a message | 1; {cpu} ms a message |", variant.title())
            } else {
                writeln!(text, "| {} | {} | {} |", variant.title(), wall.show(3), cpu.show(3))
            };
        }
        self.costs(&mut text);
        self.events(&mut text);
        self.accounts(&mut text);
        let system = rustix::system::uname();
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let _ = writeln!(
            text,
            "\nLinux {}, {cores} cores; load average at the beginning of each round: {}.",
            system.release().to_string_lossy(),
            self.loads.join(", "),
        );
        text
    }

    fn costs(&self, text: &mut String) {
        text.push_str(
            "\n| | attach, s | detach, s | user CPU, s per 1000 sessions | system CPU, s per 1000 sessions | peak RSS, MiB |\n\
             |---|---|---|---|---|---|\n",
        );
        for (variant, runs) in &self.runs {
            let of = |value: &dyn Fn(&Cost) -> f64| Spread::of(runs.iter().filter_map(|run| run.cost.as_ref()).map(value));
            if runs.iter().all(|run| run.cost.is_none()) {
                continue;
            }
            let thousands = self.options.messages as f64 / 1e3;
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} |",
                variant.title(),
                of(&|cost| cost.attach_s).show(2),
                of(&|cost| cost.detach_s).show(2),
                of(&|cost| cost.user_s / thousands).show(2),
                of(&|cost| cost.system_s / thousands).show(2),
                of(&|cost| cost.peak_kib as f64 / 1024.0).show(1),
            );
        }
    }

    fn events(&self, text: &mut String) {
        text.push_str("\n| | events a session | bytes a session | sessions (complete) a run | events lost, all rounds | truncated |\n|---|---|---|---|---|---|\n");
        let per_session = |n: u64| n as f64 / self.options.messages as f64;
        for (variant, runs) in &self.runs {
            let logs: Vec<&Log> = runs.iter().filter_map(|run| run.log.as_ref()).collect();
            let Some(last) = logs.last() else { continue };
            let sessions = if *variant == Variant::Bpftrace { "-".to_owned() } else { format!("{} ({})", last.sessions, last.complete) };
            let _ = writeln!(
                text,
                "| {} | {:.1} | {:.0} | {sessions} | {} | {} |",
                variant.title(),
                per_session(last.events),
                per_session(last.bytes),
                logs.iter().map(|log| log.lost).sum::<u64>(),
                logs.iter().map(|log| log.truncated).sum::<u64>(),
            );
        }
        let Some(log) = self.of(Variant::Traced).last().and_then(|run| run.log.as_ref()) else { return };
        let mut kinds: Vec<(&String, &u64)> = log.by_kind.iter().collect();
        kinds.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
        let kinds = kinds.iter().map(|(name, n)| format!("{name} {:.1}", per_session(**n))).collect::<Vec<_>>();
        let _ = writeln!(text, "\nEvents of a traced session: {}.", kinds.join(", "));
    }

    fn accounts(&self, text: &mut String) {
        text.push_str(
            "\nCPU time of the serving process until it waits for QUIT, ms:\n\n\
             | `/proc/PID/schedstat` | counter in the log | difference | sum of `cpu_s`, CONNECT to EOM |\n|---|---|---|---|\n",
        );
        for Account { kernel, counter, commands } in &self.accounts {
            let difference_s = counter - kernel;
            let _ = writeln!(text, "| {:.3} | {:.3} | {:+.3} | {:.3} |", kernel * 1e3, counter * 1e3, difference_s * 1e3, commands * 1e3);
        }
    }

    /// What is not as it must be.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (variant, limit) in [(Variant::Traced, MAX_TRACED), (Variant::Nobody, MAX_NOBODY)] {
            let ratio = self.ratios(variant, |run| run.wall_s).median;
            if ratio > limit {
                problems.push(format!("{}: {ratio:.3} times the untraced run, at most {limit:.2} is allowed", variant.title()));
            }
            let peak_kib = self.of(variant).iter().filter_map(|run| run.cost.as_ref()).map(|cost| cost.peak_kib).max();
            if peak_kib.is_none_or(|peak| peak == 0 || peak > MAX_PEAK_KIB) {
                problems.push(format!("{}: a peak of {peak_kib:?} KiB, at most {MAX_PEAK_KIB} is allowed", variant.title()));
            }
            let wanted = if variant == Variant::Traced { self.options.messages } else { 0 };
            for log in self.of(variant).iter().filter_map(|run| run.log.as_ref()) {
                if log.lost > 0 || log.sessions != wanted || log.complete != wanted {
                    let Log { lost, sessions, complete, .. } = log;
                    problems.push(format!("{}: {lost} events lost; {sessions} sessions, {complete} complete, of {wanted}", variant.title()));
                }
            }
        }
        for Account { kernel, counter, commands } in &self.accounts {
            for (name, s) in [("the counter", counter), ("the sum of cpu_s", commands)] {
                if (s - kernel).abs() > (kernel * 0.02).max(0.002) {
                    problems.push(format!("CPU time of a session: {kernel:.6} s, but {name} is {s:.6} s"));
                }
            }
        }
        problems
    }
}

/// Some values: their middle and their ends.
struct Spread {
    median: f64,
    least: f64,
    greatest: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) { f64::midpoint(at(middle.saturating_sub(1)), at(middle)) } else { at(middle) };
        Self { median, least: at(0), greatest: at(values.len().saturating_sub(1)) }
    }

    fn show(&self, digits: usize) -> String {
        format!("{:.digits$} ({:.digits$} to {:.digits$})", self.median, self.least, self.greatest)
    }
}
