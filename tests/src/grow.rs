//! Logs of any size: the sessions of a small one, again and again, later and by other processes.
//!
//! In comes a log, out comes a file of at least so many bytes. What identifies a session (times, processes, sockets, the client's
//! address and port) differs from copy to copy, so that nothing is taken for the same. Invariant: as valid as the log it is made of.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// Process numbers end there (`PID_MAX_LIMIT`).
const PIDS: u64 = 4_000_000;
/// Between the end of a copy and the begin of the next, ns.
const PAUSE: u64 = 1_000_000;

/// Writes it; gives how many copies there are.
pub fn grow(log: &str, bytes: u64, to: &Path) -> Result<u64> {
    let records: Vec<Value> = log.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("a log")?;
    let is_once = |record: &Value| {
        let kind = record["k"].as_str().unwrap_or_default();
        kind == "header" || kind == "end" || kind == "clock" || kind == "daemon" || kind == "loss" || kind.starts_with("seed.")
    };
    let times = records.iter().filter(|record| !is_once(record)).flat_map(|record| ["t", "start", "since"].map(|name| record[name].as_u64()));
    let times: Vec<u64> = times.flatten().collect();
    let span = times.iter().max().zip(times.iter().min()).map(|(last, first)| last - first).context("a log without times")?;
    let daemon = records.first().and_then(|header| header.pointer("/target/pid")?.as_u64()).context("a log without its target")?;
    let mut out = BufWriter::new(File::create(to).with_context(|| format!("create {}", to.display()))?);
    let mut written = 0;
    let peer = records.iter().find(|record| record["call"] == "accept" || record["call"] == "accept4").and_then(|record| record["peer"].as_str());
    let peer = format!("\"{}\"", peer.context("a log without an accept")?);
    let mut put = |record: &Value, copy: u64| -> Result<u64> {
        let line = line(record).replace(&peer, &format!("\"{}\"", client(copy)));
        out.write_all(line.as_bytes()).context("write the log")?;
        written += line.len() as u64;
        Ok(written)
    };
    for record in records.iter().filter(|record| is_once(record) && record["k"] != "end" && record["k"] != "clock") {
        put(record, 0)?;
    }
    let mut copies = 0;
    let mut so_far = 0;
    while so_far < bytes {
        for record in records.iter().filter(|record| !is_once(record)) {
            let mut record = record.clone();
            shift(&mut record, copies * (span + PAUSE), copies, daemon);
            so_far = put(&record, copies)?;
        }
        copies += 1;
    }
    let mut end = records.last().filter(|record| record["k"] == "end").cloned().context("a log without an end")?;
    shift(&mut end, copies * (span + PAUSE), 0, daemon);
    put(&end, 0)?;
    out.flush().context("write the log")?;
    Ok(copies)
}

/// Address and port of the client of a copy.
fn client(copy: u64) -> String {
    format!("10.{}.{}.{}:{}", copy >> 16 & 255, copy >> 8 & 255, copy & 255, 1024 + copy % 60_000)
}

/// As the log has it: its kind stands first. The reader is quick with such lines.
fn line(record: &Value) -> String {
    let mut record = record.clone();
    let kind = record.as_object_mut().and_then(|fields| fields.remove("k")).unwrap_or_default();
    let rest = record.to_string();
    format!("{{\"k\":{kind},{}\n", rest.strip_prefix('{').unwrap_or_default())
}

fn shift(record: &mut Value, later_ns: u64, copy: u64, daemon: u64) {
    change(record, &["t", "start", "since"], |t| t + later_ns);
    change(record, &["pid", "tid", "child", "child_tid", "waiter"], |pid| if pid == daemon { pid } else { (pid + copy * 37) % PIDS + 2 });
    change(record, &["inode", "peer_inode"], |inode| inode + copy * 100_000);
    if let Some(socket) = record.get_mut("socket") {
        change(socket, &["inode", "peer_inode"], |inode| inode + copy * 100_000);
    }
}

fn change(record: &mut Value, names: &[&str], new: impl Fn(u64) -> u64) {
    for name in names {
        if let Some(value) = record.get(*name).and_then(Value::as_u64) {
            record[*name] = new(value).into();
        }
    }
}
