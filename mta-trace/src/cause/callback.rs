//! `callback`: another mail server (TCP port 25) is asked whether an address exists, while the client waits for the reply to it.
//!
//! Exim's call-out: `sendto` with `MSG_FASTOPEN` or `connect`, then a poll or read for the greeting and for each reply. All of one
//! socket is one wait. Once the message has come such a connection may hand it on: that is `relay` or `network`, since what goes over it
//! is never captured.
//!
//! Postfix's `smtpd` asks its service `verify`, which has another process ask: "not yet" comes at once, then `smtpd` sleeps and asks
//! again (`address_verify_poll_delay`). A sleep between two requests to `verify` is this; one behind the last is none of it.

use super::{Explained, Match, Present, outcome};
use crate::event::{Endpoint, Proto};
use crate::report::{Cause, Outcome};
use crate::state::Socket;
use crate::wait::Step;
use mta_trace_common::syscalls::Call;

const PORT: u16 = 25;

/// Postfix's service that knows which addresses exist.
const VERIFY: &str = "verify";

fn is_smtp(socket: &Socket) -> bool {
    socket.proto == Proto::Tcp && socket.peer_port() == Some(PORT)
}

pub(super) fn recognise(step: &Step, present: Option<&Present>) -> Match {
    if present.is_some_and(|present| asks_again(step, present) && present.steps.iter().any(is_sleep)) {
        return Match::Continues;
    }
    let present = present.filter(|present| present.is(Cause::Callback));
    if present.is_some_and(|present| present.is_touched_by(step)) {
        return Match::Continues;
    }
    let is_asking = step.verifies && step.client.is_none() && step.any_socket().is_some_and(is_smtp);
    if is_asking { Match::Begins } else { Match::No }
}

fn is_verify(step: &Step) -> bool {
    step.service.as_ref().is_some_and(|service| service.name == VERIFY)
}

fn is_sleep(step: &Step) -> bool {
    matches!(step.call, Some(Call::Nanosleep | Call::ClockNanosleep))
}

/// Whether a step is the next request to `verify`, over the connection of the present wait.
pub(super) fn asks_again(step: &Step, present: &Present) -> bool {
    is_verify(step) && present.steps.iter().any(is_verify) && present.is_touched_by(step)
}

/// Whether a sleep follows a request to `verify`, whose answer need not be seen, since it comes at once: whether it is a pause before the same
/// question tells the next step.
pub(super) fn may_be_pause(step: &Step, present: &Present) -> bool {
    is_sleep(step) && present.steps.last().is_some_and(is_verify)
}

pub(super) fn explain(steps: &[Step]) -> Explained {
    if steps.iter().any(is_verify) {
        let requests = steps.iter().filter(|step| is_verify(step) && step.is_send()).count();
        let explained = Explained::of(steps).with_target(Some(VERIFY.to_owned()));
        // What its answer was is not read: it came, each time.
        return Explained { outcome: Outcome::Ok, timer_ns: None, attempts: u32::try_from(requests).ok().filter(|&n| n > 0), ..explained };
    }
    let target = steps.iter().find_map(Step::any_socket).and_then(|socket| socket.peer.as_ref()).map(Endpoint::to_string);
    let mut explained = Explained::of(steps).with_target(target);
    explained.attempts = outcome::connects(steps);
    explained
}
