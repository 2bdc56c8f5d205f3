//! A resolver on this machine, as a helper: its own questions explain a look-up, by their name, whatever its threads wait for meanwhile. It serves
//! everybody over one socket in an event loop, so nothing else tells for whom it works.
//!
//! In: its messages to and from name servers. Out: for a name, the questions that were open in an interval: for that name, or one above it, which a
//! resolver asks for first if it tells servers no more than they need (RFC 9156). What it asks behind an alias (CNAME) has another name and is not told.

use super::thread::{Inner, Whom};
use crate::event::{Proto, Sys};
use crate::proto::dns::{self, Question, is_answer, is_at_or_above, rcode_name, type_name};
use crate::report::{Cause, Dns, DnsServer, Outcome, Wait};
use crate::session::seconds;
use crate::wait::{is_receive, is_send};
use std::collections::VecDeque;

/// Questions that are remembered.
const MAX_QUERIES: usize = 4096;

/// What an answer said.
#[derive(Clone, Copy, Debug)]
struct Answer {
    t: u64,
    rcode: u8,
    is_truncated: bool,
}

#[derive(Clone, Debug)]
struct Query {
    t: u64,
    id: u16,
    socket: u64,
    server: String,
    is_tcp: bool,
    question: Question,
    answer: Option<Answer>,
}

/// See above.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    queries: VecDeque<Query>,
}

impl Resolver {
    /// A call returned.
    pub fn sys(&mut self, sys: &Sys) {
        let Some(socket) = sys.socket.as_ref().filter(|_| sys.peer.as_ref().and_then(crate::event::Endpoint::port) == Some(dns::PORT)) else {
            return;
        };
        // Of a socket that is not connected the answers are not seen: it has no address of its own.
        let is_connected = socket.local.as_ref().and_then(crate::event::Endpoint::ip).is_some_and(|ip| !ip.is_unspecified());
        let Some(message) = dns::message_of(sys).filter(|_| is_connected) else { return };
        if is_send(sys.call) && !message.is_response {
            let Some(question) = message.question else { return };
            if self.queries.len() >= MAX_QUERIES {
                self.queries.pop_front();
            }
            let server = sys.peer.as_ref().map(ToString::to_string).unwrap_or_default();
            let is_tcp = socket.proto == Proto::Tcp;
            self.queries.push_back(Query { t: sys.t, id: message.id, socket: socket.inode, server, is_tcp, question, answer: None });
        } else if is_receive(sys.call) && message.is_response {
            let is_meant = |query: &&mut Query| query.id == message.id && query.socket == socket.inode && query.answer.is_none();
            if let Some(query) = self.queries.iter_mut().rev().find(is_meant) {
                query.answer = Some(Answer { t: sys.t, rcode: message.rcode, is_truncated: message.is_truncated });
            }
        }
    }

    /// What it asked for the sake of a look-up and was open in an interval, for at least so long.
    pub fn waits_for(&self, asked: &Dns, (from, to): (u64, u64), min_wait_ns: u64) -> Vec<Inner> {
        // One that was never answered has been given up at some time; it counts only for whoever came before it.
        let is_open = |query: &&Query| query.t < to && query.answer.map_or(query.t >= from, |answer| answer.t > from);
        let mut groups: Vec<Vec<&Query>> = Vec::new();
        for query in self.queries.iter().filter(|query| serves(&query.question, asked)).filter(is_open) {
            let is_same =
                |group: &&mut Vec<&Query>| group.first().is_some_and(|first| first.question.qname.eq_ignore_ascii_case(&query.question.qname));
            match groups.iter_mut().find(is_same) {
                Some(group) => group.push(query),
                None => groups.push(vec![query]),
            }
        }
        let mut waits: Vec<Inner> =
            groups.iter().filter_map(|group| wait(group, from, to)).filter(|inner| inner.to.saturating_sub(inner.from) >= min_wait_ns).collect();
        waits.sort_by_key(|inner| inner.from);
        waits
    }
}

/// Whether a question may be one for the sake of a look-up: the same, or for what stands above the name one for a way there (a delegation, or the
/// shortest answer, RFC 9156, 2.1; a signature's chain, RFC 4035, 5).
fn serves(question: &Question, asked: &Dns) -> bool {
    if question.qname.eq_ignore_ascii_case(&asked.qname) {
        return asked.qtype.split('+').any(|qtype| qtype == type_name(question.qtype));
    }
    is_at_or_above(&question.qname, &asked.qname) && ABOVE.contains(&question.qtype)
}

/// A, NS, DS and DNSKEY (RFC 1035, RFC 4034).
const ABOVE: [u16; 4] = [1, 2, 43, 48];

/// The questions for one name as one wait.
fn wait(queries: &[&Query], from: u64, to: u64) -> Option<Inner> {
    let first = queries.first()?;
    let last_answer = queries.iter().filter_map(|query| query.answer).filter(|answer| answer.t <= to).max_by_key(|answer| answer.t);
    let is_over = queries.iter().all(|query| has_answer(query, queries, to));
    let end = if is_over { last_answer.map_or(to, |answer| answer.t) } else { to };
    let begin = first.t.max(from);
    let outcome = match last_answer {
        Some(answer) if is_over && is_answer(answer.rcode) => Outcome::Ok,
        Some(answer) if !is_answer(answer.rcode) => Outcome::Error,
        _ => Outcome::Timeout,
    };
    let mut types: Vec<u16> = queries.iter().map(|query| query.question.qtype).collect();
    types.sort_unstable();
    types.dedup();
    let servers = servers(queries, begin, end);
    let slowest = servers.iter().max_by(|a, b| a.waited_s.unwrap_or(0.0).total_cmp(&b.waited_s.unwrap_or(0.0)));
    let bare = Wait::bare(Cause::Dns, slowest.map(|server| server.address.clone()), outcome);
    let wait = Wait {
        attempts: u32::try_from(queries.len()).ok(),
        dns: Some(Dns {
            qname: first.question.qname.clone(),
            qtype: types.into_iter().map(type_name).collect::<Vec<_>>().join("+"),
            rcode: last_answer.map(|answer| rcode_name(answer.rcode)),
            servers,
            unanswered: None,
            purpose: None,
            zone: None,
        }),
        ..bare
    };
    Some(Inner { from: begin, to: end, until: end, socket: None, for_whom: Whom::Unseen, wait })
}

/// Whether a question, or a later try of the same one, was answered in time.
fn has_answer(query: &Query, all: &[&Query], to: u64) -> bool {
    let tries = all.iter().filter(|other| other.t >= query.t && other.question.is_same(&query.question));
    tries.filter_map(|other| other.answer).any(|answer| answer.t <= to && !answer.is_truncated)
}

/// Who was asked, in order. The time from a question to its answer, to the next question, or to the end was spent on its server.
fn servers(queries: &[&Query], begin: u64, end: u64) -> Vec<DnsServer> {
    let mut servers: Vec<DnsServer> = Vec::new();
    for (at, query) in queries.iter().enumerate() {
        let next = queries.get(at + 1).map_or(end, |next| next.t);
        let until = query.answer.map_or(next, |answer| answer.t.min(next)).min(end);
        let waited = seconds(until.saturating_sub(query.t.max(begin)).cast_signed());
        let is_answered = query.answer.is_some_and(|answer| answer.t <= end);
        let is_truncated = query.answer.is_some_and(|answer| answer.is_truncated);
        let tcp = u32::from(query.is_tcp);
        match servers.iter_mut().find(|server| server.address == query.server) {
            Some(server) => {
                server.attempts += 1;
                server.answered |= is_answered;
                server.truncated |= is_truncated;
                server.waited_s = server.waited_s.map(|known| known + waited);
                server.tcp_attempts = server.tcp_attempts.map(|known| known + tcp);
            }
            None => servers.push(DnsServer {
                address: query.server.clone(),
                attempts: 1,
                answered: is_answered,
                waited_s: Some(waited),
                tcp_attempts: Some(tcp),
                truncated: is_truncated,
            }),
        }
    }
    for server in &mut servers {
        server.tcp_attempts = server.tcp_attempts.filter(|attempts| *attempts > 0);
    }
    servers
}
