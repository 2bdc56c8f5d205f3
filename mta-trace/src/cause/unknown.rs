//! `unknown`: it blocked, and nothing says for what. The call and the descriptor are all there is to say.

use super::{Explained, Match, Present, outstanding::is_outstanding};
use crate::report::Cause;
use crate::wait::Step;

pub(super) fn recognise(step: &Step, present: Option<&Present>) -> Match {
    if !step.is_blocked {
        return Match::No;
    }
    // A process that ended inside a call does not tell its arguments: what was outstanding went on.
    let is_unnamed = step.is_unnamed_poll() || step.ret.is_none() && step.is_receive() && step.object.is_none();
    match present {
        Some(present) if is_unnamed && is_outstanding(present) => Match::Continues,
        _ => Match::Begins,
    }
}

pub(super) fn explain(steps: &[Step]) -> Explained {
    Explained::of(steps)
}

/// What keeps the name of the present wait although `unknown` claimed the step.
pub(super) fn keeps_name(cause: Cause, matched: Match) -> bool {
    cause == Cause::Unknown && matched == Match::Continues
}
