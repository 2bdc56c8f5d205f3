//! What the sessions of a trace have in common: findings of one rule, at one verb, for one target are one, however many sessions have them.
//!
//! In: each finished session with its findings. Out: [`CommonFinding`]s, worst first. A rule's targets that one session each has (every client has an
//! ident server of its own) are told together where there are more than a few. Invariant: bounded, however many sessions and targets
//! come; a session counts once for a finding, also where targets are told together.

use super::{histogram::Histogram, round, text::seconds};
use crate::report::{Cause, CommonFinding, Finding, Session, Severity, Verb};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// How many targets are told apart, of one rule and verb and in all: an ident server of every client must not take the place of the name server.
const MAX_TARGETS: usize = 64;
const MAX_ALL: usize = 500;
/// So many targets of one session each are told one by one.
const FEW: usize = 3;

/// The findings of sessions, summed up.
#[derive(Debug, Default)]
pub struct Tallies {
    /// Bounded by the rules that there are and the verbs that there are.
    groups: BTreeMap<Kind, Group>,
    sessions: u64,
    /// Targets in all groups.
    targets: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    rule: String,
    verb: Verb,
    cause: Cause,
}

#[derive(Debug, Default)]
struct Group {
    by_target: BTreeMap<Option<String>, Tally>,
    /// Targets that came when there were too many. A session's new targets all come here or none, so that no session
    /// is here and among the targets that have one session.
    others: Tally,
    /// How often such a target came.
    other_targets: u64,
}

/// Sessions with a finding.
#[derive(Debug, Default)]
struct Tally {
    sessions: u64,
    /// The last one of them, by number.
    last: u64,
    times: Histogram,
    total_s: f64,
    longest: Option<Longest>,
    severity: Option<Severity>,
}

/// The session that waited longest.
#[derive(Clone, Debug)]
struct Longest {
    elapsed_s: f64,
    session: String,
    summary: String,
    remedy: String,
    check: Option<String>,
}

/// What one session has of a target.
#[derive(Clone, Copy)]
struct Sample<'a> {
    elapsed_s: f64,
    severity: Severity,
    /// Its longest finding.
    finding: &'a Finding,
}

impl<'a> Sample<'a> {
    fn of(finding: &'a Finding) -> Self {
        Self { elapsed_s: finding.elapsed_s, severity: finding.severity, finding }
    }

    fn join(self, other: Self) -> Self {
        let longer = if other.finding.elapsed_s > self.finding.elapsed_s { other.finding } else { self.finding };
        Self { elapsed_s: self.elapsed_s + other.elapsed_s, severity: self.severity.max(other.severity), finding: longer }
    }
}

impl Tallies {
    /// Takes a session that has ended, with its findings.
    pub fn add(&mut self, session: &Session) {
        self.sessions += 1;
        let mut kinds: BTreeMap<Kind, BTreeMap<Option<String>, Sample>> = BTreeMap::new();
        for finding in &session.findings {
            let command = session.command(finding.command);
            // Where no command is known, it is the wait for the accept.
            let verb = command.map_or(Verb::Connect, |command| command.verb);
            let kind = Kind { rule: finding.rule.clone(), verb, cause: finding.cause };
            let samples = kinds.entry(kind).or_default();
            let sample = Sample::of(finding);
            samples.entry(lasting(finding)).and_modify(|known| *known = known.join(sample)).or_insert(sample);
        }
        for (kind, samples) in kinds {
            self.add_samples(kind, samples, session);
        }
    }

    fn add_samples(&mut self, kind: Kind, samples: BTreeMap<Option<String>, Sample>, session: &Session) {
        let (all, number) = (self.targets, self.sessions);
        let group = self.groups.entry(kind).or_default();
        let (known, new): (BTreeMap<_, _>, BTreeMap<_, _>) = samples.into_iter().partition(|(target, _)| group.by_target.contains_key(target));
        let has_place = group.by_target.len() + new.len() <= MAX_TARGETS && all + new.len() <= MAX_ALL;
        if has_place {
            self.targets += new.len();
        } else {
            group.other_targets += u64::try_from(new.len()).unwrap_or(u64::MAX);
            if let Some(sample) = new.values().copied().reduce(Sample::join) {
                group.others.add(sample, session, number);
            }
        }
        for (target, sample) in known.into_iter().chain(new.into_iter().filter(|_| has_place)) {
            group.by_target.entry(target).or_default().add(sample, session, number);
        }
    }

    /// The findings, worst first; none where there is one session, which has its own.
    pub fn conclude(&mut self) -> Vec<CommonFinding> {
        let Self { groups, sessions: of, .. } = std::mem::take(self);
        if of < 2 {
            return Vec::new();
        }
        let mut found: Vec<CommonFinding> = groups.into_iter().flat_map(|(kind, group)| group.findings(&kind, of)).collect();
        // What somebody configured is no fault: it comes last, however long it is.
        found.sort_by(|a, b| {
            let rank = |it: &CommonFinding| Reverse(it.severity != Severity::Intended);
            rank(a).cmp(&rank(b)).then(b.total_s.total_cmp(&a.total_s))
        });
        found
    }
}

/// The target without what the next session has not: a child's process number.
fn lasting(finding: &Finding) -> Option<String> {
    let target = finding.target.as_deref()?;
    let comm = target.split_once(' ').filter(|_| finding.cause == Cause::Child).map(|(_, comm)| comm);
    Some(comm.unwrap_or(target).to_owned())
}

impl Group {
    fn findings(self, kind: &Kind, of: u64) -> Vec<CommonFinding> {
        let Self { by_target, mut others, mut other_targets } = self;
        let (single, several): (BTreeMap<_, _>, BTreeMap<_, _>) = by_target.into_iter().partition(|(_, tally)| tally.sessions == 1);
        let mut apart = several;
        if others.sessions == 0 && single.len() <= FEW {
            apart.extend(single);
        } else {
            other_targets += u64::try_from(single.len()).unwrap_or(u64::MAX);
            others.merge_single(single.into_values());
        }
        let mut found: Vec<CommonFinding> = apart.into_iter().filter_map(|(target, tally)| tally.finding(kind, of, target, None)).collect();
        found.extend(others.finding(kind, of, None, Some(other_targets)));
        found
    }
}

impl Tally {
    fn add(&mut self, sample: Sample, session: &Session, number: u64) {
        let Sample { elapsed_s, severity, finding } = sample;
        self.last = number;
        self.count(elapsed_s, Some(severity));
        if self.is_longer(elapsed_s) {
            self.longest = Some(Longest {
                elapsed_s,
                session: session.id.clone(),
                summary: finding.summary.clone(),
                remedy: finding.remedy.clone(),
                check: finding.check.clone(),
            });
        }
    }

    fn count(&mut self, elapsed_s: f64, severity: Option<Severity>) {
        self.sessions += 1;
        self.times.add(elapsed_s);
        self.total_s += elapsed_s;
        self.severity = self.severity.max(severity);
    }

    /// Of sessions that are equal the first one is told.
    fn is_longer(&self, elapsed_s: f64) -> bool {
        self.longest.as_ref().is_none_or(|longest| longest.elapsed_s < elapsed_s)
    }

    /// Takes targets of one session each; several of them may be of the same session.
    fn merge_single(&mut self, single: impl Iterator<Item = Self>) {
        let mut sessions: BTreeMap<u64, (f64, Option<Severity>, Option<Longest>)> = BTreeMap::new();
        for Self { last, total_s, severity, longest, .. } in single {
            let session = sessions.entry(last).or_default();
            session.0 += total_s;
            session.1 = session.1.max(severity);
            let is_longer = session.2.as_ref().map(|known| known.elapsed_s) < longest.as_ref().map(|it| it.elapsed_s);
            session.2 = if is_longer { longest } else { session.2.take() };
        }
        for (elapsed_s, severity, longest) in sessions.into_values() {
            self.count(elapsed_s, severity);
            if self.is_longer(elapsed_s) {
                self.longest = longest.map(|longest| Longest { elapsed_s, ..longest });
            }
        }
    }

    fn finding(self, kind: &Kind, of: u64, target: Option<String>, targets: Option<u64>) -> Option<CommonFinding> {
        let Self { sessions, times, total_s, longest, severity, .. } = self;
        let Longest { elapsed_s: max_s, session, summary: what, remedy, check } = longest?;
        let (median_s, p95_s) = (times.percentile_s(50).min(max_s), times.percentile_s(95).min(max_s));
        let Kind { rule, verb, cause } = kind;
        let figures = if sessions == 1 { seconds(max_s) } else { format!("median {}, 95th percentile {}", seconds(median_s), seconds(p95_s)) };
        Some(CommonFinding {
            rule: rule.clone(),
            severity: severity?,
            verb: *verb,
            cause: *cause,
            target,
            targets,
            sessions,
            of,
            median_s: round(median_s, 1e6),
            p95_s: round(p95_s, 1e6),
            max_s: round(max_s, 1e6),
            total_s: round(total_s, 1e6),
            summary: format!("{rule}: {sessions} of {of} sessions, {figures}"),
            evidence: format!("longest in session {session}: {what}"),
            remedy,
            check,
        })
    }
}

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;
