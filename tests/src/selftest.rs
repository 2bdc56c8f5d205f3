//! The lab against its own scenarios, without the tracer: do the faults happen, and take as long as configured?
//!
//! In come a scenario, the client's exchanges and the journal, out come the differences. A tracer that is compared with
//! a lab that passed this cannot blame the lab.

use anyhow::{Context, Result};

use crate::Lab;
use crate::client::Played;
use crate::journal::{Event, What};
use crate::measure::measure;
use crate::scenario::Scenario;
use crate::span::{Span, assign, spans};
use crate::truth::{Source, known};

/// Slack against configured times: the machine may be busy, and nothing here is measured twice.
const FLOOR_S: f64 = 0.15;
/// Two clocks' readings of one moment.
const EARLY_S: f64 = 0.002;

/// What one run showed.
pub struct Outcome {
    /// Verb and time of each command, for people.
    pub times: Vec<(String, Option<f64>)>,
    /// Differences; empty if all is well.
    pub problems: Vec<String>,
}

/// Puts the lab up, plays the dialogue, compares.
pub fn run(scenario: &Scenario) -> Result<Outcome> {
    let dir = crate::packages::target_dir().join("lab-selftest").join(&scenario.name);
    let lab = Lab::up_in(scenario, &dir).context("put the lab up")?;
    lab.install_faults().context("install the faults")?;
    lab.play_other()?;
    let played = lab.play_all();
    wait_for_the_rest(&lab, scenario);
    lab.journal().save(&lab.dir().join("journal.jsonl"))?;
    let played = played?;
    let spans = spans(&played);
    let problems = problems(scenario, &played, &spans, &lab.journal().events());
    let times = spans.iter().map(|span| (span.verb.clone(), span.elapsed_s())).collect();
    Ok(Outcome { times, problems })
}

/// A session whose client has left goes on for a while: until the serving process is gone.
fn wait_for_the_rest(lab: &Lab, scenario: &Scenario) {
    if scenario.dialogue.last().is_some_and(|step| step.leave) {
        lab.wait_served(std::time::Duration::from_secs(scenario.time_limit_s));
    }
}

fn problems(scenario: &Scenario, played: &Played, spans: &[Span], events: &[Event]) -> Vec<String> {
    let verbs: Vec<String> = scenario.expect.commands.iter().map(|command| command.verb.clone()).collect();
    let assigned = assign(&verbs, spans);
    let is_tls_first = scenario.dialogue.iter().find(|step| step.connect.is_none()).is_some_and(|step| step.tls);
    let mut problems = Vec::new();
    for (at, (command, span)) in scenario.expect.commands.iter().zip(assigned).enumerate() {
        // Where TLS comes first, the client sees no end of what the server does before.
        if command.verb == "DISCONNECT" || command.verb == "CONNECT" && is_tls_first {
            continue;
        }
        match span {
            Some(span) => check(scenario, at, span, events, &mut problems),
            None => problems.push(format!("{}: the client's dialogue has no such command", command.verb)),
        }
    }
    if played.exchanges.is_empty() {
        problems.push("nothing was played".to_owned());
    }
    problems
}

fn check(scenario: &Scenario, at: usize, span: &Span, events: &[Event], problems: &mut Vec<String>) {
    let Some(command) = scenario.expect.commands.get(at) else { return };
    let verb = &command.verb;
    if let (Some(about_s), Some(elapsed_s)) = (command.about_s, span.elapsed_s()) {
        let slack = (about_s * 0.02).max(FLOOR_S);
        if (about_s - elapsed_s).abs() > slack {
            problems.push(format!("{verb}: configured for {about_s} s, took {elapsed_s:.3} s"));
        }
    }
    let asked = questions(events, span);
    if !command.questions.is_empty() && command.questions != asked {
        problems.push(format!("{verb}: expected the questions {:?}, seen {asked:?}", command.questions));
    }
    for (nth, wait) in command.waits.iter().enumerate() {
        match measure(events, span, wait) {
            Err(error) => problems.push(format!("{verb}: {error}")),
            Ok(measured) if measured.attempts.is_some() && wait.attempts.is_some_and(|n| Some(n) != measured.attempts) => {
                problems.push(format!("{verb}: {:?}: expected {:?} attempts, seen {:?}", wait.question, wait.attempts, measured.attempts));
            }
            Ok(measured) => {
                let problem = otherwise(known(scenario, None, (at, nth)), measured.elapsed_s);
                problems.extend(problem.map(|problem| format!("{verb}: {problem}")));
            }
        }
    }
}

/// What a neighbour measured of a fault that is defined in seconds: it may be late, but never early.
fn otherwise((source, defined_s): (Source, Option<f64>), measured_s: f64) -> Option<String> {
    let defined_s = defined_s.filter(|_| source == Source::Definition)?;
    let is_as_defined = measured_s >= defined_s - EARLY_S && measured_s <= defined_s + (defined_s * 0.02).max(FLOOR_S);
    (!is_as_defined).then(|| format!("defined as {defined_s} s, the neighbour measured {measured_s:.3} s"))
}

fn questions(events: &[Event], span: &Span) -> Vec<String> {
    events
        .iter()
        .filter(|event| event.t_ns >= span.start_ns && span.end_ns.is_none_or(|end| event.t_ns <= end))
        .filter_map(|event| match &event.what {
            What::DnsQuery { qtype, qname, .. } => Some(format!("{qtype} {qname}")),
            _ => None,
        })
        .collect()
}
