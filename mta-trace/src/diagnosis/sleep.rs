//! Findings of sleeps: the server waits on purpose.
//!
//! In: the `sleep` waits of one command. Out: one finding, of severity `intended` where the place shows which
//! configured delay it is. A pause before the greeting watches the client's descriptor (to catch clients that talk
//! too early), and so does one before a reply (to see whether the client hangs up); a throttle sleeps by `nanosleep`.

use super::{
    Case, Text,
    text::{count, list, seconds},
};
use crate::mta::{self, Topic};
use crate::report::{Command, Session, Verb, Wait};

pub const GREET_PAUSE: &str = "greet-pause";
pub const RCPT_THROTTLE: &str = "rcpt-throttle";
pub const AUTH_THROTTLE: &str = "auth-throttle";
pub const TARPIT: &str = "tarpit";
const SLEEP: &str = "sleep";

pub fn rule(session: &Session, command: &Command, wait: &Wait) -> &'static str {
    let nanosleep = is_nanosleep(wait);
    // Behind the greeting it is no pause before it.
    let is_inside = wait.start_s <= command.start_s + command.elapsed_s;
    // While Postfix waits for a verification it asks `verify` in between.
    if nanosleep && mta::by_name(&session.mta).sleeps_only_if_told() && !command.waits.iter().any(|wait| wait.target.as_deref() == Some("verify")) {
        return TARPIT;
    }
    match command.verb {
        Verb::Connect if !nanosleep && is_inside => GREET_PAUSE,
        Verb::Rcpt if nanosleep && was_refused_before(session, command) => RCPT_THROTTLE,
        Verb::Auth if nanosleep && was_refused_before(session, command) => AUTH_THROTTLE,
        _ if is_inside && watches_client(session, wait) => TARPIT,
        _ => SLEEP,
    }
}

fn is_nanosleep(wait: &Wait) -> bool {
    wait.syscalls.iter().any(|call| call == "nanosleep" || call == "clock_nanosleep")
}

/// What the load or an error makes a server sleep for, it sleeps for without looking at anybody.
fn watches_client(session: &Session, wait: &Wait) -> bool {
    wait.descriptor.as_deref().is_some_and(|descriptor| descriptor.ends_with(&format!(" -> {}", session.client)))
}

/// A throttle answers refusals: without one before it, the same sleep is the load's (`DelayLA`) or has another reason.
fn was_refused_before(session: &Session, command: &Command) -> bool {
    let mut earlier = session.commands.iter().filter(|it| it.index < command.index && it.verb == command.verb);
    earlier.any(|it| it.reply_code.is_some_and(|code| code >= 400))
}

pub fn explain(case: &Case) -> Text {
    let opening = case.opening();
    let (summary, topic) = match case.rule {
        GREET_PAUSE => (format!("{opening} before the greeting: a configured pause"), Topic::GreetPause),
        RCPT_THROTTLE => (format!("{opening} asleep: recipients are throttled after too many bad ones"), Topic::RcptThrottle),
        TARPIT if case.waits.iter().all(|wait| is_nanosleep(wait)) => {
            (format!("{opening} asleep before its reply: a configured delay"), Topic::Tarpit)
        }
        TARPIT => (format!("{opening} in a pause that watches whether the client hangs up: a configured delay"), Topic::Tarpit),
        AUTH_THROTTLE => (format!("{opening} asleep: authentication is throttled after failed attempts"), Topic::AuthThrottle),
        _ => (format!("{opening} asleep: it slept by itself, not for any other process or peer"), Topic::Sleep),
    };
    let lengths: Vec<String> = case.waits.iter().map(|wait| seconds(wait.timer_s.unwrap_or(wait.elapsed_s))).collect();
    let number = u64::try_from(case.waits.len()).unwrap_or(u64::MAX);
    Text {
        summary,
        evidence: format!("{} of {}; the server waited for nothing but the time{}", count(number, "sleep"), list(&lengths), case.traces()),
        remedy: case.advice(topic),
        check: case.mta.check(topic).map(str::to_owned),
    }
}
