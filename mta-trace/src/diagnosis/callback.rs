//! Findings of call-outs: the mail server asks another one whether an address exists, before it answers its client.
//!
//! In: the `callback` waits of one command. Out: one finding. That server is somebody else's: all that can be changed here is how
//! long it is waited for, and whether it is asked at all.

use super::{
    Case, Text,
    text::{connect, ended},
};
use crate::mta::Topic;
use crate::report::{Command, Outcome, Session, Wait};

const TIMEOUT: &str = "callback-timeout";
const UNFINISHED: &str = "callback-unfinished";
const UNREACHABLE: &str = "callback-unreachable";
const SLOW: &str = "callback-slow";

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
    let how = match (case.rule, case.connected()) {
        (TIMEOUT, Some(false)) => "which never answered the connection attempt".to_owned(),
        (TIMEOUT, _) => "which did not answer in time".to_owned(),
        (UNFINISHED, _) => format!("which had not answered {}", case.when_left()),
        (UNREACHABLE, _) => "which could not be reached".to_owned(),
        _ => "which answered late".to_owned(),
    };
    let outcome = case.waits.first().map_or("", |wait| ended(wait.outcome));
    Text {
        summary: format!("{} for the mail server {target}, asked whether the address exists, {how}", case.opening()),
        evidence: format!("SMTP connection to {target}: {outcome}{}{}", case.timer(), case.traces()),
        remedy: case.advice(Topic::Callback),
        check: connect(target),
    }
}
