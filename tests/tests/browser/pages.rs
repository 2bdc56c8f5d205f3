//! The pages that the tests look at: of golden logs as the program makes them, one of all their sessions, and one whose every text is hostile.
//!
//! Out: files in `browser` of the target folder, where pictures are kept too.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use mta_trace::analysis::{Analysis, Told, replay};
use mta_trace::diagnosis::Tallies;
use mta_trace::report::Report;
use mta_trace::view::accepted::Accepted;
use mta_trace::view::html::{self, calls::Calls};
use serde_json::Value;

/// What a hostile client, name server or file name may try, in one text.
const EVIL: &str = "x</title></script><script>window.pwned=1</script><!--<img src=x onerror=window.pwned=2>]]>\"'` onfocus=window.pwned=3 autofocus \
                    javascript:window.pwned=4 &amp;{{7*7}}\u{2028}\u{202e}\u{1b}]0;t\u{7}\r\n\t\u{0}";

/// Of the same kind as the string fields of a report, but a word of its vocabulary.
const VOCABULARY: &[&str] = &["verb", "cause", "outcome", "severity", "end", "began", "boundary"];

/// Where pages and pictures are.
pub fn folder() -> Result<PathBuf> {
    let folder = lab::packages::target_dir().join("browser");
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    folder.canonicalize().context("resolve the folder")
}

/// `mta-trace report NAME.jsonl --format html -o FILE`.
pub fn golden(name: &str) -> Result<PathBuf> {
    once(name, |page| of_log(name, page))
}

/// A page that several tests look at is made once: not while another's browser reads it.
fn once(name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    static MADE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let page = folder()?.join(format!("{name}.html"));
    if !made.contains(name) {
        make(&page)?;
        made.insert(name.to_owned());
    }
    Ok(page)
}

fn of_log(name: &str, page: &Path) -> Result<()> {
    let _ = std::fs::remove_file(page);
    let mut command = Command::new(lab::run::tracer_path()?);
    command.arg("report").arg(log(name)).args(["--format", "html", "-o"]).arg(page).stdin(Stdio::null());
    let output = command.output().context("run mta-trace report")?;
    ensure!(output.status.success(), "mta-trace report: {}", String::from_utf8_lossy(&output.stderr));
    ensure!(output.stdout.is_empty(), "with -o nothing goes to standard output");
    Ok(())
}

fn log(name: &str) -> PathBuf {
    let folder = if name == "hostile-and-lossy" { "replay-handmade" } else { "replay" };
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(format!("{name}.jsonl"))
}

/// All golden logs as one report of many sessions.
pub fn many() -> Result<(PathBuf, usize)> {
    sessions_of("many", usize::MAX)
}

/// A few of them: for what takes long on a large page.
pub fn some() -> Result<PathBuf> {
    Ok(sessions_of("some", 8)?.0)
}

fn sessions_of(name: &str, most: usize) -> Result<(PathBuf, usize)> {
    let (mut all, mut tallies, mut calls) = (None::<Report>, Tallies::default(), Calls::default());
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("replay"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    names.retain(|path| path.extension().is_some_and(|ext| ext == "jsonl"));
    names.sort();
    for log in names.iter().take(most) {
        let report = analyse(log, &mut calls)?;
        report.sessions.iter().for_each(|session| tallies.add(session));
        match &mut all {
            Some(all) => all.sessions.extend(report.sessions),
            None => all = Some(report),
        }
    }
    let mut report = all.context("no golden log")?;
    report.findings = tallies.conclude();
    Ok((write(name, &report, &calls)?, report.sessions.len()))
}

/// A session with chains and TLS, twice, with a hostile text in every string.
pub fn hostile() -> Result<PathBuf> {
    let mut calls = Calls::default();
    let mut report = analyse(&log("postfix-milter-opendkim"), &mut calls)?;
    report.sessions.extend(analyse(&log("postfix-two-faults"), &mut calls)?.sessions);
    let mut tallies = Tallies::default();
    report.sessions.iter().for_each(|session| tallies.add(session));
    report.findings = tallies.conclude();
    let mut json = serde_json::to_value(&report)?;
    poison(&mut json);
    write("hostile", &serde_json::from_value(json)?, &calls)
}

fn poison(value: &mut Value) {
    match value {
        Value::String(text) => EVIL.clone_into(text),
        Value::Array(all) => all.iter_mut().for_each(poison),
        Value::Object(fields) => fields.iter_mut().filter(|(name, _)| !VOCABULARY.contains(&name.as_str())).for_each(|(_, it)| poison(it)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn analyse(log: &Path, calls: &mut Calls) -> Result<Report> {
    replay(mta_trace::log::read(log.to_str().context("a path in UTF-8")?)?, Analysis::new(), |told| {
        match told {
            Told::Record(record) => calls.record(record),
            Told::Update(update) => calls.update(update),
            Told::Unreadable { .. } | Told::Cut { .. } => {}
        }
        Ok(())
    })
}

fn write(name: &str, report: &Report, calls: &Calls) -> Result<PathBuf> {
    once(name, |page| {
        let mut file = File::create(page).with_context(|| format!("create {}", page.display()))?;
        Ok(html::write(&mut file, report, &Accepted::default(), calls)?)
    })
}
