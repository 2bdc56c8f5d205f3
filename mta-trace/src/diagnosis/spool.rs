//! Findings of writes that must reach the disk: `fsync` and its like in the mail queue.
//!
//! In: the `spool-sync` waits of one command. Out: one finding for each directory, since the several files of one
//! message lie on one disk.

use super::{
    Case, Text,
    text::{count, seconds, shell},
};
use crate::mta::Topic;
use crate::report::{Cause, Command, Session, Wait};
use std::path::Path;

pub fn rule(_: &Session, _: &Command, _: &Wait) -> &'static str {
    "spool-sync"
}

/// The directory of the file. A directory is synced itself too, after its files: it is told by their paths.
pub fn directory(command: &Command, wait: &Wait) -> Option<String> {
    let path = wait.target.as_deref()?;
    let syncs = command.waits.iter().filter(|other| other.cause == Cause::SpoolSync);
    let mut others = syncs.filter_map(|other| other.target.as_deref()).filter_map(parent);
    if others.any(|directory| directory == path) {
        return Some(path.to_owned());
    }
    Some(parent(path).unwrap_or(path).to_owned())
}

fn parent(path: &str) -> Option<&str> {
    Path::new(path).parent()?.to_str().filter(|it| !it.is_empty())
}

pub fn explain(case: &Case) -> Text {
    let directory = case.target.unwrap_or("the queue");
    let number = u64::try_from(case.waits.len()).unwrap_or(u64::MAX);
    let slowest = case.waits.iter().map(|wait| wait.elapsed_s).fold(0.0, f64::max);
    let directory_check = case.target.map(|path| {
        let file = shell(&format!("{path}/mta-trace-check"));
        format!("dd if=/dev/zero of={file} bs=4k count=20 oflag=dsync; rm {file}")
    });
    Text {
        summary: format!("{} for the disk: {} in {directory}", case.opening(), count(number, "fsync")),
        evidence: format!("{}, the slowest took {}{}", count(number, "fsync"), seconds(slowest), case.traces()),
        remedy: case.advice(Topic::Spool),
        check: directory_check.or_else(|| Some("iostat -x 1 5".to_owned())),
    }
}
