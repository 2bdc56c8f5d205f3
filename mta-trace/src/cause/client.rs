//! `client`: the client has not sent its next byte, or does not read what was sent.
//!
//! Recognised by a call that blocks on the client's socket while it is the client's turn; out of turn (the rest of a
//! pipelined batch is late) by a receive, by a poll that the client's bytes ended, or by any once the client has said QUIT: Exim
//! gives it 0.2 s to close first.

use super::{Explained, Match, Present, outstanding::is_outstanding};
use crate::report::Cause;
use crate::wait::{Step, Touch};

/// Two waits for the client with less between them are one: a message comes in many reads.
const MERGE_NS: i64 = 1_000_000;

pub(super) fn recognise(step: &Step, present: Option<&Present>) -> Match {
    if !step.is_blocked || !is_for_client(step, present) {
        return Match::No;
    }
    let last = present.filter(|present| present.is(Cause::Client)).and_then(Present::last_to);
    let is_near = last.is_some_and(|last| step.from.since(&last).elapsed < MERGE_NS);
    if is_near { Match::Continues } else { Match::Begins }
}

fn is_for_client(step: &Step, present: Option<&Present>) -> bool {
    match step.client {
        // Of a poll that has not returned the descriptors are not told: it is the client's turn, and nothing else is outstanding.
        None => step.is_unnamed_poll() && step.awaits_client && !present.is_some_and(is_outstanding),
        Some(Touch::Reads) => step.awaits_client || step.has_quit || is_ended_by_client(step),
        Some(Touch::Writes) => true,
        Some(Touch::HangUp) => false,
    }
}

/// Out of turn: only bytes of the client end a receive, or a poll that has not timed out.
fn is_ended_by_client(step: &Step) -> bool {
    let is_readable = step.is_poll() && step.ret.is_some_and(|ret| ret > 0);
    step.is_receive() || is_readable && !step.owes_greeting
}

pub(super) fn explain(steps: &[Step]) -> Explained {
    Explained::of(steps)
}
