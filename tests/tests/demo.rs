//! The demonstration as a user runs it, ended before its time: whatever happens, nothing is left behind but the log.
//!
//! In come the lab's binary and a signal, or surroundings that lack something; out come its exit code, what it said, and the
//! namespaces, links, processes and files of before. Its whole course is the live scenario `the-case`. Needs root.

use anyhow::{Context as _, Result, ensure};
use lab::harness::{self, Case};
use lab::tracer::{self, Ended, READY, Tracer};
use libtest_mimic::Failed;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, PipeReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{env, fs};

/// Longest time for anything that is expected to happen; the whole demonstration takes less than a minute.
const LIMIT: Duration = Duration::from_mins(2);
/// By which it says that the dialogue waits for the name server.
const IN_THE_MIDDLE: &str = "MAIL FROM";

fn folder(name: &str) -> Result<PathBuf> {
    let dir = lab::packages::target_dir().join("lab-out").join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    dir.canonicalize().context("folder")
}

fn demo(log: &Path) -> Result<Command> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.arg("demo").arg(log).env("MTA_TRACE_BIN", lab::run::tracer_path()?.canonicalize()?);
    Ok(command)
}

/// What a run could leave behind.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    links: BTreeSet<String>,
    temporary: BTreeSet<String>,
}

impl Machine {
    fn look() -> Result<Self> {
        let names = |dir: &Path| -> Result<BTreeSet<String>> {
            fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        };
        let mut temporary = names(&env::temp_dir())?;
        temporary.retain(|name| name.starts_with("mta-trace"));
        Ok(Self { links: names(Path::new("/sys/class/net"))?, temporary })
    }
}

/// Processes in network namespaces that are not this one: those of a lab, and of services that have one of their own.
fn in_namespaces() -> Result<BTreeSet<String>> {
    let own = fs::read_link("/proc/self/ns/net")?;
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        // Kernel threads and processes that have just ended have no link.
        if entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit())
            && fs::read_link(entry.path().join("ns/net")).is_ok_and(|link| link != own)
        {
            found.insert(format!("{} {}", entry.file_name().display(), fs::read_to_string(entry.path().join("comm")).unwrap_or_default().trim()));
        }
    }
    Ok(found)
}

/// Reads the timeline until the line comes.
fn wait_for(output: &mut BufReader<PipeReader>, part: &str) -> Result<()> {
    let mut lines = String::new();
    while !lines.contains(part) {
        ensure!(output.read_line(&mut lines)? > 0, "the timeline ended without {part}: {lines}");
    }
    Ok(())
}

/// Starts it, sends the signal in the middle of the session, and looks what is left.
fn interrupted(command: &mut Command, log: &Path, signal: Signal, code: i32) -> Result<Ended> {
    let before = Machine::look()?;
    let others = in_namespaces()?;
    let (reader, writer) = std::io::pipe()?;
    let mut output = BufReader::new(reader);
    command.stdout(writer);
    let demo = Tracer::start(command, |_| {})?;
    // Only the demonstration may hold the writing end, or the timeline never ends.
    command.stdout(std::process::Stdio::null());
    demo.wait_for(READY, LIMIT)?;
    wait_for(&mut output, IN_THE_MIDDLE)?;
    demo.signal(signal)?;
    // Nobody is held up by a full pipe.
    let rest = std::thread::spawn(move || output.lines().map_while(Result::ok).collect::<Vec<_>>());
    let ended = demo.wait(LIMIT)?;
    let rest = rest.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?;
    ensure!(ended.status.code() == Some(code), "{}: {}", ended.status, ended.stderr);
    ensure!(ended.stderr.contains("demo: interrupted; the log so far is "), "{}", ended.stderr);
    ensure!(rest.iter().any(|line| line.contains("still open when the trace ended")), "no report: {rest:#?}");
    let report = tracer::run(Command::new(lab::run::tracer_path()?).arg("report").arg(log), LIMIT)?.success()?;
    ensure!(String::from_utf8_lossy(&report.stdout).contains("1 session"), "the log cannot be read: {}", report.stderr);
    ensure!(Machine::look()? == before, "before {before:?}, after {:?}", Machine::look()?);
    let left: Vec<String> = in_namespaces()?.difference(&others).cloned().collect();
    ensure!(left.is_empty(), "processes are left: {left:?}");
    Ok(ended)
}

fn an_interrupted_demonstration_leaves_only_its_log() -> Result<()> {
    for (name, signal, code) in [("int", Signal::INT, 130), ("term", Signal::TERM, 143)] {
        let log = folder(&format!("demo-{name}"))?.join("log.jsonl");
        let ended = interrupted(&mut demo(&log)?, &log, signal, code).with_context(|| name.to_owned())?;
        ensure!(ended.stderr.contains("a real sendmail"), "{name}: {}", ended.stderr);
    }
    Ok(())
}

/// Without apt and without a cache there is no sendmail.
fn without_sendmail_the_small_server_serves() -> Result<()> {
    let dir = folder("demo-small")?;
    let (log, path) = (dir.join("log.jsonl"), dir.join("bin"));
    fs::create_dir(&path)?;
    for tool in ["ip", "nft", "sh", "readlink"] {
        let dirs = env::var_os("PATH").unwrap_or_default();
        let found = env::split_paths(&dirs).chain(["/usr/sbin".into()]).map(|dir| dir.join(tool)).find(|path| path.is_file());
        symlink(found.with_context(|| format!("{tool} is not installed"))?, path.join(tool))?;
    }
    let mut command = demo(&log)?;
    command.env("PATH", &path).env("MTA_TRACE_LAB_CACHE", dir.join("cache"));
    let ended = interrupted(&mut command, &log, Signal::INT, 130)?;
    ensure!(ended.stderr.contains("no sendmail can be had here") && ended.stderr.contains("a small forking server"), "{}", ended.stderr);
    Ok(())
}

/// Root without a capability, and a user who is not root: a recorded session, and the exit code 3.
fn where_tracing_is_not_permitted_a_recorded_session_is_shown() -> Result<()> {
    let log = folder("demo-refused")?.join("log.jsonl");
    let demo = demo(&log)?;
    for wrapper in [&["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"][..], &["unshare", "--user", "--map-user=65534", "--map-group=65534"]]
    {
        let [program, args @ ..] = wrapper else { continue };
        let mut command = Command::new(program);
        command.args(args).arg(demo.get_program()).args(demo.get_args()).env("MTA_TRACE_BIN", lab::run::tracer_path()?.canonicalize()?);
        let ended = tracer::run(&mut command, LIMIT)?;
        let out = String::from_utf8_lossy(&ended.stdout);
        ensure!(ended.status.code() == Some(3), "{program}: {}: {}", ended.status, ended.stderr);
        ensure!(ended.stderr.contains("tracing is not permitted here") && ended.stderr.contains("recorded earlier"), "{program}: {}", ended.stderr);
        ensure!(out.contains("MAIL waited 20.02 s for DNS"), "{program}: {out}");
        ensure!(!log.exists(), "{program}: a log was written");
    }
    Ok(())
}

fn main() -> ExitCode {
    let case = |name, test: fn() -> Result<()>| Case::new(name, true, move || test().map_err(|error| Failed::from(format!("{error:#}"))));
    let cases = vec![
        case("an_interrupted_demonstration_leaves_only_its_log", an_interrupted_demonstration_leaves_only_its_log),
        case("without_sendmail_the_small_server_serves", without_sendmail_the_small_server_serves),
        case("where_tracing_is_not_permitted_a_recorded_session_is_shown", where_tracing_is_not_permitted_a_recorded_session_is_shown),
    ];
    // One after another: each looks at what is left on the machine.
    harness::run("demo", cases, Some(1))
}
