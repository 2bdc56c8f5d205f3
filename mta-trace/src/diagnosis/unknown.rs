//! Findings of waits whose family has no file of its own yet, and of waits that could not be named.
//!
//! In: such waits of one command. Out: one finding under the cause's own name, with what was seen and no guess.

use super::{
    Case, Text,
    text::{connect, count, ended},
};
use crate::mta::Topic;
use crate::report::{Cause, Command, Session, Wait};

pub fn rule(_: &Session, _: &Command, wait: &Wait) -> &'static str {
    wait.cause.name()
}

pub fn explain(case: &Case) -> Text {
    let number = u64::try_from(case.waits.len()).unwrap_or(u64::MAX);
    let outcome = case.waits.first().map_or("", |wait| ended(wait.outcome));
    let of = case.target.map(|target| format!(" ({target})")).unwrap_or_default();
    let named = case.waits.first().map(|wait| wait.cause).filter(|cause| *cause != Cause::Unknown);
    Text {
        summary: match named {
            Some(cause) => format!("{} for {}{of}: {outcome}", case.opening(), cause.name()),
            None => format!("{} for something that could not be named{of}", case.opening()),
        },
        evidence: format!("{}, {outcome}{}", count(number, "wait"), case.traces()),
        remedy: case.advice(if named.is_some() { Topic::OtherService } else { Topic::Unknown }),
        check: case.target.and_then(connect),
    }
}
