//! Findings of child processes for which the server waits.
//!
//! In: the `child` waits of one command on one process. Out: one finding.

use super::{Case, Text};
use crate::mta::Topic;
use crate::report::{Command, Session, Wait};

pub fn rule(_: &Session, _: &Command, _: &Wait) -> &'static str {
    "child"
}

pub fn explain(case: &Case) -> Text {
    let child = case.target.map_or_else(|| "a child process".to_owned(), |it| format!("its child process {it}"));
    let inner: Vec<&str> = case.waits.iter().flat_map(|wait| &wait.inner).map(|wait| wait.cause.name()).collect();
    let inner = if inner.is_empty() { String::new() } else { format!(", which itself waited for {}", inner.join(", ")) };
    Text {
        summary: format!("{} for {child}{inner}", case.opening()),
        evidence: format!("the server did nothing until the child had ended or written to its pipe{}", case.traces()),
        remedy: case.advice(Topic::Child),
        check: Some(format!("ps -o pid,stat,wchan:32,args --ppid {}", case.session.pid)),
    }
}
