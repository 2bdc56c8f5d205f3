//! Findings of file locks: another process holds the file.
//!
//! In: the `file-lock` waits of one command on one file. Out: one finding. Who held the lock is known only if the
//! wait names a peer.

use super::{
    Case, Text,
    text::{count, shell},
};
use crate::mta::Topic;
use crate::report::{Command, Session, Wait};

pub fn rule(_: &Session, _: &Command, _: &Wait) -> &'static str {
    "file-lock"
}

pub fn explain(case: &Case) -> Text {
    let path = case.target.unwrap_or("a file whose name is not known");
    let number = u64::try_from(case.waits.len()).unwrap_or(u64::MAX);
    Text {
        summary: format!("{} for a lock on {path} that another process held", case.opening()),
        evidence: format!("{} for the lock{}", count(number, "wait"), case.traces()),
        remedy: case.advice(Topic::Lock),
        check: Some(case.target.map_or_else(|| "lslocks".to_owned(), |path| format!("fuser -v {}; lslocks", shell(path)))),
    }
}
