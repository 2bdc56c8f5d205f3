//! `callback`: another mail server (TCP port 25) is asked whether an address exists, while the client waits for the reply to it.
//!
//! Exim's call-out: `sendto` with `MSG_FASTOPEN` or `connect`, then a poll or read for the greeting and for each reply. All of one
//! socket is one wait. Once the message has come such a connection may hand it on: then it is `network`, since what goes over it is
//! never captured.

use super::{Explained, Match, Present, outcome};
use crate::event::{Endpoint, Proto};
use crate::report::Cause;
use crate::state::Socket;
use crate::wait::Step;

const PORT: u16 = 25;

fn is_smtp(socket: &Socket) -> bool {
    socket.proto == Proto::Tcp && socket.peer_port() == Some(PORT)
}

pub(super) fn recognise(step: &Step, present: Option<&Present>) -> Match {
    let present = present.filter(|present| present.is(Cause::Callback));
    if present.is_some_and(|present| present.is_touched_by(step)) {
        return Match::Continues;
    }
    let is_asking = step.verifies && step.client.is_none() && step.any_socket().is_some_and(is_smtp);
    if is_asking { Match::Begins } else { Match::No }
}

pub(super) fn explain(steps: &[Step]) -> Explained {
    let socket = steps.iter().find_map(Step::any_socket);
    let target = socket.and_then(|socket| socket.peer.as_ref()).map(Endpoint::to_string);
    let mut explained = Explained::of(steps).with_target(target);
    explained.attempts = outcome::connects(steps);
    explained
}
