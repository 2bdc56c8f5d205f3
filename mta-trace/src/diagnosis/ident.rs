//! Findings of ident (RFC 1413): the mail server asks port 113 of its client who is calling.
//!
//! In: the `ident` waits of one command. Out: one finding. A firewall that drops the packets is what makes it
//! slow; one that rejects them costs nothing.

use super::{
    Case, Text,
    text::{connect, ended},
};
use crate::mta::Topic;
use crate::report::{Command, Outcome, Session, Wait};

const TIMEOUT: &str = "ident-timeout";
const UNFINISHED: &str = "ident-unfinished";
const SLOW: &str = "ident-slow";

pub fn rule(_: &Session, _: &Command, wait: &Wait) -> &'static str {
    match wait.outcome {
        Outcome::Timeout => TIMEOUT,
        Outcome::Unfinished | Outcome::Interrupted => UNFINISHED,
        Outcome::Ok | Outcome::Refused | Outcome::Unreachable | Outcome::Reset | Outcome::Denied | Outcome::Error => SLOW,
    }
}

pub fn explain(case: &Case) -> Text {
    let target = case.target_text();
    let how = match (case.rule, case.connected()) {
        (TIMEOUT, Some(false)) => "which never answered the connection attempt".to_owned(),
        (TIMEOUT, Some(true)) => "which accepted the connection and never answered the query".to_owned(),
        (TIMEOUT, None) => "which never answered".to_owned(),
        (UNFINISHED, _) => format!("which had not answered {}", case.when_left()),
        _ => "which answered late".to_owned(),
    };
    let outcome = case.waits.first().map_or("", |wait| ended(wait.outcome));
    Text {
        summary: format!("{} for ident of {target}, {how}", case.opening()),
        evidence: format!("connection to {target}: {outcome}{}{}", case.timer(), case.traces()),
        remedy: case
            .advice(Topic::Ident)
            .then("; or let the client's firewall reject port 113 instead of dropping it (a refused connection costs nothing)"),
        check: connect(target),
    }
}
