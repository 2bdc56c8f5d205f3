//! Saved logs through reader, analysis and report, and the documents that show them: no root, no kernel. One test runs the program that was built.
//!
//! `replay/` holds golden logs that `cargo xtask record` makes, `replay-handmade/` logs that somebody wrote or that `made.rs` makes. Each must give
//! the text of its `NAME.expect.txt`, JSON by the schema, and sums that close. `BLESS=1` rewrites these texts and what `made.rs` makes.

mod builder;
mod commands;
mod examples;
mod made;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use mta_trace::analysis::{Analysis, Told, replay};
use mta_trace::log::Reader;
use mta_trace::report::{Cause, Command, Report, Session};
use mta_trace::view::accepted::Accepted;
use mta_trace::view::{json, summary};

/// How often each log is cut.
const CUTS: usize = 40;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for (kind, folder) in [("replay", "replay"), ("replay-handmade", "replay-handmade")] {
        let logs = match logs(folder) {
            Ok(logs) => logs,
            Err(error) => {
                eprintln!("replay: {error:#}");
                return ExitCode::FAILURE;
            }
        };
        for log in logs {
            let name = log.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let of_scenario: &[(&str, Test)] = if kind == "replay" { &[("score", is_right)] } else { &[] };
            for (what, test) in TESTS.iter().chain(of_scenario) {
                let log = log.clone();
                let run = move || test(&log).map_err(|error| Failed::from(format!("{error:#}")));
                trials.push(Trial::test(format!("{name}: {what}"), run).with_kind(kind));
            }
        }
    }
    for (name, make) in made::LOGS {
        let test = move || is_made(name, &make()).map_err(|error| Failed::from(format!("{error:#}")));
        trials.push(Trial::test(format!("{name}: made"), test).with_kind("replay-handmade"));
    }
    let long = || long_session_is_bounded().map_err(|error| Failed::from(format!("{error:#}")));
    trials.push(Trial::test("a session of very many commands", long).with_kind("replay-handmade"));
    let recorded = || every_scenario_is_recorded().map_err(|error| Failed::from(format!("{error:#}")));
    trials.push(Trial::test("every scenario is recorded", recorded).with_kind("replay"));
    let causes = || schema_knows_causes().map_err(|error| Failed::from(format!("{error:#}")));
    trials.push(Trial::test("the schema knows all causes", causes).with_kind("replay"));
    let matrix = || lab::matrix::check().map_err(|error| Failed::from(format!("{error:#}")));
    trials.push(Trial::test("the matrix of causes and mail servers", matrix).with_kind("replay"));
    let known = || lab::run::tracer_path().and_then(|program| commands::are_known(&program)).map_err(|error| Failed::from(format!("{error:#}")));
    trials.push(Trial::test("every command of the documents is known", known).with_kind("replay"));
    let links = || commands::links_lead_somewhere().map_err(|error| Failed::from(format!("{error:#}")));
    trials.push(Trial::test("links of the documents lead somewhere", links).with_kind("replay"));
    let examples = || examples::are_true().map_err(|error| Failed::from(format!("{error:#}")));
    trials.push(Trial::test("the examples in the documents", examples).with_kind("replay"));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A log that is too long to be kept: its report has a bound, obeys the schema, and its sums close.
fn long_session_is_bounded() -> Result<()> {
    let (report, text) = analyse(made::very_many_commands())?;
    let session = report.sessions.first().context("no session")?;
    let left_out = session.left_out.as_ref().context("nothing is left out")?;
    ensure!(session.commands.len() == 10_000, "{} commands are kept", session.commands.len());
    ensure!(text.contains("of 12002 commands 10000 are shown;"), "the text does not say it");
    ensure!(left_out.waits.iter().all(|sum| sum.verb.is_some()), "{left_out:#?}");
    report_obeys_schema(&report)?;
    none(session_problems(session, true, 0.0).into_iter())
}

/// A scenario without a golden log is not replayed, and a log without a scenario cannot be made again. One that is skipped has none.
fn every_scenario_is_recorded() -> Result<()> {
    let skips = lab::skips::all()?;
    let mut scenarios: BTreeSet<String> = lab::scenario::Scenario::all()?.into_iter().map(|scenario| scenario.name).collect();
    scenarios.retain(|name| lab::skips::find(&skips, "live", name).is_none());
    let recorded: BTreeSet<String> = logs("replay")?.iter().filter_map(|log| Some(log.file_stem()?.to_str()?.to_owned())).collect();
    none(scenarios.symmetric_difference(&recorded).map(|name| format!("{name}: `cargo xtask record {name}` makes its log; or its scenario is gone")))
}

type Test = fn(&Path) -> Result<()>;

const TESTS: &[(&str, Test)] =
    &[("text", has_expected_text), ("schema", obeys_schema), ("sums", sums_close), ("cut", can_be_cut), ("clean", names_no_machine)];

fn is_blessing() -> bool {
    std::env::var_os("BLESS").is_some()
}

/// The log in the folder is what its maker makes.
fn is_made(name: &str, log: &[u8]) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("replay-handmade").join(name).with_extension("jsonl");
    if is_blessing() {
        return std::fs::write(&path, log).with_context(|| format!("write {}", path.display()));
    }
    ensure!(bytes(&path)? == log, "{} is not what `made.rs` makes; BLESS=1 writes it", path.display());
    Ok(())
}

fn logs(folder: &str) -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "jsonl"));
    paths.sort();
    ensure!(!paths.is_empty(), "{} holds no logs; `cargo xtask record` makes them", folder.display());
    Ok(paths)
}

/// What `mta-trace report` does.
fn analyse(log: Vec<u8>) -> Result<(Report, String)> {
    let mut accepted = Accepted::default();
    let report = replay(Reader::new("log", Box::new(Cursor::new(log)))?, Analysis::new(), |told| {
        match told {
            Told::Record(record) => accepted.record(record),
            Told::Update(update) => accepted.update(update),
            Told::Unreadable { .. } | Told::Cut { .. } => {}
        }
        Ok::<_, anyhow::Error>(())
    })?;
    let text = summary::text(&report, &accepted);
    Ok((report, text))
}

fn bytes(log: &Path) -> Result<Vec<u8>> {
    std::fs::read(log).with_context(|| format!("read {}", log.display()))
}

fn has_expected_text(log: &Path) -> Result<()> {
    let (_, text) = analyse(bytes(log)?)?;
    let path = log.with_extension("expect.txt");
    if is_blessing() {
        return std::fs::write(&path, text).with_context(|| format!("write {}", path.display()));
    }
    let expected = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    if text == expected {
        return Ok(());
    }
    let (mut found, mut wanted) = (text.lines(), expected.lines());
    for number in 1.. {
        match (found.next(), wanted.next()) {
            (None, None) => break,
            (found, wanted) if found == wanted => {}
            (found, wanted) => bail!(
                "line {number} differs\nexpected {:?}\nfound    {:?}\nBLESS=1 accepts what was found; look at the difference first",
                wanted.unwrap_or("the end"),
                found.unwrap_or("the end"),
            ),
        }
    }
    bail!("only the line ends differ")
}

fn obeys_schema(log: &Path) -> Result<()> {
    let (report, _) = analyse(bytes(log)?)?;
    report_obeys_schema(&report)
}

fn report_obeys_schema(report: &Report) -> Result<()> {
    let mut text = Vec::new();
    json::write(&mut text, report)?;
    let validator = jsonschema::validator_for(&lab::run::schema()?).context("compile the schema")?;
    let json = serde_json::from_slice(&text).context("parse the report")?;
    none(validator.iter_errors(&json).map(|error| format!("{}: {error}", error.instance_path())))
}

/// Each of its lists of causes is that of the report.
fn schema_knows_causes() -> Result<()> {
    let all: Vec<&str> = Cause::ALL.iter().map(|cause| cause.name()).collect();
    let schema = lab::run::schema()?;
    let lists = enums(&schema).into_iter().filter(|list| list.contains(&Cause::Unknown.name()) && list.contains(&Cause::Dns.name()));
    let lists: Vec<Vec<&str>> = lists.collect();
    ensure!(!lists.is_empty(), "no list of causes");
    none(lists.iter().filter(|list| **list != all).map(|list| format!("{list:?} instead of {all:?}")))
}

/// All lists of words in a schema.
fn enums(schema: &serde_json::Value) -> Vec<Vec<&str>> {
    let own = schema.get("enum").and_then(|words| words.as_array()).map(|words| words.iter().filter_map(|word| word.as_str()).collect());
    let below: Vec<&serde_json::Value> = match schema {
        serde_json::Value::Object(fields) => fields.values().collect(),
        serde_json::Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    own.into_iter().chain(below.into_iter().flat_map(enums)).collect()
}

fn sums_close(log: &Path) -> Result<()> {
    let (report, _) = analyse(bytes(log)?)?;
    // Of an event loop the time on a processor is not told; its scenario says how much that may be.
    let name = log.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let unexplained_s = lab::scenario::Scenario::named(&name).map_or(0.0, |scenario| scenario.expect.unexplained_s);
    none(report.sessions.iter().flat_map(|session| session_problems(session, report.log.lost == 0, unexplained_s)))
}

/// No expected wait is missing or other than the fault was, and nothing is told that the scenario does not explain.
fn is_right(log: &Path) -> Result<()> {
    let name = log.file_stem().and_then(|stem| stem.to_str()).context("a log's name")?;
    let (report, _) = analyse(bytes(log)?)?;
    let mut text = Vec::new();
    json::write(&mut text, &report)?;
    let report: lab::report::Report = serde_json::from_slice(&text).context("parse the report")?;
    let truth = lab::truth::Truth::load(&log.with_extension("truth.json"))?;
    let scenario = lab::scenario::Scenario::named(name)?;
    let score = lab::score::Score::of(&scenario, truth.as_ref(), &report);
    let shares = report.sessions.iter().flat_map(|session| lab::compare::share_problems(&scenario.expect, session));
    let missing = score.missing.iter().map(|what| format!("missing: {what}"));
    none(missing.chain(score.false_ones.iter().map(|what| format!("false: {what}"))).chain(shares))
}

fn none(problems: impl Iterator<Item = impl Display>) -> Result<()> {
    let problems: Vec<String> = problems.map(|problem| problem.to_string()).collect();
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// 1 ms or 0.5 %.
fn is_close(a: f64, b: f64) -> bool {
    (a - b).abs() <= (a.abs() * 0.005).max(0.001)
}

fn session_problems(session: &Session, is_whole: bool, unexplained_s: f64) -> Vec<String> {
    let mut problems: Vec<String> = session
        .commands
        .iter()
        .flat_map(|command| {
            let named = move |problem| format!("{}: {} {}: {problem}", session.id, command.index, command.verb.name());
            command_problems(command, is_whole, unexplained_s).into_iter().map(named)
        })
        .collect();
    let left_out_s = session.left_out.as_ref().map_or(0.0, |left_out| left_out.elapsed_s);
    let sum = session.commands.iter().map(|command| command.elapsed_s).sum::<f64>() + left_out_s + session.client_s;
    if !is_close(session.elapsed_s, sum) {
        problems.push(format!("{}: took {:.6} s, commands and client sum up to {sum:.6}", session.id, session.elapsed_s));
    }
    problems
}

/// Where events were lost, what they would have told is not explained.
fn command_problems(command: &Command, is_whole: bool, allowed_s: f64) -> Vec<String> {
    let mut problems = Vec::new();
    let Command { elapsed_s, short_waits_s, cpu_s, runqueue_s, unexplained_s, waits, .. } = command;
    let waited_s: f64 = waits.iter().map(|wait| wait.elapsed_s).sum();
    let sum = waited_s + short_waits_s + cpu_s + runqueue_s + unexplained_s;
    if !is_close(*elapsed_s, sum) {
        problems.push(format!("took {elapsed_s:.6} s, its parts sum up to {sum:.6}"));
    }
    for (one, next) in waits.iter().zip(waits.iter().skip(1)) {
        // Seconds are rounded to microseconds.
        if one.start_s + one.elapsed_s > next.start_s + 2e-6 {
            problems.push(format!("the waits at {:.6} and {:.6} overlap", one.start_s, next.start_s));
        }
    }
    let unknown_s: f64 = waits.iter().filter(|wait| wait.cause == Cause::Unknown).map(|wait| wait.elapsed_s).sum();
    let open_s = unknown_s + unexplained_s.abs();
    // Seconds are rounded to microseconds.
    if is_whole && open_s > (elapsed_s * 0.01).max(allowed_s) + 2e-6 {
        problems.push(format!("of {elapsed_s:.6} s {open_s:.6} are not explained"));
    }
    problems
}

/// After any line, and in the middle of one, there is a report, which says that the end is missing.
fn can_be_cut(log: &Path) -> Result<()> {
    let whole = bytes(log)?;
    let ends: Vec<usize> = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
    let (_, before_last) = ends.split_last().context("an empty log")?;
    for end in before_last.iter().step_by((ends.len() / CUTS).max(1)).chain(before_last.last()) {
        for torn in [0, 20] {
            let cut = whole.get(..end + torn).unwrap_or(&whole).to_vec();
            let (report, text) = analyse(cut).with_context(|| format!("cut after {} bytes", end + torn))?;
            ensure!(report.log.unfinished, "cut after {} bytes: the JSON does not say that the end is missing", end + torn);
            ensure!(text.contains("the log has no end"), "cut after {} bytes: the text does not say it", end + torn);
        }
    }
    Ok(())
}

/// A log in the repository tells nothing of the machine on which it was made.
fn names_no_machine(log: &Path) -> Result<()> {
    let text = String::from_utf8(bytes(log)?).context("a log is UTF-8")?;
    let target = lab::packages::target_dir();
    let folders = [Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).to_owned(), target];
    let names = folders.iter().map(|folder| folder.display().to_string()).chain(["lab-out".into(), "lab-cache".into(), "/home/".into()]);
    let header: serde_json::Value = serde_json::from_str(text.lines().next().unwrap_or_default()).context("the header")?;
    let kernel = header.get("kernel").and_then(serde_json::Value::as_str).unwrap_or_default();
    ensure!(kernel.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'), "the log names the kernel {kernel}: of it only the version");
    none(names.filter(|name| text.contains(name.as_str())).map(|name| format!("the log names {name}")))
}
