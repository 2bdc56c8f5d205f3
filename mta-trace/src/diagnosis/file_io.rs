//! Findings of file system calls and page faults that blocked.
//!
//! In: the `file-io` waits of one command on one path. Out: one finding.

use super::{
    Case, Text,
    text::{count, shell},
};
use crate::mta::Topic;
use crate::report::{Command, Session, Wait};

pub fn rule(_: &Session, _: &Command, _: &Wait) -> &'static str {
    "file-io"
}

pub fn explain(case: &Case) -> Text {
    let path = case.target.unwrap_or("a file whose name is not known");
    let number = u64::try_from(case.waits.len()).unwrap_or(u64::MAX);
    Text {
        summary: format!("{} for the file system: {path}", case.opening()),
        evidence: format!("{}{}", count(number, "wait"), case.traces()),
        remedy: case.advice(Topic::FileIo),
        check: Some(case.target.map_or_else(|| "iostat -x 1 5".to_owned(), |path| format!("findmnt -T {}; iostat -x 1 5", shell(path)))),
    }
}
