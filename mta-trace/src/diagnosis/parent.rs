//! Findings of a process that waits for the one that forked it.
//!
//! In: the `mta` waits of one command on one process. Out: one finding.

use super::{Case, Text, mta::Topic};
use crate::report::{Command, Session, Wait};

pub fn rule(_: &Session, _: &Command, wait: &Wait) -> &'static str {
    wait.cause.name()
}

pub fn explain(case: &Case) -> Text {
    let parent = case.target.map_or_else(String::new, |it| format!(" ({it})"));
    Text {
        summary: format!("{} for the process that forked it{parent}", case.opening()),
        evidence: format!("the serving process read the pipe that it was forked with until its parent closed it or wrote{}", case.traces()),
        remedy: (case.advice)(Topic::AcceptLate).to_owned(),
        check: (case.check)(Topic::AcceptLate).map(str::to_owned),
    }
}
