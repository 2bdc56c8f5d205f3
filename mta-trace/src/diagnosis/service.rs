//! Findings of services that the mail server asks and that are known by their address or by what they were asked: policy services, tables,
//! directories, databases, content filters, name services, and the mail server's own other processes.
//!
//! In: such waits of one command on one service. Out: one finding. Only time and outcome are known: what was asked is not read.

use super::{
    Case, Text,
    ending::{Ending, Rules, rules},
    text::{connect, count, ended},
};
use crate::mta::Topic;
use crate::report::{Cause, Command, Outcome, Session, Wait};

/// What a service is called, and its rules.
struct Service {
    cause: Cause,
    words: &'static str,
    rules: Rules,
}

macro_rules! services {
    ($($cause:ident $name:literal $words:literal;)*) => {
        &[$(Service { cause: Cause::$cause, words: $words, rules: rules!($name) }),*]
    };
}

/// One line for each cause.
const SERVICES: &[Service] = services! {
    Policy "policy" "the policy service";
    Map "map" "the table behind";
    Ldap "ldap" "the directory";
    Sql "sql" "the database";
    ContentFilter "content-filter" "the content filter";
    NameService "name-service" "the name service";
    Mta "mta" "the mail server's own";
};
/// For a cause without a line of its own: no other's name.
const OTHER: Service = Service { cause: Cause::Unknown, words: "the service", rules: rules!("service") };

fn service(cause: Cause) -> &'static Service {
    SERVICES.iter().find(|service| service.cause == cause).unwrap_or(&OTHER)
}

pub fn rule(_: &Session, _: &Command, wait: &Wait) -> &'static str {
    service(wait.cause).rules.of(wait)
}

pub fn explain(case: &Case) -> Text {
    let cause = case.waits.first().map_or(Cause::Unknown, |wait| wait.cause);
    let what = service(cause).words;
    let target = case.target_text();
    let outcome = case.waits.first().map_or(Outcome::Ok, |wait| wait.outcome);
    let how = match (case.ending(), case.connected()) {
        (Ending::Timeout, Some(false)) => "which could not be connected to in time".to_owned(),
        (Ending::Timeout, _) => "which did not answer in time".to_owned(),
        (Ending::Unfinished, _) => format!("which had not answered {}", case.when_left()),
        (Ending::Unreachable, _) => "which could not be reached".to_owned(),
        (Ending::Slow, _) => "which answered late".to_owned(),
    };
    let number = u64::try_from(case.waits.len()).unwrap_or(u64::MAX);
    Text {
        summary: format!("{} for {what} {target}, {how}", case.opening()),
        evidence: format!("{}, {}{}{}", count(number, "wait"), ended(outcome), case.timer(), case.traces()),
        remedy: case.advice(Topic::Service(cause)),
        check: case.mta.check(Topic::Service(cause)).map(str::to_owned).or_else(|| case.target.and_then(connect)),
    }
}
