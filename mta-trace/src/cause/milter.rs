//! `milter`: a mail filter has been told a stage of the dialogue and has not said what to do.
//!
//! A wait goes from the packet that asks (or the macros that are sent for it) to the packet that answers. That a connection is a milter's is told by its first
//! packet; a wait for the connection itself, before it, is one because that endpoint has spoken milter before, or speaks it then.

use super::{Explained, Match, Present, outcome};
use crate::event::Endpoint;
use crate::proto::milter::{Reply, parse, reply, stage};
use crate::report::{Cause, Milter, Outcome};
use crate::wait::Step;
use mta_trace_common::syscalls::Call;

/// Bytes of a packet's head: sendmail reads them apart from the rest.
const HEAD_BYTES: i64 = 5;

/// Of the length in a packet's head, which does not count itself.
const LENGTH_BYTES: i64 = 4;

/// The stage of a request that was not seen.
const UNSEEN: &str = "unknown";

/// `SMFIC_MACRO`.
const MACROS: u8 = b'D';

/// The stage that a step asks for: by its own packet, or, behind macros in the same write, by the command that these are for.
fn asked(step: &Step) -> Option<&'static str> {
    let is_packet = step.is_milter && step.is_send();
    let data = step.data.as_ref().filter(|_| is_packet)?;
    let head = parse(data)?;
    let is_more = step.ret.is_some_and(|ret| ret > i64::from(head.length) + LENGTH_BYTES);
    if head.command == MACROS && is_more { stage(*data.get(5)?) } else { stage(head.command) }
}

/// Whether an answer is to a question: one that was seen, or that was asked before anything was seen of it.
fn was_asked(steps: &[Step]) -> bool {
    steps.iter().any(|step| asked(step).is_some()) || !steps.iter().any(Step::is_connect)
}

/// It sends macros, to which there is no answer: the command follows at once, in a write of its own or not.
fn is_macros(step: &Step) -> bool {
    step.is_milter && step.is_send() && step.data.as_ref().and_then(|data| parse(data)).is_some_and(|head| head.command == MACROS)
}

/// In how many writes the request left: up to the first packet that comes back.
fn writes(steps: &[Step]) -> Option<u32> {
    let until_answer = steps.iter().take_while(|step| !step.is_receive());
    u32::try_from(until_answer.filter(|step| step.is_milter && step.is_send()).count()).ok().filter(|&writes| writes > 0)
}

/// The reply that a step reads.
fn answered(step: &Step) -> Option<Reply> {
    let is_head = step.is_milter && step.is_receive() && step.ret.is_some_and(|ret| ret >= HEAD_BYTES);
    Some(reply(parse(step.data.as_ref().filter(|_| is_head)?)?.command))
}

pub(super) fn recognise(step: &Step, present: Option<&Present>) -> Match {
    // The wait for its connection turns out to be a milter's with its first packet.
    let inode = step.socket().map(|socket| socket.inode);
    let is_connected_here =
        present.is_some_and(|present| present.steps.iter().all(|step| asked(step).is_none()) && inode.is_some_and(|inode| present.knows(inode)));
    if asked(step).is_some() || is_macros(step) {
        return if is_connected_here { Match::Continues } else { Match::Begins };
    }
    // A wait whose request was not seen is told by its answer.
    if step.is_milter && step.is_receive() && is_connected_here && present.is_some_and(|present| !present.is(Cause::Milter)) {
        return if matches!(answered(step), Some(Reply::Final { .. })) { Match::Completes } else { Match::Continues };
    }
    if step.call == Some(Call::Connect) && step.is_known_milter {
        return Match::Begins;
    }
    let Some(present) = present.filter(|present| present.is(Cause::Milter) && present.is_touched_by(step)) else {
        // The connection may be older than what was seen of it, or come from another process.
        return if step.is_blocked && (step.is_milter || step.is_known_milter) { Match::Begins } else { Match::No };
    };
    match answered(step) {
        Some(Reply::Final { .. }) if was_asked(&present.steps) => Match::Completes,
        _ => Match::Continues,
    }
}

pub(super) fn explain(steps: &[Step]) -> Explained {
    let socket = steps.iter().find_map(Step::any_socket);
    let target = socket.and_then(|socket| socket.peer.as_ref()).map(Endpoint::to_string);
    let mut explained = Explained::of(steps).with_target(target);
    let answer = steps.iter().rev().find_map(|step| match answered(step)? {
        Reply::Final { name, denied } => Some((name, denied)),
        Reply::Interim => None,
    });
    if answer.is_some_and(|(_, denied)| denied) {
        explained.outcome = Outcome::Denied;
    }
    // What it was asked before it was seen is not known.
    let first = match steps {
        _ if steps.iter().any(is_macros) => "macros",
        _ if steps.iter().any(Step::is_connect) => "negotiate",
        _ => UNSEEN,
    };
    let asked_stage = steps.iter().find_map(asked).unwrap_or(first);
    explained.milter = Some(Milter { stage: asked_stage.to_owned(), reply: answer.map(|(name, _)| name.to_owned()), writes: writes(steps) });
    explained.attempts = outcome::connects(steps);
    explained
}
