//! `dns` (RFC 1035, RFC 1123 6.1.3.3): a name server has been asked and has not answered.
//!
//! One wait is one look-up: from its first query over every repetition (same question, same id), of any server, over UDP and,
//! after TC, over TCP, until the answer or the last time-out. A and AAAA asked at once for one name are one look-up.

use super::{Explained, Match, Present, outstanding::is_outstanding};
use crate::event::Proto;
use crate::proto::dns::{Message, PORT, Purpose, Question, is_answer, purpose, rcode_name, type_name};
use crate::report::{Cause, Dns, DnsServer, Outcome};
use crate::session::{Mark, seconds};
use crate::state::Socket;
use crate::wait::Step;
use mta_trace_common::syscalls::Call;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;

fn is_dns(socket: &Socket) -> bool {
    socket.peer_port() == Some(PORT)
}

/// The question that a step sends.
fn asked(step: &Step) -> Option<(u16, &Question)> {
    let message = step.dns.as_ref().filter(|message| step.is_send() && !message.is_response)?;
    Some((message.id, message.question.as_ref()?))
}

/// Whether a step sends to a name server.
pub fn is_query(step: &Step) -> bool {
    step.is_send() && step.any_socket().is_some_and(is_dns)
}

/// How many messages a step sends: `sendmmsg` returns their number, of which the first is known.
fn queries(step: &Step) -> u32 {
    match (step.call, step.ret) {
        (Some(Call::Sendmmsg), Some(ret)) => u32::try_from(ret).unwrap_or(1).max(1),
        _ => 1,
    }
}

pub(super) fn recognise(step: &Step, present: Option<&Present>) -> Match {
    let lookup = present.filter(|present| present.is(Cause::Dns));
    // A look-up that had begun before the trace: its socket is known, its question only now.
    let is_begun = present.is_some_and(|present| present.is(Cause::Network) && present.is_touched_by(step));
    if is_begun && asked(step).is_some() {
        return Match::Continues;
    }
    if is_begun && let Some(answer) = step.dns_answer() {
        return if answer.is_final() { Match::Completes } else { Match::Continues };
    }
    if let Some(query) = asked(step) {
        let is_same = lookup.is_some_and(|lookup| repeats(lookup, query) || joins(&lookup.steps, query.1));
        return if is_same { Match::Continues } else { Match::Begins };
    }
    let Some(lookup) = lookup else { return Match::No };
    if is_tcp_connect(step) {
        return Match::Continues;
    }
    if !lookup.is_touched_by(step) {
        return Match::No;
    }
    if step.dns_answer().is_some() && is_complete(&lookup.steps, step) { Match::Completes } else { Match::Continues }
}

/// The same question with the same id: the next try of the look-up (glibc keeps the id, also for the next server); or with another one while the
/// answer is still to come (libunbound, which waits for several in an event loop).
fn repeats(lookup: &Present, (id, question): (u16, &Question)) -> bool {
    let is_open = is_outstanding(lookup);
    lookup.steps.iter().filter_map(asked).any(|(known_id, known)| (known_id == id || is_open) && known.is_same(question))
}

/// The other address type of the same name, asked before anything was waited for: one look-up (`getaddrinfo`).
fn joins(steps: &[Step], question: &Question) -> bool {
    let is_address = |qtype| qtype == TYPE_A || qtype == TYPE_AAAA;
    let has_waited = steps.iter().any(|step| step.is_blocked && !step.is_send() || step.is_receive());
    let is_pair = |known: &Question| is_address(known.qtype) && known.qtype != question.qtype && known.qname.eq_ignore_ascii_case(&question.qname);
    !has_waited && is_address(question.qtype) && steps.iter().filter_map(asked).any(|(_, known)| is_pair(known))
}

fn is_tcp_connect(step: &Step) -> bool {
    step.call == Some(Call::Connect) && step.socket().is_some_and(|socket| is_dns(socket) && socket.proto == Proto::Tcp)
}

/// Whether nothing more is to be expected after this answer.
fn is_complete(steps: &[Step], last: &Step) -> bool {
    let answers = answers(steps).into_iter().chain(last.dns_answer().filter(|answer| is_to(steps, answer)));
    answers.filter(|answer| answer.is_final()).count() >= distinct_questions(steps)
}

/// The answers to what was asked: a late one to an earlier look-up is none.
fn answers(steps: &[Step]) -> Vec<&Message> {
    steps.iter().filter_map(Step::dns_answer).filter(|answer| is_to(steps, answer)).collect()
}

/// Whether it has the id of a query; the further queries of a `sendmmsg` have ids that were not copied.
fn is_to(steps: &[Step], answer: &Message) -> bool {
    let mut ids = steps.iter().filter_map(asked).map(|(id, _)| id).peekable();
    hidden_questions(steps) > 0 || ids.peek().is_none() || ids.any(|id| id == answer.id)
}

fn distinct_questions(steps: &[Step]) -> usize {
    let mut distinct: Vec<&Question> = Vec::new();
    for (_, question) in steps.iter().filter_map(asked) {
        if !distinct.iter().any(|known| known.is_same(question)) {
            distinct.push(question);
        }
    }
    distinct.len().max(hidden_questions(steps).saturating_add(1))
}

/// The further messages of the first `sendmmsg` are questions that were not copied.
fn hidden_questions(steps: &[Step]) -> usize {
    let hidden = steps.iter().find(|step| asked(step).is_some()).map_or(0, |step| queries(step).saturating_sub(1));
    usize::try_from(hidden).unwrap_or(0)
}

pub(super) fn explain(steps: &[Step]) -> Explained {
    let mut explained = Explained::of(steps);
    // A look-up has several connections, of several kinds: `servers` tells of them.
    explained.connected = None;
    let servers = servers(steps);
    let attempts = servers.iter().map(|server| server.attempts).fold(0, u32::saturating_add);
    let slowest = servers.iter().max_by(|a, b| a.waited_s.unwrap_or(0.0).total_cmp(&b.waited_s.unwrap_or(0.0)));
    explained.target = slowest.map(|server| server.address.clone());
    explained.attempts = Some(attempts);
    let answers = answers(steps);
    explained.outcome = outcome(&answers, explained.outcome, is_all_answered(steps));
    if explained.outcome != Outcome::Timeout {
        explained.timer_ns = None;
    }
    let question = steps.iter().find_map(asked).map(|(_, question)| question).or_else(|| answers.iter().find_map(|answer| answer.question.as_ref()));
    let purpose = question.and_then(|question| purpose(&question.qname, question.qtype));
    explained.dns = Some(Dns {
        qname: question.map(|question| question.qname.clone()).unwrap_or_default(),
        qtype: qtype(steps, &answers),
        purpose: purpose.map(|purpose| purpose.name().to_owned()),
        zone: purpose.and_then(Purpose::zone).map(str::to_owned),
        rcode: answers.last().map(|answer| rcode_name(answer.rcode)),
        servers,
        unanswered: unanswered(steps),
    });
    explained
}

/// Of several questions asked at once, of which some were answered, be it by an error: how many were not.
fn unanswered(steps: &[Step]) -> Option<u32> {
    let mut answered: Vec<u16> = answers(steps).iter().filter(|answer| !answer.is_truncated).map(|answer| answer.id).collect();
    answered.sort_unstable();
    answered.dedup();
    let missing = distinct_questions(steps).saturating_sub(answered.len());
    u32::try_from(missing).ok().filter(|&missing| !answered.is_empty() && missing > 0)
}

fn is_all_answered(steps: &[Step]) -> bool {
    answers(steps).iter().filter(|answer| answer.is_final()).count() >= distinct_questions(steps)
}

fn outcome(answers: &[&Message], by_call: Outcome, is_all_answered: bool) -> Outcome {
    match answers.last() {
        _ if is_all_answered => Outcome::Ok,
        Some(last) if !is_answer(last.rcode) && matches!(by_call, Outcome::Ok) => Outcome::Error,
        // Sent, waited and nothing more: the wait was broken off.
        None if by_call == Outcome::Ok => Outcome::Timeout,
        _ => by_call,
    }
}

fn qtype(steps: &[Step], answers: &[&Message]) -> String {
    let mut types: Vec<u16> = steps.iter().filter_map(asked).map(|(_, question)| question.qtype).collect();
    types.extend(answers.iter().filter_map(|answer| answer.question.as_ref()).map(|question| question.qtype));
    types.sort_unstable();
    types.dedup();
    types.into_iter().map(type_name).collect::<Vec<_>>().join("+")
}

/// A server while its queries are counted.
struct Asked {
    address: String,
    attempts: u32,
    tcp_attempts: u32,
    is_answered: bool,
    is_truncated: bool,
    waited_ns: i64,
}

/// Who was asked, in order. The time from a query to the next one, or to the end, was spent on its server.
fn servers(steps: &[Step]) -> Vec<DnsServer> {
    let mut servers: Vec<Asked> = Vec::new();
    let mut current: Option<(usize, Mark)> = None;
    if let Some((first, peer)) = steps.first().and_then(|first| Some((first, first.any_socket()?.peer.as_ref()?)))
        && !is_query(first)
    {
        // The look-up had begun before the trace, with at least one query.
        current = Some((index_of(&mut servers, peer.to_string()), first.from));
    }
    for step in steps {
        let Some((proto, peer)) = step.socket().and_then(|socket| Some((socket.proto, socket.peer.as_ref()?))) else { continue };
        let address = peer.to_string();
        let is_failed_connect = is_tcp_connect(step) && step.ret.is_none_or(|ret| ret < 0 && ret != -115);
        if is_query(step) || is_tcp_connect(step) {
            let index = index_of(&mut servers, address);
            charge(&mut servers, current, step.from);
            current = Some((index, step.from));
            let sent = if is_query(step) { queries(step) } else { u32::from(is_failed_connect) };
            if let Some(server) = servers.get_mut(index) {
                server.attempts = server.attempts.saturating_add(sent);
                server.tcp_attempts = server.tcp_attempts.saturating_add(if proto == Proto::Tcp { sent } else { 0 });
            }
        } else if let Some(answer) = step.dns_answer().filter(|answer| is_to(steps, answer)) {
            let index = index_of(&mut servers, address);
            if let Some(server) = servers.get_mut(index) {
                server.is_answered = true;
                server.is_truncated |= answer.is_truncated;
            }
        }
    }
    if let Some(last) = steps.last() {
        charge(&mut servers, current, last.to);
    }
    servers
        .into_iter()
        .map(|Asked { address, attempts, tcp_attempts, is_answered, is_truncated, waited_ns }| DnsServer {
            address,
            attempts: attempts.max(1),
            answered: is_answered,
            waited_s: Some(seconds(waited_ns)),
            tcp_attempts: Some(tcp_attempts).filter(|&attempts| attempts > 0),
            truncated: is_truncated,
        })
        .collect()
}

fn index_of(servers: &mut Vec<Asked>, address: String) -> usize {
    if let Some(index) = servers.iter().position(|server| server.address == address) {
        return index;
    }
    servers.push(Asked { address, attempts: 0, tcp_attempts: 0, is_answered: false, is_truncated: false, waited_ns: 0 });
    servers.len() - 1
}

fn charge(servers: &mut [Asked], current: Option<(usize, Mark)>, until: Mark) {
    let Some((index, since)) = current else { return };
    if let Some(server) = servers.get_mut(index) {
        server.waited_ns = server.waited_ns.saturating_add(until.since(&since).elapsed);
    }
}
