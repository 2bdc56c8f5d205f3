//! The pages about exports: every command is run, what is shown is what it prints.
//!
//! `BLESS=1` writes what is printed into the pages.

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};

/// `DuckDB` as a module of Python and as a program.
const DUCKDB: &[&str] = &["duckdb==2.0.1", "duckdb-cli==1.5.6"];
/// The messages of OTLP.
const OTLP: &[&str] = &["opentelemetry-proto==1.45.2", "protobuf==7.36.2"];
/// Where collectors listen.
const PORT: &str = "4318";

/// A build with Parquet: dearer than the others by 20 crates, and needed only here.
pub fn with_parquet() -> Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(program) = &*built {
        return Ok(program.clone());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let build = ["build", "--quiet", "--package", "mta-trace", "--features", "parquet"];
    let output =
        Command::new(cargo).args(build).arg("--target-dir").arg(lab::packages::target_dir()).current_dir(root).output().context("run cargo")?;
    ensure!(output.status.success(), "cargo {}: {}", build.join(" "), String::from_utf8_lossy(&output.stderr));
    // The next build without Parquet takes its place.
    let to = super::folder("with-parquet")?.join("mta-trace");
    std::fs::copy(lab::packages::target_dir().join("debug/mta-trace"), &to).context("copy the program")?;
    *built = Some(to.clone());
    Ok(to)
}

/// All golden logs: typed columns, the report's figures, the log's events.
pub fn parquet() -> Result<()> {
    let python = lab::python::with(DUCKDB)?;
    let mut command = Command::new(python);
    command.arg(super::script("check_parquet.py")).arg(with_parquet()?).arg(super::folder("parquet")?);
    super::check(command.args(logs()?)).map(|_| ())
}

/// All golden logs: received over HTTP, decoded, and the same as JSON.
pub fn otlp() -> Result<()> {
    let python = lab::python::with(OTLP)?;
    super::check(Command::new(python).arg(super::script("check_otlp.py")).arg(lab::run::tracer_path()?).args(logs()?)).map(|_| ())
}

fn logs() -> Result<Vec<PathBuf>> {
    Ok(super::golden::logs()?.into_iter().map(|(_, path)| path).collect())
}

/// Runs what stands behind a `$` in the page's `console` blocks, in one folder, with `slow.jsonl` in it.
fn play(page: &str, log: &str, programs: &[PathBuf], at_least: usize) -> Result<()> {
    let folder = super::folder(&format!("page-{page}"))?;
    std::fs::copy(super::golden::path(log), folder.join("slow.jsonl")).context("copy the log")?;
    let folders: Vec<PathBuf> = programs.iter().filter_map(|program| program.parent()).map(Path::to_owned).collect();
    let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())))?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let (mut new, mut count, mut is_console) = (String::new(), 0, false);
    for line in text.split_inclusive('\n') {
        if line.starts_with("```") {
            is_console = line == "```console\n";
        }
        let Some(command) = line.strip_prefix("$ ").filter(|_| is_console) else {
            // What was printed before is printed again, or is not true any more.
            if !is_console || line.starts_with("```") {
                new.push_str(line);
            }
            continue;
        };
        let output = Command::new("sh").args(["-c", command]).current_dir(&folder).env("PATH", &path).stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "{command}{}", String::from_utf8_lossy(&output.stderr));
        new.push_str(line);
        // RFC 4180 ends its lines by CRLF, pages do not.
        new.push_str(&String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n"));
        count += 1;
    }
    ensure!(count >= at_least, "only {count} commands in {page}");
    is_shown(&file, &text, &new)
}

fn is_shown(file: &Path, text: &str, new: &str) -> Result<()> {
    if text == new {
        return Ok(());
    }
    if std::env::var_os("BLESS").is_some() {
        return std::fs::write(file, new).with_context(|| format!("write {}", file.display()));
    }
    let differing = text.lines().zip(new.lines()).find(|(old, new)| old != new);
    bail!("{} shows something else than is printed: {differing:?}; BLESS=1 writes it anew", file.display())
}

/// The program `duckdb`: pip's own starter names the folder in which it was installed, from which it was moved.
fn duckdb() -> Result<PathBuf> {
    let starter = super::folder("duckdb")?.join("duckdb");
    std::fs::write(&starter, format!("#!/bin/sh\nexec '{}' -m duckdb_cli \"$@\"\n", lab::python::with(DUCKDB)?.display()))?;
    std::fs::set_permissions(&starter, Permissions::from_mode(0o755)).context("make it a program")?;
    Ok(starter)
}

pub fn exports_page() -> Result<()> {
    play("exports.md", "ident-slow", &[lab::run::tracer_path()?.canonicalize().context("the program")?], 6)
}

/// The tree is the script's, of the scenario that the page names.
pub fn perfetto_page() -> Result<()> {
    let to = super::folder("tree")?.join("trace");
    let log = std::fs::read(super::golden::path("postfix-milter-opendkim")).context("read the log")?;
    super::export(&log, "perfetto", super::golden::output("perfetto", &to)?)?;
    let python = lab::python::with(super::golden::PERFETTO)?;
    let said = super::check(Command::new(python).arg(super::script("check_perfetto.py")).args(["--tree", "--long"]).arg(&to))?;
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/open-in-perfetto.md");
    let text = std::fs::read_to_string(&page).with_context(|| format!("read {}", page.display()))?;
    let shown = text.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).context("the page has no tree")?;
    ensure!(said == shown, "the page shows another tree than\n{said}");
    Ok(())
}

pub fn duckdb_page() -> Result<()> {
    play("query-with-duckdb.md", "the-case", &[with_parquet()?, duckdb()?], 8)
}

pub fn share_page() -> Result<()> {
    play("share-a-log.md", "the-case", &[lab::run::tracer_path()?.canonicalize()?], 3)
}

/// With a collector at the port that the page names; what it has received is what the page shows.
pub fn jaeger_page() -> Result<()> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/send-to-jaeger.md");
    let python = lab::python::with(OTLP)?;
    let mut collector = Command::new(python);
    let mut collector =
        collector.arg(super::script("check_otlp.py")).args(["--collect", PORT]).stdout(Stdio::piped()).spawn().context("start a collector")?;
    let mut said = BufReader::new(collector.stdout.take().context("its output")?);
    let mut first = String::new();
    said.read_line(&mut first)?;
    let played = if first == "listening\n" {
        play("send-to-jaeger.md", "postfix-milter-opendkim", &[lab::run::tracer_path()?.canonicalize()?], 3)
    } else {
        Err(anyhow::anyhow!("no collector at port {PORT}"))
    };
    if played.is_err() {
        collector.kill().context("end the collector")?;
    }
    let mut tree = String::new();
    said.read_to_string(&mut tree)?;
    collector.wait()?;
    played?;
    let text = std::fs::read_to_string(&page)?;
    let (before, behind) = text.split_once("```text\n").context("the page shows no tree")?;
    let (_, behind) = behind.split_once("```").context("the tree has no end")?;
    is_shown(&page, &text, &format!("{before}```text\n{tree}```{behind}"))
}
