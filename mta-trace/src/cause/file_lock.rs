//! `file-lock`: another process holds a lock on the file (`flock`, `fcntl F_SETLKW`).

use super::{Explained, Match, Present};
use crate::wait::Step;
use mta_trace_common::syscalls::Call;

pub(super) fn recognise(step: &Step, _present: Option<&Present>) -> Match {
    let is_lock = match step.call {
        Some(Call::Flock) => true,
        Some(Call::Fcntl) => step.op.as_deref().is_some_and(|op| op.contains("SETLKW")),
        _ => false,
    };
    if is_lock && step.is_blocked { Match::Begins } else { Match::No }
}

pub(super) fn explain(steps: &[Step]) -> Explained {
    let target = steps.last().and_then(Step::file).map(str::to_owned);
    Explained::of(steps).with_target(target)
}
