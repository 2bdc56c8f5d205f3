//! Findings of other mail servers for which the client waits: one that is asked whether an address exists (a call-out), or the next hop, to which
//! the message goes before its reply.
//!
//! In: the `callback` or `relay` waits of one command. Out: one finding. That server is somebody else's, and what is said to it is not read: time
//! and outcome are all that is known.

use super::{
    Case, Text,
    ending::{Ending, Rules, rules},
    text::{connect, count, ended},
};
use crate::mta::Topic;
use crate::report::{Cause, Command, Session, Wait};

const CALLBACK: Rules = rules!("callback");
const RELAY: Rules = rules!("relay");

pub fn rule(_: &Session, _: &Command, wait: &Wait) -> &'static str {
    if wait.cause == Cause::Relay { RELAY.of(wait) } else { CALLBACK.of(wait) }
}

pub fn explain(case: &Case) -> Text {
    let target = case.target_text();
    let is_relay = case.waits.iter().any(|wait| wait.cause == Cause::Relay);
    if !is_relay && target == VERIFY {
        return by_service(case);
    }
    let how = match (case.ending(), case.connected()) {
        (Ending::Timeout, Some(false)) => "which never answered the connection attempt".to_owned(),
        (Ending::Timeout, _) => "which did not answer in time".to_owned(),
        (Ending::Unfinished, _) => format!("which had not answered {}", case.when_left()),
        (Ending::Unreachable, _) => "which could not be reached".to_owned(),
        (Ending::Slow, _) => "which answered late".to_owned(),
    };
    let (who, connection, topic) = if is_relay {
        (
            format!("next hop {target}, to which the message goes before its reply"),
            format!("connection to {target} behind the end of the message"),
            Topic::Relay,
        )
    } else {
        (format!("mail server {target}, asked whether the address exists"), format!("SMTP connection to {target}"), Topic::Callback)
    };
    let outcome = case.waits.first().map_or("", |wait| ended(wait.outcome));
    Text {
        summary: format!("{} for the {who}, {how}", case.opening()),
        evidence: format!("{connection}: {outcome}{}{}", case.timer(), case.traces()),
        remedy: case.advice(topic),
        check: connect(target),
    }
}

/// Postfix's own service, which has the question asked by others.
const VERIFY: &str = "verify";

fn by_service(case: &Case) -> Text {
    let requests = case.waits.iter().filter_map(|wait| wait.attempts).fold(0, u32::saturating_add);
    let requests = if requests > 0 { count(u64::from(requests), "request") } else { "requests".to_owned() };
    Text {
        summary: format!(
            "{} for Postfix's own service {VERIFY}, which has another mail server asked whether the address exists, and had no answer yet",
            case.opening()
        ),
        evidence: format!("{requests} to {VERIFY}, and a sleep behind each but the last{}", case.traces()),
        remedy: case.advice(Topic::Callback),
        check: case.mta.check(Topic::Callback).map(str::to_owned),
    }
}
