//! How right a report is: precision and recall over the waits that the scenarios expect.
//!
//! In comes a scenario, what is known of its waits' times, and a report; out come counts and a sentence about each miss. **Right** is a wait
//! whose cause and target are those of the fault and whose time is the fault's; **missing** is an expected one that is not; **false** is a wait
//! of 100 ms or more, or a finding, that nothing in the scenario explains. Not here: everything else that a live test compares (`compare.rs`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::compare_wait::{Pairing, is_target, pair};
use crate::measure::slack_s;
use crate::report::{Command, Report, Session, Wait};
use crate::scenario::{ExpectCommand, ExpectWait, MtaKind, Scenario, Step};
use crate::truth::{Source, Truth, known};

/// From here on a wait that nothing explains is a false one.
const FALSE_S: f64 = 0.1;
/// What a false wait costs, in missing ones.
const FALSE_COSTS: usize = 3;
/// Exim gives the client so long to close first.
const EXIMS_QUIT_S: f64 = 0.2;
/// Causes without a target.
const WITHOUT_TARGET: [&str; 3] = ["sleep", "client", "unknown"];

/// What one report, or many, came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Score {
    /// Waits with the right cause, target and time.
    pub right: usize,
    /// Expected and not there, or not as expected.
    pub missing: Vec<String>,
    /// There, and explained by nothing.
    pub false_ones: Vec<String>,
    /// Where the scenario expects less than cause, target and the neighbour's time.
    pub loose: Vec<String>,
    /// By which right the times of the right ones are known.
    pub sources: BTreeMap<Source, usize>,
}

impl Score {
    /// Of one scenario's report.
    pub fn of(scenario: &Scenario, truth: Option<&Truth>, report: &Report) -> Self {
        let mut score = Self::default();
        let expect = &scenario.expect;
        let daemon = report.daemon.findings.iter().filter(|finding| !expect.daemon_findings.contains(&finding.rule));
        score.false_ones.extend(daemon.map(|finding| format!("{}: the daemon's finding {}", scenario.name, finding.rule)));
        let [session] = report.sessions.as_slice() else {
            score.missing.push(format!("{}: {} sessions instead of one", scenario.name, report.sessions.len()));
            return score;
        };
        for (index, expected) in expect.commands.iter().enumerate() {
            let of_command = Place { scenario, truth, index, expected };
            match session.commands.get(index).filter(|command| command.verb == expected.verb) {
                Some(command) => score.add_command(&of_command, command),
                None => score.missing.extend(expected.waits.iter().map(|wait| of_command.says(&format!("no such command, so no {}", wait.cause)))),
            }
        }
        score.add_findings(scenario, session);
        score
    }

    fn add_command(&mut self, place: &Place<'_>, command: &Command) {
        let Place { scenario, truth, index, expected } = *place;
        let time_of =
            |next: &ExpectWait| expected.waits.iter().position(|wait| std::ptr::eq(wait, next)).map(|wait| known(scenario, truth, (index, wait)));
        let Pairing { pairs, missing, others } = pair(expected, command, |next| time_of(next).and_then(|(_, seconds)| seconds));
        self.missing.extend(missing.iter().map(|wait| place.says(&format!("no {} {}", wait.cause, wait.question.as_deref().unwrap_or_default()))));
        let together_s: f64 = pairs.iter().map(|(_, wait)| wait.elapsed_s).sum();
        for (next, wait) in pairs {
            let (source, seconds) = time_of(next).unwrap_or((Source::Nothing, None));
            let found_s = if source == Source::Command { together_s } else { wait.elapsed_s };
            let differences: Vec<String> = target_difference(next, wait).into_iter().chain(time_difference(seconds, found_s)).collect();
            if differences.is_empty() {
                self.right += 1;
                *self.sources.entry(source).or_default() += 1;
            } else {
                self.missing.push(place.says(&format!("{}: {}", next.cause, differences.join(", "))));
            }
            self.loose.extend(looseness(next, source).map(|what| place.says(&format!("{}: {what}", next.cause))));
        }
        let is_false =
            |wait: &&Wait| wait.elapsed_s >= FALSE_S.max(expected.ignore_s.unwrap_or_default()) && !is_clients(scenario, &expected.verb, wait);
        let told = |wait: &Wait| place.says(&format!("{} {} for {:.3} s", wait.cause, wait.target.as_deref().unwrap_or("-"), wait.elapsed_s));
        self.false_ones.extend(others.into_iter().filter(is_false).map(told));
        if expected.ignore_s.is_some_and(|ignore_s| ignore_s > FALSE_S) {
            self.loose.push(place.says(&format!("waits below {} s are not looked at", expected.ignore_s.unwrap_or_default())));
        }
    }

    fn add_findings(&mut self, scenario: &Scenario, session: &Session) {
        let expect = &scenario.expect;
        let of = |index: usize| expect.commands.get(index).map(|command| command.findings.as_slice()).unwrap_or_default();
        let anywhere = |rule: &String| expect.findings_anywhere.contains(rule) || expect.findings_maybe.contains(rule);
        let is_beyond = |index: usize| expect.open_ended && index >= expect.commands.len();
        let unexplained =
            session.findings.iter().filter(|found| !of(found.command).contains(&found.rule) && !anywhere(&found.rule) && !is_beyond(found.command));
        self.false_ones.extend(unexplained.map(|found| format!("{}: {}: the finding {}", scenario.name, found.command, found.rule)));
        for (index, command) in expect.commands.iter().enumerate() {
            let is_there = |rule: &&String| session.findings.iter().any(|found| found.command == index && found.rule == **rule);
            let missing = command.findings.iter().filter(|rule| !is_there(rule));
            self.missing.extend(missing.map(|rule| format!("{}: {index} {}: no finding {rule}", scenario.name, command.verb)));
        }
        if expect.open_ended {
            self.loose.push(format!("{}: commands behind the {} expected ones are not looked at", scenario.name, expect.commands.len()));
        }
    }

    /// Both together.
    pub fn add(&mut self, other: &Self) {
        let Self { right, missing, false_ones, loose, sources } = other;
        self.right += right;
        self.missing.extend_from_slice(missing);
        self.false_ones.extend_from_slice(false_ones);
        self.loose.extend_from_slice(loose);
        for (source, count) in sources {
            *self.sources.entry(*source).or_default() += count;
        }
    }

    /// Right of all, where a false one counts three times.
    pub fn value(&self) -> f64 {
        ratio(self.right, self.missing.len() + FALSE_COSTS * self.false_ones.len())
    }

    /// Right of what was told.
    pub fn precision(&self) -> f64 {
        ratio(self.right, self.false_ones.len())
    }

    /// Right of what was to be told.
    pub fn recall(&self) -> f64 {
        ratio(self.right, self.missing.len())
    }

    fn by(&self, source: Source) -> usize {
        self.sources.get(&source).copied().unwrap_or_default()
    }
}

/// One where there is nothing to be right or wrong about.
fn ratio(right: usize, wrong: usize) -> f64 {
    if right + wrong == 0 { 1.0 } else { right as f64 / (right + wrong) as f64 }
}

/// A command of a scenario.
#[derive(Clone, Copy)]
struct Place<'a> {
    scenario: &'a Scenario,
    truth: Option<&'a Truth>,
    index: usize,
    expected: &'a ExpectCommand,
}

impl Place<'_> {
    fn says(&self, what: &str) -> String {
        format!("{}: {} {}: {}", self.scenario.name, self.index, self.expected.verb, what.trim_end())
    }
}

fn target_difference(expected: &ExpectWait, wait: &Wait) -> Option<String> {
    let target = expected.target.as_ref().filter(|target| !is_target(target, wait.target.as_deref()))?;
    Some(format!("target {} instead of {target}", wait.target.as_deref().unwrap_or("-")))
}

fn time_difference(known_s: Option<f64>, found_s: f64) -> Option<String> {
    let known_s = known_s.filter(|known_s| (known_s - found_s).abs() > slack_s(*known_s))?;
    Some(format!("{found_s:.3} s instead of {known_s:.3} s"))
}

fn looseness(expected: &ExpectWait, source: Source) -> impl Iterator<Item = &'static str> {
    let no_target = expected.target.is_none() && !WITHOUT_TARGET.contains(&expected.cause.as_str());
    let time = match source {
        Source::Journal | Source::Definition => None,
        Source::Command => Some("its time is only known as the command's"),
        Source::Nothing => Some("its time is not known"),
    };
    no_target.then_some("no target is expected").into_iter().chain(time)
}

/// Whether this wait for the client is explained: the scenario's client lets the server wait, or the server always waits there.
fn is_clients(scenario: &Scenario, verb: &str, wait: &Wait) -> bool {
    let pauses = |step: &Step| {
        let Step { sleep_s, gap_ms, gap_s, until_asked, until_title, .. } = step;
        sleep_s.is_some() || *gap_ms > 0 || *gap_s > 0.0 || until_asked.is_some() || until_title.is_some()
    };
    let is_exims_quit = scenario.mta == MtaKind::Exim && verb == "QUIT" && (wait.elapsed_s - EXIMS_QUIT_S).abs() < FALSE_S;
    wait.cause == "client" && (is_exims_quit || scenario.dialogue.iter().any(pauses))
}

/// A table of scores by name, then every miss.
pub fn text(scores: &BTreeMap<String, Score>) -> String {
    let mut total = Score::default();
    let mut text = format!(
        "{:<12} {:>6} {:>8} {:>6} {:>7} {:>10} {:>7}   right ones whose time is known from\n{:<12} {:>6} {:>8} {:>6} {:>7} {:>10} {:>7}   {:>8} {:>11} {:>8} {:>8}\n",
        "", "right", "missing", "false", "score", "precision", "recall", "", "", "", "", "", "", "", "journal", "definition", "command", "nothing"
    );
    let mut row = |name: &str, score: &Score| {
        let Score { right, missing, false_ones, .. } = score;
        let [journal, definition, command, nothing] =
            [Source::Journal, Source::Definition, Source::Command, Source::Nothing].map(|source| score.by(source));
        // A String takes everything.
        let _ = writeln!(
            text,
            "{name:<12} {right:>6} {:>8} {:>6} {:>7.3} {:>10.3} {:>7.3}   {journal:>8} {definition:>11} {command:>8} {nothing:>8}",
            missing.len(),
            false_ones.len(),
            score.value(),
            score.precision(),
            score.recall()
        );
    };
    for (name, score) in scores {
        row(name, score);
        total.add(score);
    }
    row("total", &total);
    for (what, lines) in [("missing", &total.missing), ("false", &total.false_ones), ("expected loosely", &total.loose)] {
        for line in lines {
            let _ = writeln!(text, "{what}: {line}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCENARIO: &str = r#"
        policy.delay_s = 1.5
        expect.commands = [{ verb = "RCPT", findings = ["policy-slow"], waits = [{ cause = "policy", target = "10.99.0.1:10031" }] }]"#;

    /// A report of one RCPT with one policy wait, and what else is given.
    fn report(target: &str, elapsed_s: f64, others: &serde_json::Value) -> Report {
        let mut waits = vec![serde_json::json!({"cause": "policy", "target": target, "elapsed_s": elapsed_s, "outcome": "ok"})];
        waits.extend(others.as_array().cloned().unwrap_or_default());
        serde_json::from_value(serde_json::json!({
            "log": {"lost": 0},
            "sessions": [{
                "client": "c", "complete": true, "began": "accept", "end": "quit", "elapsed_s": 2.0, "client_s": 0.0,
                "commands": [{"index": 0, "verb": "RCPT", "reply_code": 250, "elapsed_s": 2.0, "short_waits_s": 0.0, "cpu_s": 0.0,
                    "runqueue_s": 0.0, "unexplained_s": 0.0, "waits": waits, "boundary": null}],
                "findings": [{"rule": "policy-slow", "command": 0, "elapsed_s": elapsed_s, "share": 0.75}]
            }]
        }))
        .expect("a report")
    }

    fn score(report: &Report) -> (usize, usize, usize) {
        let scenario: Scenario = toml::from_str(SCENARIO).expect("a scenario");
        let score = Score::of(&scenario, None, report);
        (score.right, score.missing.len(), score.false_ones.len())
    }

    #[test]
    fn cause_target_and_time_must_be_right() {
        let none = serde_json::json!([]);
        assert_eq!(score(&report("10.99.0.1:10031", 1.51, &none)), (1, 0, 0));
        assert_eq!(score(&report("10.99.0.1:10032", 1.51, &none)), (0, 1, 0));
        assert_eq!(score(&report("10.99.0.1:10031", 1.54, &none)), (0, 1, 0));
    }

    #[test]
    fn what_nothing_explains_is_false_from_100_ms_on() {
        let wait = |cause, elapsed_s| serde_json::json!([{"cause": cause, "target": null, "elapsed_s": elapsed_s, "outcome": "ok"}]);
        assert_eq!(score(&report("10.99.0.1:10031", 1.5, &wait("dns", 0.09))), (1, 0, 0));
        assert_eq!(score(&report("10.99.0.1:10031", 1.5, &wait("dns", 0.11))), (1, 0, 1));
        assert_eq!(score(&report("10.99.0.1:10031", 1.5, &wait("client", 0.5))), (1, 0, 1));
    }

    #[test]
    fn findings_are_held_against_the_scenario_too() {
        let mut report = report("10.99.0.1:10031", 1.5, &serde_json::json!([]));
        let session = report.sessions.first_mut().expect("one");
        session.findings.first_mut().expect("one").rule = "dns-slow".into();
        assert_eq!(score(&report), (1, 1, 1));
    }

    #[test]
    fn a_false_one_costs_three_missing_ones() {
        let score = Score { right: 6, missing: vec![String::new()], false_ones: vec![String::new()], ..Score::default() };
        assert!((score.value() - 0.6).abs() < 1e-9, "{}", score.value());
        assert!((score.precision() - 6.0 / 7.0).abs() < 1e-9 && (score.recall() - 6.0 / 7.0).abs() < 1e-9);
    }
}
