//! Which command of a batch that was answered by one write had which part of its time (report-schema, `boundary`).
//!
//! Each wait goes to the first command whose text explains it, else to the first command. The time between
//! waits goes to the command at which the server had arrived by then. Invariant: the pieces of all
//! commands are exactly the time of the batch.

use super::exchange::{Exchange, Named};
use super::mark::Mark;
use crate::proto::smtp::domain_of;
use crate::report::{Verb, Wait};

/// Spreads the time of a batch, of which everything stands in the first command, over its commands.
pub fn distribute(batch: &mut [Exchange], to: Mark) {
    let Some(first) = batch.first_mut() else { return };
    let from = first.from;
    let seen = first.seen;
    let waits = std::mem::take(&mut first.waits);
    for command in batch.iter_mut() {
        command.pieces.clear();
        command.is_inferred = true;
        command.seen = seen;
    }
    let (mut at, mut arrived) = (from, 0);
    for named in waits {
        let explained = first_explained(batch, &named.wait);
        arrived = explained.map_or(arrived, |index| index.max(arrived));
        // The time up to a wait that moves on to a later command still belongs to the earlier one.
        let gap_owner = explained.map_or(arrived, |_| arrived.min(current(batch)));
        push_piece(batch, gap_owner, at, named.from);
        at = named.to;
        push_wait(batch, explained.unwrap_or(0), named);
    }
    push_piece(batch, arrived, at, to);
    place_starts(batch, from, to);
}

/// The last command that has time already.
fn current(batch: &[Exchange]) -> usize {
    batch.iter().rposition(|command| !command.pieces.is_empty()).unwrap_or(0)
}

fn push_piece(batch: &mut [Exchange], owner: usize, from: Mark, to: Mark) {
    if let Some(command) = batch.get_mut(owner).filter(|_| from != to) {
        command.pieces.push((from, to));
    }
}

fn push_wait(batch: &mut [Exchange], owner: usize, named: Named) {
    if let Some(command) = batch.get_mut(owner) {
        command.pieces.push((named.from, named.to));
        command.waits.push(named);
    }
}

/// A command begins with its first piece; one without time begins where the next one does.
fn place_starts(batch: &mut [Exchange], from: Mark, to: Mark) {
    let mut next = to;
    for command in batch.iter_mut().rev() {
        next = command.pieces.first().map_or(next, |piece| piece.0);
        command.from = next;
    }
    if let Some(first) = batch.first_mut() {
        first.from = from;
    }
}

fn first_explained(batch: &[Exchange], wait: &Wait) -> Option<usize> {
    batch.iter().position(|command| explains(command.verb, command.line.as_deref(), wait))
}

/// Whether a command's text explains a wait: its domain is in the question, or the milter was told of this verb.
pub fn explains(verb: Verb, line: Option<&str>, wait: &Wait) -> bool {
    if let Some(milter) = &wait.milter {
        return milter.stage == stage_of(verb);
    }
    let domain = line.and_then(|line| domain_of(verb, line));
    match (&wait.dns, domain) {
        (Some(dns), Some(domain)) => has_domain(&dns.qname, domain),
        _ => false,
    }
}

fn stage_of(verb: Verb) -> &'static str {
    match verb {
        Verb::Connect => "connect",
        Verb::Helo | Verb::Ehlo | Verb::Lhlo => "helo",
        Verb::Mail => "envfrom",
        Verb::Rcpt => "envrcpt",
        Verb::Data => "data",
        Verb::Eom => "eom",
        _ => "",
    }
}

/// Whether the labels of `domain` stand in `qname` in a row (as a suffix, or before the zone of a blocklist). Asked for each line of a batch at each
/// wait, so nothing is allocated.
fn has_domain(qname: &str, domain: &str) -> bool {
    let (qname, domain) = (qname.as_bytes(), domain.as_bytes());
    let starts = std::iter::once(0).chain(qname.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at + 1));
    let begins = |rest: &[u8]| rest.get(..domain.len()).is_some_and(|labels| labels.eq_ignore_ascii_case(domain));
    starts.filter_map(|at| qname.get(at..)).any(|rest| begins(rest) && matches!(rest.get(domain.len()), None | Some(b'.')))
}
