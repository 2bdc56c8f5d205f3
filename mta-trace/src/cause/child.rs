//! `child`: a process that the serving one has forked has not ended, or has not written into their pipe.

use super::{Explained, Match, Present};
use crate::state::Object;
use crate::wait::Step;
use mta_trace_common::syscalls::Call;

pub(super) fn recognise(step: &Step, _present: Option<&Present>) -> Match {
    let is_wait = matches!(step.call, Some(Call::Wait4 | Call::Waitid));
    let is_pipe = |object: Option<&Object>| object.is_some_and(Object::is_pipe);
    let reads_pipe = step.is_receive() && step.parent.is_none() && is_pipe(step.object.as_ref())
        || step.is_poll() && !step.polled.is_empty() && step.polled.iter().all(|polled| is_pipe(polled.object.as_ref()));
    let is_child = is_wait || reads_pipe && step.has_child;
    if is_child && step.is_blocked { Match::Begins } else { Match::No }
}

pub(super) fn explain(steps: &[Step]) -> Explained {
    let target = steps.last().and_then(|step| step.child.clone());
    Explained::of(steps).with_target(target)
}
