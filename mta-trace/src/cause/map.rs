//! `map`: a table is looked up by another process: Postfix's proxymap, memcached.
//!
//! The evidence is the path or the port.

use super::{Match, Present, peer};
use crate::report::Cause;
use crate::wait::Step;

/// IANA `memcache`.
const MEMCACHED: &[u16] = &[11211];

fn is_map(step: &Step) -> bool {
    step.service.as_ref().is_some_and(|service| service.cause == Cause::Map) || peer::is_on_port(step, MEMCACHED)
}

pub(super) fn recognise(step: &Step, present: Option<&Present>) -> Match {
    peer::recognise(Cause::Map, step, is_map(step), present)
}
