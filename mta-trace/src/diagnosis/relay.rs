//! Findings of deliveries that the client waits for: the message goes to the next hop before its reply.
//!
//! In: the `relay` waits of one command. Out: one finding. What is said to the next hop is not read: time and outcome are all that is known.

use super::{
    Case, Text,
    text::{connect, ended},
};
use crate::mta::Topic;
use crate::report::{Command, Outcome, Session, Wait};

const TIMEOUT: &str = "relay-timeout";
const UNFINISHED: &str = "relay-unfinished";
const UNREACHABLE: &str = "relay-unreachable";
const SLOW: &str = "relay-slow";

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
        summary: format!("{} for the next hop {target}, to which the message goes before its reply, {how}", case.opening()),
        evidence: format!("connection to {target} behind the end of the message: {outcome}{}{}", case.timer(), case.traces()),
        remedy: case.advice(Topic::Relay),
        check: connect(target),
    }
}
