//! `tls`: a TLS handshake has begun, and the client's next message of it has not come, or the server's is not taken (RFC 8446, 2; RFC 5246, 7.3).
//!
//! Recognised by a call that blocks on the client's socket behind the first byte of the handshake and before its end, which are told by who speaks in
//! turn (`session/handshake.rs`). What the client takes before it begins is the client's time. A handshake of the server's own, with somebody whom it
//! asks, is a part of the wait for that one.

use super::{Explained, Match, Present, outstanding::is_outstanding};
use crate::report::Cause;
use crate::wait::{Step, Touch};

/// Between two such waits the server only computes.
const MERGE_NS: i64 = 1_000_000;

pub(super) fn recognise(step: &Step, present: Option<&Present>) -> Match {
    let is_on_client = match step.client {
        Some(Touch::Reads | Touch::Writes) => true,
        Some(Touch::HangUp) => false,
        // Of a poll that has not returned the descriptors are not told.
        None => step.is_unnamed_poll() && !present.is_some_and(is_outstanding),
    };
    if !step.is_blocked || !step.shakes_hands || !is_on_client {
        return Match::No;
    }
    let last = present.filter(|present| present.is(Cause::Tls)).and_then(Present::last_to);
    let is_near = last.is_some_and(|last| step.from.since(&last).elapsed < MERGE_NS);
    if is_near { Match::Continues } else { Match::Begins }
}

pub(super) fn explain(steps: &[Step]) -> Explained {
    Explained::of(steps)
}
