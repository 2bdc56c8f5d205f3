//! `spool-sync`: the message is made safe on the disk before it is accepted (RFC 5321, 6.1): `fsync`, `fdatasync`, `sync`.

use super::{Explained, Match, Present};
use crate::wait::Step;
use mta_trace_common::syscalls::Call;

pub(super) fn recognise(step: &Step, _present: Option<&Present>) -> Match {
    let is_sync = matches!(step.call, Some(Call::Fsync | Call::Fdatasync | Call::Sync));
    if is_sync && step.is_blocked { Match::Begins } else { Match::No }
}

pub(super) fn explain(steps: &[Step]) -> Explained {
    let target = steps.last().and_then(Step::file).map(str::to_owned);
    Explained::of(steps).with_target(target)
}
