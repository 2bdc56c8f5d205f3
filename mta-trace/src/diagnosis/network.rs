//! Findings of connections to peers that have no better name.
//!
//! In: the `network` waits of one command on one peer. Out: one finding that names peer, port and outcome.

use super::{
    Case, Text,
    ending::{Ending, Rules, rules},
    text::{connect, count, ended, host_port},
};
use crate::mta::Topic;
use crate::report::{Command, Session, Wait};

const RULES: Rules = rules!("network");

pub fn rule(_: &Session, _: &Command, wait: &Wait) -> &'static str {
    RULES.of(wait)
}

pub fn explain(case: &Case) -> Text {
    let target = case.target_text();
    let how = match (case.ending(), case.connected()) {
        (Ending::Unfinished, _) => format!("not over {}", case.when_left()),
        (Ending::Timeout, Some(false)) => "the connection attempt was never answered".to_owned(),
        _ => case.waits.first().map_or("", |wait| ended(wait.outcome)).to_owned(),
    };
    let number = u64::try_from(case.waits.len()).unwrap_or(u64::MAX);
    let who = case
        .target
        .and_then(host_port)
        .map_or_else(String::new, |(_, port)| format!("; `getent services {port}` names what usually listens on port {port}"));
    // A unix socket is on this machine.
    let over = if case.target.is_none_or(|target| host_port(target).is_some()) { " over the network" } else { "" };
    Text {
        summary: format!("{} for {target}{over}: {how}", case.opening()),
        evidence: format!("{}{}", count(number, "wait"), case.traces()),
        remedy: case.advice(Topic::Network).then(&who),
        check: case.target.and_then(connect),
    }
}
