//! What a tracer wrote down: how much, of what, and whether anything is missing.

use anyhow::{Context as _, Result, ensure};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

/// What a tracer wrote down.
#[derive(Default)]
pub struct Log {
    pub bytes: u64,
    pub events: u64,
    pub lost: u64,
    pub truncated: u64,
    pub sessions: usize,
    pub complete: usize,
    pub by_kind: BTreeMap<String, u64>,
}

impl Log {
    pub fn read(path: &Path) -> Result<Self> {
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

    pub fn of_bpftrace(path: &Path) -> Result<Self> {
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

pub fn records(path: &Path) -> Result<impl Iterator<Item = Result<serde_json::Value>>> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    Ok(BufReader::new(file).lines().map(|line| serde_json::from_str(&line?).context("a line of the log is no JSON")))
}

pub fn text(value: &serde_json::Value, name: &str) -> String {
    value.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

pub fn number(value: &serde_json::Value, name: &str) -> u64 {
    value.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0)
}

pub fn report(log: &Path) -> Result<serde_json::Value> {
    let mut command = Command::new(lab::run::tracer_path()?);
    let output = command.arg("report").arg(log).args(["--format", "json"]).stdin(Stdio::null()).output();
    let output = output.context("run mta-trace report")?;
    ensure!(output.status.success(), "mta-trace report: {}", String::from_utf8_lossy(&output.stderr).trim());
    serde_json::from_slice(&output.stdout).context("parse the report")
}
