//! Where the time went: by cause, by target, by command; of one session, or of all.
//!
//! In: sessions, and the sums of what the report does not hold. Out: tables with bars, for `time.html`. Invariant: of one session the causes add up to its
//! whole time, of several to the time on the server's side. Not here: the distribution of the times (`distribution.rs`).

use super::{
    Shown,
    number::{length, percent, seconds, share},
};
use crate::report::{Cause, Command, LeftOutCommands, Report, Session, Verb};
use askama::Template;
use std::collections::BTreeMap;

/// More targets are counted together.
const TARGETS: usize = 20;

/// Less of what is no wait is not told.
const LEAST_S: f64 = 0.0005;

/// The part of the page.
#[derive(Template)]
#[template(path = "time.html")]
pub struct Time {
    id: String,
    level: u8,
    /// `the session's 5.022 s`.
    whole: String,
    causes: Vec<Row>,
    targets: Vec<Row>,
    more_targets: usize,
    commands: Vec<Row>,
    /// What the commands are not of.
    note: String,
}

/// A sum.
pub struct Row {
    /// Its colour.
    pub class: &'static str,
    /// What it is of.
    pub name: String,
    /// s.
    pub elapsed: String,
    /// Of the whole.
    pub share: String,
    /// Place in the bar of all.
    pub left: String,
    /// The same as a length.
    pub width: String,
    /// How many; empty: nothing that is counted.
    pub count: String,
    /// There is room for its name in the bar of all.
    pub is_labelled: bool,
}

/// Sums while they grow.
#[derive(Default)]
struct Account<'a> {
    causes: BTreeMap<Cause, Sum>,
    targets: BTreeMap<(Cause, &'a str), Sum>,
    verbs: BTreeMap<Verb, Sum>,
    cpu_s: f64,
    runqueue_s: f64,
    short_waits_s: f64,
    unexplained_s: f64,
    /// Outside commands.
    client_s: f64,
    /// On the server's side, of sessions of which no more is known.
    other_s: f64,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    elapsed_s: f64,
    count: u64,
}

impl Sum {
    fn add(&mut self, elapsed_s: f64, count: u64) {
        self.elapsed_s += elapsed_s;
        self.count = self.count.saturating_add(count);
    }
}

impl<'a> Account<'a> {
    fn session(&mut self, session: &'a Session) {
        for (cause, target, elapsed_s, count) in session.wait_sums() {
            self.wait(cause, target, elapsed_s, count);
        }
        for command in &session.commands {
            let Command { short_waits_s, cpu_s, runqueue_s, unexplained_s, verb, .. } = command;
            self.rest([*cpu_s, *runqueue_s, *short_waits_s, *unexplained_s]);
            self.verbs.entry(*verb).or_default().add(command.server_s(), 1);
        }
        let mut between_s: f64 = session.between.iter().map(|wait| wait.elapsed_s).sum();
        if let Some(left_out) = &session.left_out {
            let LeftOutCommands { short_waits_s, cpu_s, runqueue_s, unexplained_s, verbs, between, .. } = left_out;
            self.rest([*cpu_s, *runqueue_s, *short_waits_s, *unexplained_s]);
            for sum in verbs {
                self.verbs.entry(sum.verb).or_default().add(sum.server_s, sum.commands);
            }
            between_s += between.iter().map(|sum| sum.elapsed_s).sum::<f64>();
        }
        self.client_s += (session.client_s - between_s).max(0.0);
    }

    fn wait(&mut self, cause: Cause, target: Option<&'a str>, elapsed_s: f64, count: u64) {
        self.causes.entry(cause).or_default().add(elapsed_s, count);
        if let Some(target) = target {
            self.targets.entry((cause, target)).or_default().add(elapsed_s, count);
        }
    }

    fn rest(&mut self, [cpu_s, runqueue_s, short_waits_s, unexplained_s]: [f64; 4]) {
        self.cpu_s += cpu_s;
        self.runqueue_s += runqueue_s;
        self.short_waits_s += short_waits_s;
        self.unexplained_s += unexplained_s;
    }

    /// By cause, largest first.
    fn causes(&self, whole_s: f64, has_client: bool) -> Vec<Row> {
        let in_commands = self.causes.get(&Cause::Client).copied().unwrap_or_default();
        let client_s = if has_client { self.client_s + in_commands.elapsed_s } else { 0.0 };
        let waits = self.causes.iter().filter(|(cause, _)| **cause != Cause::Client);
        let mut sums: Vec<(&'static str, &'static str, f64, u64)> =
            waits.map(|(cause, sum)| (cause.name(), cause.name(), sum.elapsed_s, sum.count)).collect();
        let rest = [
            ("client", "client", client_s),
            ("cpu", "CPU", self.cpu_s),
            ("runqueue", "run queue", self.runqueue_s),
            ("short", "short waits", self.short_waits_s),
            ("unexplained", "unexplained", self.unexplained_s),
            ("other", "not told apart", self.other_s),
        ];
        sums.extend(rest.into_iter().filter(|(_, _, s)| *s >= LEAST_S).map(|(class, name, s)| (class, name, s, 0)));
        sums.sort_by(|a, b| b.2.total_cmp(&a.2));
        let mut left = 0.0;
        let row = |(class, name, elapsed_s, count): (&'static str, &str, f64, u64)| {
            let row = Row::new(class, name.to_owned(), elapsed_s, count, whole_s, left);
            left = (left + share(elapsed_s, whole_s)).min(1.0);
            row
        };
        sums.into_iter().map(row).collect()
    }

    fn targets(&self, whole_s: f64) -> Vec<Row> {
        let mut sums: Vec<_> = self.targets.iter().filter(|((cause, _), _)| *cause != Cause::Client).collect();
        sums.sort_by(|a, b| b.1.elapsed_s.total_cmp(&a.1.elapsed_s));
        let row = |((cause, target), sum): (&(Cause, &str), &Sum)| {
            Row::new(cause.name(), format!("{} {target}", cause.name()), sum.elapsed_s, sum.count, whole_s, 0.0)
        };
        sums.into_iter().map(row).collect()
    }

    fn verbs(&self, whole_s: f64) -> Vec<Row> {
        let mut sums: Vec<_> = self.verbs.iter().collect();
        sums.sort_by(|a, b| b.1.elapsed_s.total_cmp(&a.1.elapsed_s));
        sums.into_iter().map(|(verb, sum)| Row::new("verb", verb.name().to_owned(), sum.elapsed_s, sum.count, whole_s, 0.0)).collect()
    }

    fn time(&self, whole_s: f64, has_client: bool) -> (Vec<Row>, Vec<Row>, usize, Vec<Row>) {
        let mut targets = self.targets(whole_s);
        let more = targets.len().saturating_sub(TARGETS);
        targets.truncate(TARGETS);
        (self.causes(whole_s, has_client), targets, more, self.verbs(whole_s))
    }
}

impl Row {
    fn new(class: &'static str, name: String, elapsed_s: f64, count: u64, whole_s: f64, left: f64) -> Self {
        let width = share(elapsed_s, whole_s);
        Self {
            class,
            name,
            elapsed: seconds(elapsed_s),
            share: percent(elapsed_s, whole_s),
            left: length(left),
            width: length(width.min(1.0 - left)),
            is_labelled: width >= 0.1,
            count: if count == 0 { String::new() } else { count.to_string() },
        }
    }
}

impl Time {
    /// Of one session: all its time.
    pub fn of_session(shown: &Shown) -> Self {
        let mut account = Account::default();
        account.session(shown.session);
        let whole_s = shown.session.elapsed_s;
        let (causes, targets, more_targets, commands) = account.time(whole_s, true);
        let whole = format!("the session's {} s", seconds(whole_s));
        Self { id: shown.id.clone(), level: shown.level, whole, causes, targets, more_targets, commands, note: String::new() }
    }

    /// Of all sessions: the time on the server's side.
    pub fn of_report(report: &Report) -> Self {
        let mut account = Account::default();
        report.sessions.iter().for_each(|session| account.session(session));
        let mut whole_s: f64 = report.sessions.iter().map(Session::server_s).sum();
        let mut note = String::new();
        if let Some(left_out) = &report.left_out {
            let waits_s: f64 = left_out.waits.iter().filter(|sum| sum.cause != Cause::Client).map(|sum| sum.elapsed_s).sum();
            left_out.waits.iter().for_each(|sum| account.wait(sum.cause, sum.target.as_deref(), sum.elapsed_s, sum.waits));
            account.other_s = (left_out.server_s - waits_s).max(0.0);
            whole_s += left_out.server_s;
            note = format!("Commands: of the {} sessions that are kept.", report.sessions.len());
        }
        let (causes, targets, more_targets, commands) = account.time(whole_s, false);
        let whole = format!("{} s on the server's side, of all {} sessions", seconds(whole_s), report.session_count());
        Self { id: "all".to_owned(), level: 2, whole, causes, targets, more_targets, commands, note }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::samples;

    #[test]
    fn causes_add_up_to_the_session() {
        let session = samples::slow_session();
        let mut account = Account::default();
        account.session(&session);
        let rows = account.causes(session.elapsed_s, true);
        let sum: f64 = rows.iter().map(|row| row.elapsed.parse::<f64>().expect("a number")).sum();
        assert!((sum - session.elapsed_s).abs() < 0.005, "{sum} is not {}", session.elapsed_s);
        assert_eq!(rows.first().map(|row| (row.name.as_str(), row.count.as_str())), Some(("dns", "3")));
    }
}
