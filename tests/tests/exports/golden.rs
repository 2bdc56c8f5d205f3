//! All golden logs in all formats.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use mta_trace::export::{FORMATS, Form, Output};

/// The descriptors of Perfetto's messages, and what reads them.
pub const PERFETTO: &[&str] = &["perfetto==0.59.1", "protobuf==7.36.2"];

/// Names and paths.
pub fn logs() -> Result<Vec<(String, PathBuf)>> {
    let mut logs = Vec::new();
    for folder in ["replay", "replay-handmade"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "jsonl") {
                logs.push((path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), path));
            }
        }
    }
    logs.sort();
    ensure!(logs.len() > 100, "only {} golden logs", logs.len());
    Ok(logs)
}

/// Path of one.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("replay").join(name).with_extension("jsonl")
}

/// Exports each log, and writes its report beside; pairs of paths, the export's first.
fn exported(format: &str) -> Result<Vec<PathBuf>> {
    let (folder, mut pairs) = (super::folder(format)?, Vec::new());
    for (name, path) in logs()? {
        let log = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let to = folder.join(&name);
        super::export(&log, format, output(format, &to)?).with_context(|| format!("{name} as {format}"))?;
        let report = folder.join(format!("{name}.json"));
        std::fs::write(&report, super::report(&log)?).context("write the report")?;
        pairs.extend([to, report]);
    }
    Ok(pairs)
}

pub fn output(format: &str, to: &Path) -> Result<Output> {
    let format = FORMATS.iter().find(|it| it.name == format).context("no such format")?;
    Ok(match format.form {
        Form::File | Form::FileOrEndpoint => Output::Stream(Box::new(BufWriter::new(File::create(to)?))),
        Form::Folder | Form::Tables(_) => {
            std::fs::create_dir(to)?;
            Output::Folder(to.to_owned())
        }
    })
}

/// None fails, and of a log with a session none is empty.
pub fn every_format() -> Result<()> {
    let folder = super::folder("every")?;
    for format in FORMATS {
        for (name, path) in logs()? {
            let log = std::fs::read(&path)?;
            let to = folder.join(format!("{name}.{}", format.name));
            super::export(&log, format.name, output(format.name, &to)?).with_context(|| format!("{name} as {}", format.name))?;
            let report: serde_json::Value = serde_json::from_slice(&super::report(&log)?)?;
            let has_session = report["sessions"].as_array().is_some_and(|sessions| !sessions.is_empty());
            let is_empty = if to.is_dir() { std::fs::read_dir(&to)?.next().is_none() } else { to.metadata()?.len() == 0 };
            // Who was not waited for has no stack.
            ensure!(!is_empty || !has_session || format.name == "folded", "{name} as {} is empty", format.name);
        }
    }
    Ok(())
}

pub fn perfetto() -> Result<()> {
    let python = lab::python::with(PERFETTO)?;
    super::check(Command::new(python).arg(super::script("check_perfetto.py")).args(exported("perfetto")?)).map(|_| ())
}

pub fn chrome() -> Result<()> {
    super::check(Command::new("/usr/bin/python3").arg(super::script("check_chrome.py")).args(exported("chrome")?)).map(|_| ())
}

pub fn csv() -> Result<()> {
    super::check(Command::new("/usr/bin/python3").arg(super::script("check_csv.py")).args(exported("csv")?)).map(|_| ())
}

/// Each line has the form, and each call of the log is there once; in files of their own and merged by strace's own tool it is the same.
pub fn strace() -> Result<()> {
    let (folder, by_process) = (super::folder("strace")?, super::folder("strace-ff")?);
    let mut pairs = Vec::new();
    let mut compared = 0;
    for (name, path) in logs()? {
        let log = std::fs::read(&path)?;
        let (to, split) = (folder.join(&name), by_process.join(&name));
        super::export(&log, "strace", output("strace", &to)?)?;
        super::export(&log, "strace-ff", output("strace-ff", &split)?)?;
        pairs.extend([to.clone(), path]);
        if name != "milter-opendkim" && name != "the-case" {
            continue;
        }
        let merged = Command::new("strace-log-merge").arg(split.join("strace")).output().context("run strace-log-merge")?;
        ensure!(merged.status.success(), "strace-log-merge: {}", String::from_utf8_lossy(&merged.stderr));
        let [merged, at_once] = [String::from_utf8_lossy(&merged.stdout).into_owned(), std::fs::read_to_string(&to)?].map(|text| calls(&text));
        ensure!(merged == at_once && merged.len() > 20, "{name}: strace-log-merge makes {} calls of it, {} are there", merged.len(), at_once.len());
        compared += 1;
    }
    if compared != 2 {
        bail!("{compared} logs were merged");
    }
    super::check(Command::new("/usr/bin/python3").arg(super::script("check_strace.py")).arg("--form").args(pairs)).map(|_| ())
}

/// Process and name of each call, sorted: what is torn in one file is whole in the other.
fn calls(text: &str) -> Vec<(String, String)> {
    let mut calls: Vec<(String, String)> = text
        .lines()
        .filter(|line| !line.contains(" resumed>"))
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (pid, _time, call) = (words.next()?, words.next()?, words.next()?);
            Some((pid.to_owned(), call.split('(').next()?.to_owned()))
        })
        .collect();
    calls.sort();
    calls
}
