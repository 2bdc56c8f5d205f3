//! Findings of services that the mail server asks and that are known by their address or by what they were asked: policy services, tables,
//! directories, databases, content filters, name services, and the mail server's own other processes.
//!
//! In: such waits of one command on one service. Out: one finding. Only time and outcome are known: what was asked is not read.

use super::{
    Case, Text,
    text::{connect, count, ended},
};
use crate::mta::Topic;
use crate::report::{Cause, Command, Outcome, Session, Wait};

/// The rules of a cause, in the order of [`rule`].
macro_rules! rules {
    ($name:literal) => {
        [concat!($name, "-slow"), concat!($name, "-timeout"), concat!($name, "-unreachable"), concat!($name, "-unfinished")]
    };
}

pub fn rule(_: &Session, _: &Command, wait: &Wait) -> &'static str {
    let [slow, timeout, unreachable, unfinished] = match wait.cause {
        Cause::Policy => rules!("policy"),
        Cause::Map => rules!("map"),
        Cause::Ldap => rules!("ldap"),
        Cause::Sql => rules!("sql"),
        Cause::ContentFilter => rules!("content-filter"),
        Cause::NameService => rules!("name-service"),
        _ => rules!("mta"),
    };
    match wait.outcome {
        Outcome::Timeout => timeout,
        Outcome::Unfinished | Outcome::Interrupted => unfinished,
        Outcome::Refused | Outcome::Unreachable | Outcome::Reset => unreachable,
        Outcome::Ok | Outcome::Denied | Outcome::Error => slow,
    }
}

pub fn explain(case: &Case) -> Text {
    let cause = case.waits.first().map_or(Cause::Unknown, |wait| wait.cause);
    let what = match cause {
        Cause::Policy => "the policy service",
        Cause::Map => "the table behind",
        Cause::Ldap => "the directory",
        Cause::Sql => "the database",
        Cause::ContentFilter => "the content filter",
        Cause::NameService => "the name service",
        _ => "the mail server's own",
    };
    let target = case.target_text();
    let outcome = case.waits.first().map_or(Outcome::Ok, |wait| wait.outcome);
    let how = match outcome {
        Outcome::Timeout if case.connected() == Some(false) => "which could not be connected to in time".to_owned(),
        Outcome::Timeout => "which did not answer in time".to_owned(),
        Outcome::Unfinished | Outcome::Interrupted => format!("which had not answered {}", case.when_left()),
        Outcome::Refused | Outcome::Unreachable | Outcome::Reset => "which could not be reached".to_owned(),
        Outcome::Ok | Outcome::Denied | Outcome::Error => "which answered late".to_owned(),
    };
    let number = u64::try_from(case.waits.len()).unwrap_or(u64::MAX);
    Text {
        summary: format!("{} for {what} {target}, {how}", case.opening()),
        evidence: format!("{}, {}{}{}", count(number, "wait"), ended(outcome), case.timer(), case.traces()),
        remedy: case.mta.advice(Topic::Service(cause)).to_owned(),
        check: case.mta.check(Topic::Service(cause)).map(str::to_owned).or_else(|| case.target.and_then(connect)),
    }
}
