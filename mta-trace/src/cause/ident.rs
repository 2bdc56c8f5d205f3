//! `ident` (RFC 1413): a TCP connection to port 113 of the client, who is asked who owns the connection.
//!
//! sendmail: `alarm`, blocking `connect`, `write`, `read`; Exim: `sendto` with `MSG_FASTOPEN`. All of one socket is one wait.

use super::{Explained, Match, Present, outcome};
use crate::event::{Endpoint, Proto};
use crate::report::{Cause, Outcome};
use crate::state::Socket;
use crate::wait::Step;

const PORT: u16 = 113;

fn is_ident(socket: &Socket) -> bool {
    socket.proto == Proto::Tcp && socket.peer_port() == Some(PORT)
}

pub(super) fn recognise(step: &Step, present: Option<&Present>) -> Match {
    let present = present.filter(|present| present.is(Cause::Ident));
    if present.is_some_and(|present| present.is_touched_by(step)) {
        return Match::Continues;
    }
    if step.any_socket().is_some_and(is_ident) { Match::Begins } else { Match::No }
}

pub(super) fn explain(steps: &[Step]) -> Explained {
    let socket = steps.iter().find_map(Step::any_socket);
    let target = socket.and_then(|socket| socket.peer.as_ref()).map(Endpoint::to_string);
    let mut explained = Explained::of(steps).with_target(target);
    explained.attempts = outcome::connects(steps).or(Some(1));
    let refused = steps.iter().any(|step| step.ret == Some(-111));
    if refused && explained.outcome == Outcome::Ok {
        explained.outcome = Outcome::Refused;
    }
    explained
}
