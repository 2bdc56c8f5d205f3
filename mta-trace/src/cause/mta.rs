//! `mta`: another process of the mail server. sendmail's daemon lets each child wait at a pipe until it has taken note of it.
//!
//! The evidence is the descriptor: a pipe that was open when the process was forked, so its other end is its parent's.

use super::{Explained, Match, Present};
use crate::wait::Step;

pub(super) fn recognise(step: &Step, _present: Option<&Present>) -> Match {
    // A child of its own would hold the other end as well.
    if step.is_blocked && step.parent.is_some() && !step.has_child { Match::Begins } else { Match::No }
}

pub(super) fn explain(steps: &[Step]) -> Explained {
    let target = steps.last().and_then(|step| step.parent.clone());
    Explained::of(steps).with_target(target)
}
