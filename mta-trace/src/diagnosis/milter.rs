//! Findings of milters (content filters of the mail server): slow, silent, not there.
//!
//! In: the `milter` waits of one command on one milter. Out: one finding that names the stages. Not here: the
//! delays of 40 ms that are TCP's own (`nagle.rs`).

use super::{
    Case, Text,
    ending::{Ending, Rules, rules},
    text::{connect, count, ended, list, seconds},
};
use crate::mta::Topic;
use crate::report::{Command, Session, Wait};

const RULES: Rules = rules!("milter");

pub fn rule(_: &Session, _: &Command, wait: &Wait) -> &'static str {
    RULES.of(wait)
}

pub fn explain(case: &Case) -> Text {
    let target = case.target_text();
    let mut stages: Vec<&str> = Vec::new();
    for milter in case.waits.iter().filter_map(|wait| wait.milter.as_ref()) {
        if !stages.contains(&milter.stage.as_str()) {
            stages.push(&milter.stage);
        }
    }
    let at = if stages.is_empty() { String::new() } else { format!(" at {}", list(&stages)) };
    let how = match case.ending() {
        Ending::Timeout => format!("never answered{at}"),
        Ending::Unfinished => format!("had not answered{at} {}", case.when_left()),
        Ending::Unreachable => format!("could not be reached{at}"),
        Ending::Slow => format!("answered late{at}"),
    };
    let topic = match case.ending() {
        Ending::Unreachable => Topic::MilterUnreachable,
        Ending::Timeout => Topic::MilterTimeout,
        Ending::Slow | Ending::Unfinished => Topic::MilterSlow,
    };
    Text {
        summary: format!("{} for the milter {target}, which {how}", case.opening()),
        evidence: format!("{}{}{}", answers(case), case.timer(), case.traces()),
        remedy: case.advice(topic),
        check: connect(target),
    }
}

fn answers(case: &Case) -> String {
    let number = u64::try_from(case.waits.len()).unwrap_or(u64::MAX);
    let each: Vec<String> = case
        .waits
        .iter()
        .map(|wait| {
            let stage = wait.milter.as_ref().map_or("connect", |milter| milter.stage.as_str());
            let reply = wait.milter.as_ref().and_then(|milter| milter.reply.as_deref()).unwrap_or_else(|| ended(wait.outcome));
            format!("{stage} {} ({reply})", seconds(wait.elapsed_s))
        })
        .collect();
    format!("{}: {}", count(number, "wait"), each.join(", "))
}
