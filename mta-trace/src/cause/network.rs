//! `network`: a peer of which nothing tells what it is. All of one socket in a row is one wait.

use super::{Explained, Match, Present, outcome};
use crate::event::Endpoint;
use crate::report::Cause;
use crate::wait::Step;

pub(super) fn recognise(step: &Step, present: Option<&Present>) -> Match {
    // The client is no service: what is not a wait for it and no pause is not known.
    // EINPROGRESS: the poll that follows waits for this connection.
    let is_under_way = step.is_connect() && step.ret == Some(-115);
    let Some(socket) = step.any_socket().filter(|_| (step.is_blocked || is_under_way) && step.client.is_none()) else { return Match::No };
    let present = present.filter(|present| present.is(Cause::Network));
    if present.is_some_and(|present| present.is_touched_by(step)) {
        return Match::Continues;
    }
    // A socketpair has no name: nothing says that its far end is another host or service.
    if socket.peer.is_some() { Match::Begins } else { Match::No }
}

pub(super) fn explain(steps: &[Step]) -> Explained {
    let socket = steps.iter().find_map(Step::any_socket);
    let target = socket.and_then(|socket| socket.peer.as_ref()).map(Endpoint::to_string);
    let mut explained = Explained::of(steps).with_target(target);
    explained.attempts = outcome::connects(steps);
    explained
}
