//! `sasl`: the password is checked by another process (saslauthd, dovecot's auth), reached by its unix socket.
//!
//! Recognised by the path alone: what is said there is a secret and never captured.

use super::{Explained, Match, Present, outcome};
use crate::event::Endpoint;
use crate::report::Cause;
use crate::state::Socket;
use crate::wait::Step;

fn is_sasl(socket: &Socket) -> bool {
    let Some(Endpoint::Unix(path)) = &socket.peer else { return false };
    let is_dovecot = path.contains("dovecot") && path.contains("auth");
    let is_postfix_auth = path.ends_with("private/auth");
    path.contains("saslauthd") || is_dovecot || is_postfix_auth
}

pub(super) fn recognise(step: &Step, present: Option<&Present>) -> Match {
    let present = present.filter(|present| present.is(Cause::Sasl));
    if present.is_some_and(|present| present.is_touched_by(step)) {
        return Match::Continues;
    }
    if step.any_socket().is_some_and(is_sasl) { Match::Begins } else { Match::No }
}

pub(super) fn explain(steps: &[Step]) -> Explained {
    let socket = steps.iter().find_map(Step::any_socket);
    let target = socket.and_then(|socket| socket.peer.as_ref()).map(Endpoint::to_string);
    let mut explained = Explained::of(steps).with_target(target);
    explained.attempts = outcome::connects(steps);
    explained
}
