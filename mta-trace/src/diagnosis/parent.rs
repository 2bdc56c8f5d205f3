//! Findings of a process that waits for another one of the same mail server: for the one that forked it, or for a service.
//!
//! In: the `mta` waits of one command on one process. Out: one finding. Not here: what is said of services (`service.rs`).

use super::{Case, Text, service};
use crate::mta::Topic;
use crate::report::{Command, Session, Wait};

/// A parent is `PID COMM`, a service has a name.
fn is_service(target: Option<&str>) -> bool {
    target.is_some_and(|target| !target.starts_with(|c: char| c.is_ascii_digit()))
}

pub fn rule(session: &Session, command: &Command, wait: &Wait) -> &'static str {
    if is_service(wait.target.as_deref()) { service::rule(session, command, wait) } else { wait.cause.name() }
}

pub fn explain(case: &Case) -> Text {
    if is_service(case.target) {
        return service::explain(case);
    }
    let parent = case.target.map_or_else(String::new, |it| format!(" ({it})"));
    Text {
        summary: format!("{} for the process that forked it{parent}", case.opening()),
        evidence: format!("the serving process read the pipe that it was forked with until its parent closed it or wrote{}", case.traces()),
        remedy: case.advice(Topic::AcceptLate),
        check: case.mta.check(Topic::AcceptLate).map(str::to_owned),
    }
}
