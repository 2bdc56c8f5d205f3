//! Findings as cards: how grave, one sentence, where, the evidence, what to change, a command to check it by hand.
//!
//! In: findings of a session, of all sessions, of the daemon. Out: cards in one form, for `findings.html`. A remedy that stands on the page already is
//! pointed to, not said again. Not here: how findings are made.

use super::{Shown, number::percent};
use crate::report::{CommonFinding, DaemonFinding, Finding, Session, Severity, Verb};
use crate::view::summary::{COMMON, nothing_found};
use askama::Template;
use std::collections::HashMap;

/// So many cards of all sessions are open.
const OPEN: usize = 3;
/// More cards of one session are not shown: they repeat each other.
const CARDS: usize = 30;

/// The part of the page.
#[derive(Template)]
#[template(path = "findings.html")]
pub struct Findings {
    id: String,
    level: u8,
    title: &'static str,
    cards: Vec<Card>,
    /// How many are not shown.
    more: usize,
    /// What is said where there is none.
    none: &'static str,
}

struct Card {
    id: String,
    severity: &'static str,
    summary: String,
    /// Where, or how long it takes in many sessions.
    label: &'static str,
    place: String,
    /// The command in the timeline's dialogue.
    href: String,
    evidence: Vec<String>,
    remedy: Remedy,
    check: Option<String>,
    /// Closed, since others stand before it.
    is_fold: bool,
}

enum Remedy {
    Said(Vec<String>),
    /// It stands in the card of this id, which is called so.
    Above(String, String),
}

/// Remedies and checks that stand on the page, each with the card that has it.
#[derive(Default)]
pub struct Said {
    remedies: HashMap<String, (String, String)>,
    checks: HashMap<String, String>,
}

impl Said {
    fn remedy(&mut self, remedy: &str, id: &str, name: String) -> Remedy {
        if let Some((above, name)) = self.remedies.get(remedy) {
            return Remedy::Above(above.clone(), name.clone());
        }
        self.remedies.insert(remedy.to_owned(), (id.to_owned(), name));
        Remedy::Said(paragraphs(remedy))
    }

    fn check(&mut self, check: Option<&str>, id: &str) -> Option<String> {
        let check = check.filter(|check| !self.checks.contains_key(*check))?;
        self.checks.insert(check.to_owned(), id.to_owned());
        Some(check.to_owned())
    }
}

impl Findings {
    /// Of the daemon and of all sessions.
    pub fn common(daemon: &[DaemonFinding], findings: &[CommonFinding], said: &mut Said) -> Self {
        let of_daemon = daemon.iter().enumerate().map(|(at, finding)| Card::of_daemon(finding, format!("d{at}"), said)).collect::<Vec<_>>();
        let of_all = findings.iter().take(COMMON).enumerate().map(|(at, finding)| Card::of_all(finding, format!("f{at}"), said));
        let mut cards: Vec<Card> = of_daemon.into_iter().chain(of_all).collect();
        cards.iter_mut().skip(OPEN).for_each(|card| card.is_fold = true);
        Self {
            id: "all".to_owned(),
            level: 2,
            title: "What the sessions have in common",
            cards,
            more: findings.len().saturating_sub(COMMON),
            none: "",
        }
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.cards.is_empty()
    }

    /// Of a session.
    pub fn of_session(shown: &Shown, said: &mut Said) -> Self {
        let session = shown.session;
        let card = |(at, finding)| Card::of_session(session, finding, shown, format!("{}f{at}", shown.id), said);
        let cards = session.findings.iter().take(CARDS).enumerate().map(card).collect();
        let more = session.findings.len().saturating_sub(CARDS);
        Self { id: shown.id.clone(), level: shown.level, title: "Findings", cards, more, none: nothing_found(session) }
    }
}

/// `MAIL`.
fn verb(session: &Session, finding: &Finding) -> &'static str {
    session.command(finding.command).map_or(Verb::Invalid, |command| command.verb).name()
}

impl Card {
    fn of_session(session: &Session, finding: &Finding, shown: &Shown, id: String, said: &mut Said) -> Self {
        let verb = verb(session, finding);
        let share = percent(finding.elapsed_s, session.server_s());
        let is_shown = shown.commands.iter().any(|command| command.index == finding.command);
        Self {
            severity: severity(finding.severity),
            summary: finding.summary.clone(),
            label: "where",
            place: format!("{verb}, {share} of the server's time; rule {}", finding.rule),
            href: if is_shown { shown.command_id(finding.command) } else { String::new() },
            evidence: clauses(&finding.evidence),
            remedy: said.remedy(&finding.remedy, &id, verb.to_owned()),
            check: said.check(finding.check.as_deref(), &id),
            is_fold: false,
            id,
        }
    }

    fn of_all(finding: &CommonFinding, id: String, said: &mut Said) -> Self {
        Self {
            severity: severity(finding.severity),
            summary: common(finding),
            label: "how long",
            place: format!(
                "95th percentile {:.2} s, longest {:.2} s, in all {:.2} s; rule {}",
                finding.p95_s, finding.max_s, finding.total_s, finding.rule
            ),
            href: String::new(),
            evidence: clauses(&finding.evidence),
            remedy: said.remedy(&finding.remedy, &id, format!("{} at {}", finding.rule, finding.verb.name())),
            check: said.check(finding.check.as_deref(), &id),
            is_fold: false,
            id,
        }
    }

    fn of_daemon(finding: &DaemonFinding, id: String, said: &mut Said) -> Self {
        Self {
            severity: severity(finding.severity),
            summary: finding.summary.clone(),
            label: "where",
            place: format!("before accept, no session's own time; rule {}", finding.rule),
            href: String::new(),
            evidence: clauses(&finding.evidence),
            remedy: said.remedy(&finding.remedy, &id, finding.rule.clone()),
            check: said.check(finding.check.as_deref(), &id),
            is_fold: false,
            id,
        }
    }
}

/// A remedy as prose; what is only for the worst case, and what is set now, each for itself.
fn paragraphs(remedy: &str) -> Vec<String> {
    let mut paragraphs: Vec<String> = Vec::new();
    for clause in remedy.split("; ") {
        let is_apart = ["to bound the damage: ", "at present "].iter().any(|begin| clause.starts_with(begin));
        match paragraphs.last_mut().filter(|_| !is_apart) {
            Some(last) => {
                last.push_str("; ");
                last.push_str(clause);
            }
            None => paragraphs.push(clause.to_owned()),
        }
    }
    paragraphs
}

/// What stands between semicolons, each for itself: a list is easier to read. Not those in parentheses and quotes.
fn clauses(text: &str) -> Vec<String> {
    let (mut clauses, mut clause, mut depth, mut is_quoted) = (Vec::new(), String::new(), 0_usize, false);
    for word in text.split_inclusive(' ') {
        for c in word.chars() {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                '`' | '\'' => is_quoted = c == '`' && !is_quoted,
                _ => {}
            }
        }
        clause.push_str(word);
        if depth == 0 && !is_quoted && word.ends_with("; ") {
            clause.truncate(clause.len() - 2);
            clauses.push(std::mem::take(&mut clause));
        }
    }
    if !clause.is_empty() {
        clauses.push(clause);
    }
    clauses
}

/// `322 of 3000 sessions waited at CONNECT for ident 10.99.0.1:113: 5.00 s in the median`.
pub fn common(finding: &CommonFinding) -> String {
    let CommonFinding { verb, cause, target, targets, sessions, of, median_s, .. } = finding;
    let target = match (target, targets) {
        (Some(target), _) => format!(" {target}"),
        (None, Some(1)) => " of one target".to_owned(),
        (None, Some(n)) => format!(" of {n} targets"),
        (None, None) => String::new(),
    };
    format!("{sessions} of {of} sessions waited at {} for {}{target}: {median_s:.2} s in the median", verb.name(), cause.name())
}

/// As a word and a class.
pub fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Intended => "intended",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_end_at_semicolons_outside_of_parentheses_and_quotes() {
        assert_eq!(clauses("a `b; c` (d; e); f; g"), ["a `b; c` (d; e)", "f", "g"]);
        assert_eq!(clauses("define(`confTO_IDENT', `0s'); or"), ["define(`confTO_IDENT', `0s')", "or"]);
        assert_eq!(clauses(""), [""; 0]);
    }

    #[test]
    fn a_remedy_stays_prose() {
        assert_eq!(paragraphs("a; b; to bound the damage: c; at present d=1"), ["a; b", "to bound the damage: c", "at present d=1"]);
        assert_eq!(paragraphs("at present d=1"), ["at present d=1"]);
    }
}
