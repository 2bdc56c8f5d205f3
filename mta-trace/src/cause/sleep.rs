//! `sleep`: the server itself chose to wait (`nanosleep`; `select` or `poll` without descriptors; a wait on the client's
//! descriptor while it is the server's turn, as sendmail's `greet_pause`; Exim's poll for POLLRDHUP alone).
//!
//! On the client's descriptor the call's own time-out must have ended it: what the client's bytes end is a wait for the
//! client. Only before the greeting is a poll a pause whatever ends it, since the client is not asked to speak.

use super::{Explained, Match, Present};
use crate::report::Outcome;
use crate::wait::{Step, Touch};
use mta_trace_common::syscalls::Call;

pub(super) fn recognise(step: &Step, _present: Option<&Present>) -> Match {
    let is_sleep = match step.call {
        Some(Call::Nanosleep | Call::ClockNanosleep) => true,
        _ => match step.client {
            Some(Touch::HangUp) => true,
            Some(Touch::Reads) => is_pause(step),
            Some(Touch::Writes) => false,
            None => is_empty_poll(step),
        },
    };
    if is_sleep && step.is_blocked { Match::Begins } else { Match::No }
}

/// A wait on the client's descriptor that is not for the client.
fn is_pause(step: &Step) -> bool {
    !step.awaits_client && step.is_poll() && (step.has_timed_out() || step.owes_greeting)
}

fn is_empty_poll(step: &Step) -> bool {
    // An epoll descriptor hides what it waits for, and a call that has not returned does not tell what it polls.
    let is_told = step.ret.is_some() && matches!(step.call, Some(Call::Poll | Call::Ppoll | Call::Select | Call::Pselect6));
    is_told && step.polled.is_empty() && step.timeout_ns.is_some()
}

pub(super) fn explain(steps: &[Step]) -> Explained {
    let mut explained = Explained::of(steps);
    // That a sleep lasts its full time is how it ends well.
    if matches!(explained.outcome, Outcome::Timeout | Outcome::Ok) {
        explained.outcome = Outcome::Ok;
        // A time that something else cut short is no time-out.
        let lasted = steps.last().filter(|step| step.ret == Some(0));
        explained.timer_ns = explained.timer_ns.or(lasted.and_then(|step| step.timeout_ns));
    }
    explained
}
