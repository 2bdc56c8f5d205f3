//! Findings of TLS handshakes that stood still.
//!
//! In: the `tls` waits of one command. Out: one finding. That the client's next message does not come is known; whether the client is slow or packets are
//! lost on the way is not, so both are named, and the check tells them apart.

use super::{
    Case, Text,
    text::{count, host_port},
};
use crate::mta::Topic;
use crate::report::{Command, Outcome, Session, Wait};

const SLOW: &str = "tls-slow";
const UNFINISHED: &str = "tls-unfinished";
const BROKEN: &str = "tls-broken";

/// What a distant client needs for its two flights is no finding.
pub const FLOOR_S: f64 = 1.0;

pub fn rule(_: &Session, _: &Command, wait: &Wait) -> &'static str {
    match wait.outcome {
        Outcome::Unfinished | Outcome::Interrupted => UNFINISHED,
        Outcome::Ok => SLOW,
        Outcome::Timeout | Outcome::Refused | Outcome::Unreachable | Outcome::Reset | Outcome::Denied | Outcome::Error => BROKEN,
    }
}

pub fn explain(case: &Case) -> Text {
    let number = u64::try_from(case.waits.len()).unwrap_or(u64::MAX);
    let how = match case.rule {
        UNFINISHED => format!("it had not come {}", case.when_left()),
        BROKEN => "it never came".to_owned(),
        _ => "it came late".to_owned(),
    };
    let host = host_port(&case.session.client).map_or_else(|| "CLIENT".to_owned(), |(host, _)| host);
    Text {
        summary: format!("{} for the client's next message of the TLS handshake: {how}", case.opening()),
        evidence: format!("{} on the client's connection inside the handshake, {}{}", count(number, "wait"), case.session.client, case.traces()),
        remedy: case.advice(Topic::Tls),
        check: Some(format!("ss -tino dst {host}  # while it lasts: `retrans` and `backoff` say that the server's packets do not arrive")),
    }
}
