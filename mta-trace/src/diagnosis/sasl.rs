//! Findings of password checks: `saslauthd` and its like.
//!
//! In: the `sasl` waits of one command. Out: one finding. Only the time and the outcome are known: what was asked
//! is never read.

use super::{Case, Text, text::ended};
use crate::mta::Topic;
use crate::report::{Command, Outcome, Session, Wait};

const TIMEOUT: &str = "sasl-timeout";
const UNFINISHED: &str = "sasl-unfinished";
const UNREACHABLE: &str = "sasl-unreachable";
const SLOW: &str = "sasl-slow";

pub fn rule(_: &Session, _: &Command, wait: &Wait) -> &'static str {
    match wait.outcome {
        Outcome::Timeout => TIMEOUT,
        Outcome::Unfinished | Outcome::Interrupted => UNFINISHED,
        Outcome::Refused | Outcome::Unreachable | Outcome::Reset => UNREACHABLE,
        Outcome::Ok | Outcome::Denied | Outcome::Error => SLOW,
    }
}

pub fn explain(case: &Case) -> Text {
    let target = case.target_text();
    let denied = case.waits.iter().any(|wait| wait.outcome == Outcome::Denied);
    let how = match case.rule {
        TIMEOUT => "which did not answer".to_owned(),
        UNFINISHED => format!("which had not answered {}", case.when_left()),
        UNREACHABLE => "which could not be reached".to_owned(),
        _ if denied => "which said no after that time".to_owned(),
        _ => "which answered late".to_owned(),
    };
    let outcomes = case.waits.first().map_or("", |wait| ended(wait.outcome));
    let delay = if denied { "; a refused password is often delayed on purpose (pam_faildelay, FAIL_DELAY)" } else { "" };
    Text {
        summary: format!("{} for the password check by {target}, {how}", case.opening()),
        evidence: format!("{target}: {outcomes}{}", case.traces()),
        remedy: case.advice(Topic::Sasl).then(delay),
        check: Some("time testsaslauthd -u USER -p PASSWORD -s smtp".to_owned()),
    }
}
