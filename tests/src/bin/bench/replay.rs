//! How fast a saved log is read, analysed and reported, and with how much memory.

use crate::{LIMIT, load, log, tracer::Tracer, variant::Variant};
use anyhow::{Context as _, Result, ensure};
use lab::Lab;
use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

/// Messages whose sessions make the log.
const MESSAGES: usize = 1_000;
/// How often the same sessions stand in the larger of the two logs.
const COPIES: [usize; 2] = [1, 10];

/// One log.
pub struct Replay {
    pub events: u64,
    pub seconds: f64,
    pub peak_kib: u64,
}

/// Traces many sessions and reads their log; then one that is ten times as long, to see whether memory stays.
pub fn measure(lab: &Lab) -> Result<Vec<Replay>> {
    load::clean_queue(lab)?;
    let output = lab.dir().join("bench-output");
    let (command, word) = Variant::Traced.command(lab.daemon_pid(), &output)?.context("a tracer")?;
    let tracer = Tracer::start(command, word)?;
    load::send(lab, MESSAGES)?;
    tracer.stop()?;
    load::clean_queue(lab)?;
    COPIES.iter().map(|copies| replay(&output, *copies)).collect()
}

fn replay(log: &Path, copies: usize) -> Result<Replay> {
    let path = log.with_extension("replayed");
    let events = multiply(log, &path, copies)?;
    let mut command = Command::new(lab::run::tracer_path()?);
    command.arg("report").arg(&path).stdin(Stdio::null()).stdout(Stdio::null());
    let began = Instant::now();
    let (status, peak_kib) = crate::proc::run_and_peak(&mut command, LIMIT)?;
    let seconds = began.elapsed().as_secs_f64();
    ensure!(status.success(), "mta-trace report: {status}");
    std::fs::remove_file(&path).context("remove the log")?;
    Ok(Replay { events, seconds, peak_kib })
}

/// Writes a log in which all sessions come again, later, under other process numbers; gives how many events it has.
fn multiply(log: &Path, to: &Path, copies: usize) -> Result<u64> {
    let records = log::records(log)?.collect::<Result<Vec<_>>>()?;
    let last = records.iter().filter_map(|record| record.get("t")?.as_u64()).max().context("a log without times")?;
    let first = records.iter().filter_map(|record| record.get("t")?.as_u64()).min().context("a log without times")?;
    let mut out = std::io::BufWriter::new(File::create(to).with_context(|| format!("create {}", to.display()))?);
    let mut events = 0;
    for copy in 0..copies as u64 {
        for record in &records {
            let kind = log::text(record, "k");
            let is_event = !matches!(kind.as_str(), "header" | "seed.proc" | "seed.fd" | "seed.file" | "clock" | "end" | "loss");
            // Header and seeds once, the end once.
            if !is_event && (copy > 0 || kind == "end") {
                continue;
            }
            let mut record = record.clone();
            if is_event {
                events += 1;
                shift(&mut record, copy * (last - first + 1_000_000), copy);
            }
            writeln!(out, "{}", line(record)).context("write the log")?;
        }
    }
    let end = records.iter().rfind(|record| log::text(record, "k") == "end").context("a log without an end")?;
    writeln!(out, "{}", line(end.clone())).and_then(|()| out.flush()).context("write the log")?;
    ensure!(BufReader::new(File::open(to)?).lines().next().is_some(), "an empty log");
    Ok(events)
}

/// As the log has it: its kind stands first. The reader is quick with such lines, and no others are written.
fn line(mut record: serde_json::Value) -> String {
    let kind = record.as_object_mut().and_then(|fields| fields.remove("k")).unwrap_or_default();
    let rest = record.to_string();
    format!("{{\"k\":{kind},{}", rest.strip_prefix('{').unwrap_or_default())
}

/// Another time, and other processes than the daemon; sockets of a connection that is not the same.
fn shift(record: &mut serde_json::Value, later_ns: u64, copy: u64) {
    for name in ["t", "start", "since"] {
        if let Some(t) = record.get(name).and_then(serde_json::Value::as_u64) {
            record[name] = (t + later_ns).into();
        }
    }
    if let Some(inode) = record.pointer("/socket/inode").and_then(serde_json::Value::as_u64) {
        record["socket"]["inode"] = (inode + copy * 100_000_000).into();
    }
}
