//! Findings of password checks: `saslauthd` and its like.
//!
//! In: the `sasl` waits of one command. Out: one finding. Only the time and the outcome are known: what was asked
//! is never read.

use super::{
    Case, Text,
    ending::{Ending, Rules, rules},
    text::ended,
};
use crate::mta::Topic;
use crate::report::{Command, Outcome, Session, Wait};

const RULES: Rules = rules!("sasl");

pub fn rule(_: &Session, _: &Command, wait: &Wait) -> &'static str {
    RULES.of(wait)
}

pub fn explain(case: &Case) -> Text {
    let target = case.target_text();
    let denied = case.waits.iter().any(|wait| wait.outcome == Outcome::Denied);
    let how = match case.ending() {
        Ending::Timeout => "which did not answer".to_owned(),
        Ending::Unfinished => format!("which had not answered {}", case.when_left()),
        Ending::Unreachable => "which could not be reached".to_owned(),
        Ending::Slow if denied => "which said no after that time".to_owned(),
        Ending::Slow => "which answered late".to_owned(),
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
