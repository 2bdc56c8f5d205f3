//! Findings: what made a session slow, with evidence, the setting to look at and a check to run by hand.
//!
//! In: one finished [`Session`] of the report. Out: its [`Finding`]s, worst first. Waits of one command with the
//! same rule and target make one finding. Invariant: nothing below 100 ms, nothing for the client's own time,
//! and no setting of a mail server is named outside `mta/`.

mod backlog;
mod chain;
mod child;
mod daemon;
mod dns;
mod ending;
mod file_io;
mod histogram;
mod ident;
mod lock;
mod mail_server;
mod milter;
mod nagle;
mod network;
mod parent;
mod resolver;
mod sasl;
mod service;
mod settings;
mod sleep;
mod spool;
mod tally;
mod text;
mod tls;
mod unknown;

pub use daemon::of_daemon;
pub use settings::Settings;
pub use tally::Tallies;

use crate::mta::{self, Mta, Topic};
use crate::proto::smtp::domain_of;
use crate::report::{Cause, Command, Finding, Outcome, Session, Severity, Wait};
use settings::Remedy;

/// Waits of one command with the same rule and target.
#[derive(Clone, Copy)]
struct Case<'a> {
    session: &'a Session,
    command: &'a Command,
    rule: &'static str,
    target: Option<&'a str>,
    waits: &'a [&'a Wait],
    elapsed_s: f64,
    /// They lie behind this command, not in it.
    is_behind: bool,
    /// The process whose waits they are, where that is one for which the server waited.
    helper: Option<&'a str>,
    mta: &'static dyn Mta,
    settings: &'a Settings,
}

/// What a rule says about a case.
struct Text {
    summary: String,
    evidence: String,
    remedy: Remedy,
    check: Option<String>,
}

/// How waits of one cause become findings.
struct Family {
    cause: Cause,
    /// Name of the rule for a wait.
    rule: fn(&Session, &Command, &Wait) -> &'static str,
    /// What the wait is counted for: its own target, or what several targets have in common.
    target: fn(&Command, &Wait) -> Option<String>,
    explain: fn(&Case) -> Text,
}

/// One line for each family.
const FAMILIES: &[Family] = &[
    Family { cause: Cause::Dns, rule: dns::rule, target: own_target, explain: dns::explain },
    Family { cause: Cause::Ident, rule: ident::rule, target: own_target, explain: ident::explain },
    Family { cause: Cause::Callback, rule: mail_server::rule, target: own_target, explain: mail_server::explain },
    Family { cause: Cause::Relay, rule: mail_server::rule, target: own_target, explain: mail_server::explain },
    Family { cause: Cause::Milter, rule: milter::rule, target: own_target, explain: milter::explain },
    Family { cause: Cause::Sasl, rule: sasl::rule, target: own_target, explain: sasl::explain },
    Family { cause: Cause::FileLock, rule: lock::rule, target: own_target, explain: lock::explain },
    Family { cause: Cause::SpoolSync, rule: spool::rule, target: spool::directory, explain: spool::explain },
    Family { cause: Cause::FileIo, rule: file_io::rule, target: own_target, explain: file_io::explain },
    Family { cause: Cause::Child, rule: child::rule, target: own_target, explain: child::explain },
    Family { cause: Cause::Mta, rule: parent::rule, target: own_target, explain: parent::explain },
    Family { cause: Cause::Policy, rule: service::rule, target: own_target, explain: service::explain },
    Family { cause: Cause::Map, rule: service::rule, target: own_target, explain: service::explain },
    Family { cause: Cause::Ldap, rule: service::rule, target: own_target, explain: service::explain },
    Family { cause: Cause::Sql, rule: service::rule, target: own_target, explain: service::explain },
    Family { cause: Cause::ContentFilter, rule: service::rule, target: own_target, explain: service::explain },
    Family { cause: Cause::NameService, rule: service::rule, target: own_target, explain: service::explain },
    Family { cause: Cause::Sleep, rule: sleep::rule, target: own_target, explain: sleep::explain },
    Family { cause: Cause::Tls, rule: tls::rule, target: own_target, explain: tls::explain },
    Family { cause: Cause::Network, rule: network::rule, target: own_target, explain: network::explain },
];

/// For a cause without a line of its own.
const OTHER: Family = Family { cause: Cause::Unknown, rule: unknown::rule, target: own_target, explain: unknown::explain };

/// Rules whose delay somebody configured.
const INTENDED: &[&str] = &[sleep::GREET_PAUSE, sleep::RCPT_THROTTLE, sleep::AUTH_THROTTLE, sleep::TARPIT];

/// Below this nobody needs advice.
const FLOOR_S: f64 = 0.1;

fn floor_s(cause: Cause) -> f64 {
    if cause == Cause::Tls { tls::FLOOR_S } else { FLOOR_S }
}

/// The findings of a session, worst first.
pub fn findings(session: &Session, settings: &Settings) -> Vec<Finding> {
    let kept_s: f64 = session.commands.iter().map(|command| command.elapsed_s).sum();
    let server_s = kept_s + session.left_out.as_ref().map_or(0.0, |left_out| left_out.elapsed_s);
    let mta = mta::by_name(&session.mta);
    let nagle = nagle::find(session);
    let behind = behind(session);
    let client = text::host_port(&session.client).map_or_else(|| "ADDRESS".to_owned(), |(host, _)| host);
    let mut found: Vec<Finding> = Vec::new();
    for (command, is_behind) in session.commands.iter().map(|it| (it, false)).chain(behind.iter().map(|it| (it, true))) {
        for group in groups(session, command, |wait| nagle.iter().any(|pattern| pattern.has(wait))) {
            let elapsed_s: f64 = group.waits.iter().map(|wait| wait.elapsed_s).sum();
            if elapsed_s < floor_s(group.cause) {
                continue;
            }
            let Group { rule, ref target, ref waits, .. } = group;
            let case = Case { session, command, rule, target: target.as_deref(), waits, elapsed_s, is_behind, helper: None, mta, settings };
            let mut text = chain::explain(&case, (group.family.explain)(&case));
            let domain = command.line.as_deref().and_then(|line| domain_of(command.verb, line));
            text.check = text.check.or_else(|| Some(case.look()));
            if let (Some(check), Some(debug)) = (&mut text.check, text.remedy.debug(&client, domain)) {
                *check = format!("{check}; {debug}");
            }
            found.push(finding(command.index, group.rule, group.cause, group.target.clone(), elapsed_s, server_s, text));
        }
    }
    for pattern in &nagle {
        let text = pattern.explain(mta);
        let target = Some(pattern.target.to_owned());
        found.push(finding(pattern.command, nagle::RULE, Cause::Milter, target, pattern.elapsed_s, server_s, text));
    }
    if let Some(waited_s) = backlog::waited_s(session, FLOOR_S) {
        let text = backlog::explain(session, waited_s, mta, settings);
        let first = session.commands.first().map_or(0, |command| command.index);
        found.push(finding(first, backlog::RULE, Cause::Mta, None, waited_s, server_s + waited_s, text));
    }
    // What somebody configured is no fault: it comes last, however long it is.
    found.sort_by(|a, b| {
        let rank = |it: &Finding| std::cmp::Reverse(it.severity != Severity::Intended);
        rank(a).cmp(&rank(b)).then(b.elapsed_s.total_cmp(&a.elapsed_s)).then(a.command.cmp(&b.command))
    });
    found
}

/// The waits between commands, each with the command behind which it lies, without that one's own.
fn behind(session: &Session) -> Vec<Command> {
    let mut behind: Vec<Command> = Vec::new();
    for wait in &session.between {
        let Some(command) = session.commands.iter().rev().find(|it| it.start_s <= wait.start_s).or(session.commands.first()) else { continue };
        match behind.iter_mut().find(|it| it.index == command.index) {
            Some(known) => known.waits.push(wait.clone()),
            None => behind.push(Command { waits: vec![wait.clone()], absent: Vec::new(), ..command.clone() }),
        }
    }
    behind
}

struct Group<'a> {
    family: &'static Family,
    cause: Cause,
    rule: &'static str,
    target: Option<String>,
    waits: Vec<&'a Wait>,
}

/// The waits of a command by cause, rule and target, in the order in which they began.
fn groups<'a>(session: &Session, command: &'a Command, explained: impl Fn(&Wait) -> bool) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for wait in &command.waits {
        if wait.cause == Cause::Client || explained(wait) {
            continue;
        }
        let family = FAMILIES.iter().find(|family| family.cause == wait.cause).unwrap_or(&OTHER);
        let rule = (family.rule)(session, command, wait);
        let target = (family.target)(command, wait);
        match groups.iter_mut().find(|it| it.cause == wait.cause && it.rule == rule && it.target == target) {
            Some(group) => group.waits.push(wait),
            None => groups.push(Group { family, cause: wait.cause, rule, target, waits: vec![wait] }),
        }
    }
    groups
}

fn own_target(_: &Command, wait: &Wait) -> Option<String> {
    wait.target.clone()
}

fn finding(command: usize, rule: &str, cause: Cause, target: Option<String>, elapsed_s: f64, server_s: f64, text: Text) -> Finding {
    let share = if server_s > 0.0 { (elapsed_s / server_s).clamp(0.0, 1.0) } else { 0.0 };
    let Text { summary, evidence, remedy, check } = text;
    let (remedy, settings) = remedy.told();
    Finding {
        rule: rule.to_owned(),
        severity: severity(rule, elapsed_s, share),
        command,
        cause,
        target,
        elapsed_s: round(elapsed_s, 1e6),
        share: round(share, 1e3),
        summary,
        evidence,
        remedy,
        check,
        settings,
    }
}

/// Sums of decimal numbers get tails; six digits are the schema's precision.
fn round(value: f64, unit: f64) -> f64 {
    (value * unit).round() / unit
}

fn severity(rule: &str, elapsed_s: f64, share: f64) -> Severity {
    if INTENDED.contains(&rule) {
        Severity::Intended
    } else if elapsed_s >= 5.0 || (elapsed_s >= 1.0 && share >= 0.2) {
        Severity::High
    } else if elapsed_s >= 0.5 {
        Severity::Medium
    } else {
        Severity::Low
    }
}

impl Case<'_> {
    /// `MAIL waited 20.02 s`.
    fn opening(&self) -> String {
        let (verb, elapsed) = (self.command.verb.name(), text::seconds(self.elapsed_s));
        if self.is_behind { format!("after {verb} the server itself waited {elapsed}") } else { format!("{verb} waited {elapsed}") }
    }

    /// The mail server's advice, with what is set now.
    fn advice(&self, topic: Topic) -> Remedy {
        Remedy::of(self.mta, self.settings, topic)
    }

    /// Where nothing better is known: what the serving processes do while it lasts.
    fn look(&self) -> String {
        let Session { pid, daemon_pid, .. } = self.session;
        let which = if pid == daemon_pid { format!("-p {pid}") } else { format!("--ppid {daemon_pid}") };
        format!("ps -o pid,stat,wchan:32,args {which}")
    }

    /// Why nobody knows how it would have ended.
    fn when_left(&self) -> &'static str {
        let is_interrupted = self.waits.iter().all(|wait| wait.outcome == Outcome::Interrupted);
        if is_interrupted { "when a signal interrupted it" } else { "when the trace of it ended" }
    }

    /// Whether the connection came about, where that is known.
    fn connected(&self) -> Option<bool> {
        self.waits.iter().find_map(|wait| wait.connected)
    }

    /// The target in a sentence.
    fn target_text(&self) -> &str {
        self.target.unwrap_or("an unknown peer")
    }

    /// Whether the server's own timer ended it, and what that is called.
    fn timer(&self) -> String {
        let Some((wait, timer_s)) = self.waits.iter().find_map(|wait| wait.timer_s.map(|s| (wait, s))) else { return String::new() };
        let stage = wait.milter.as_ref().map(|milter| milter.stage.as_str());
        let setting = self.mta.timer_setting(wait.cause, stage, round(timer_s, 1e3));
        let setting = setting.map(|setting| format!(" ({setting})")).unwrap_or_default();
        format!("; the server's own timer of {} ended it{setting}", text::seconds(timer_s))
    }

    /// What the evidence of every family ends in: the calls, the descriptor, and what provably did not happen.
    fn traces(&self) -> String {
        let mut calls: Vec<&str> = Vec::new();
        for call in self.waits.iter().flat_map(|wait| &wait.syscalls) {
            if !calls.contains(&call.as_str()) {
                calls.push(call);
            }
        }
        let mut parts: Vec<String> = Vec::new();
        if !calls.is_empty() {
            parts.push(format!("; blocked in {}", text::list(&calls)));
        }
        if let Some(descriptor) = self.waits.iter().find_map(|wait| wait.descriptor.as_deref()) {
            parts.push(format!(" ({descriptor})"));
        }
        if let Some(peer) = self.waits.iter().find_map(|wait| wait.peer.as_ref()) {
            parts.push(format!("; at the far end {} (pid {})", peer.comm, peer.pid));
        }
        if !self.command.absent.is_empty() {
            let absent: Vec<&str> = self.command.absent.iter().map(String::as_str).collect();
            parts.push(format!("; proven absent in this command: {}", absent.join(", ")));
        }
        parts.concat()
    }
}

#[cfg(test)]
mod tests;
