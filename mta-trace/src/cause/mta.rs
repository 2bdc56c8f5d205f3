//! `mta`: another process of the mail server: one of Postfix's services, or the parent: sendmail's daemon lets each child wait at a pipe until it
//! has taken note of it.
//!
//! The evidence is the path of the service's socket, or a pipe that was open when the process was forked, so that its other end is its parent's.

use super::{Explained, Match, Present, peer};
use crate::report::Cause;
use crate::wait::Step;

pub(super) fn recognise(step: &Step, present: Option<&Present>) -> Match {
    // A child of its own would hold the other end as well.
    if step.is_blocked && step.parent.is_some() && !step.has_child {
        return Match::Begins;
    }
    let is_service = step.service.as_ref().is_some_and(|service| service.cause == Cause::Mta);
    peer::recognise(Cause::Mta, step, is_service, present.filter(|present| present.steps.iter().all(|step| step.parent.is_none())))
}

pub(super) fn explain(steps: &[Step]) -> Explained {
    let service = steps.iter().find_map(|step| step.service.as_ref().map(|service| service.name.clone()));
    match service {
        Some(name) => peer::explain(steps).with_target(Some(name)),
        None => Explained::of(steps).with_target(steps.last().and_then(|step| step.parent.clone())),
    }
}
