//! Exports, looked at by programs that others wrote. The golden logs need no root; strace beside the tracer does.
//!
//! In come logs, out come files in `exports` of the target folder and what is wrong with them. Not here: the formats' own unit tests.

mod big;
mod folded;
mod golden;
mod pages;
mod progress;
mod strace;

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use lab::harness::{self, Case};
use libtest_mimic::Failed;
use mta_trace::analysis::{Analysis, replay};
use mta_trace::export::{FORMATS, Output, drive};
use mta_trace::log::Reader;

/// Its name, whether it needs root, what it is.
type Test = (&'static str, bool, fn() -> Result<()>);

fn main() -> ExitCode {
    let tests: [Test; 17] = [
        ("every format of every golden log", false, golden::every_format),
        ("perfetto: decoded with the package's descriptors", false, golden::perfetto),
        ("chrome", false, golden::chrome),
        ("csv: Python's module", false, golden::csv),
        ("folded: drawn as a flame graph", false, folded::drawn),
        ("strace: the form, and strace-log-merge", false, golden::strace),
        ("otlp: received and decoded with the official messages", false, pages::otlp),
        ("parquet: read by DuckDB", false, pages::parquet),
        ("the page about DuckDB", false, pages::duckdb_page),
        ("the page about logs to be shared", false, pages::share_page),
        ("the page about Jaeger", false, pages::jaeger_page),
        ("the page about all of them", false, pages::exports_page),
        ("the page about Perfetto", false, pages::perfetto_page),
        ("memory does not grow with the log", false, big::memory_stays),
        ("unreadable lines are counted, not told one by one", false, big::unreadable_lines_are_counted),
        ("a terminal shows how far it has come", false, progress::a_terminal_shows_how_far_it_has_come),
        ("strace beside the tracer", true, strace::real_strace_tells_the_same),
    ];
    let cases = tests.map(|(name, needs_root, test)| Case::new(name, needs_root, move || test().map_err(|error| Failed::from(format!("{error:#}")))));
    harness::run("exports", cases.into(), Some(2))
}

/// A folder of a test's own, empty.
fn folder(name: &str) -> Result<PathBuf> {
    let folder = lab::packages::target_dir().join("exports").join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    folder.canonicalize().context("resolve the folder")
}

/// What `mta-trace report --format json` says.
fn report(log: &[u8]) -> Result<Vec<u8>> {
    let mut json = Vec::new();
    mta_trace::view::json::write(&mut json, &replay(items(log)?, Analysis::keeping_all(), |_| Ok::<_, anyhow::Error>(()))?)?;
    Ok(json)
}

/// What `mta-trace export` does.
fn export(log: &[u8], format: &str, output: Output) -> Result<()> {
    let format = FORMATS.iter().find(|it| it.name == format).with_context(|| format!("{format} is no format"))?;
    drive(items(log)?, None, (format.begin)(output)?.as_mut(), || ())?;
    Ok(())
}

fn items(log: &[u8]) -> Result<Reader> {
    Ok(Reader::new("log", Box::new(std::io::Cursor::new(log.to_vec())))?)
}

/// Runs one of `tests/checkers`; what it prints is what is wrong.
fn check(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let first: Vec<&str> = said.lines().take(20).collect();
    ensure!(output.status.success(), "{}\n{}", first.join("\n"), String::from_utf8_lossy(&output.stderr).trim());
    Ok(said)
}

/// One of the scripts.
fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("checkers").join(name)
}
