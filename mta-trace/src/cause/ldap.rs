//! `ldap`: a directory is asked (RFC 4511), over TCP at its registered ports or through its unix socket.
//!
//! Nothing of what is said there is captured: the evidence is the address of the peer.

use super::{Match, Present, peer};
use crate::report::Cause;
use crate::wait::Step;

/// Ports: IANA `ldap`, `ldaps`, and the global catalogue of Active Directory.
fn is_it(step: &Step) -> bool {
    peer::is_on_port(step, &[389, 636, 3268, 3269]) || peer::unix_path(step).is_some_and(|path| path.ends_with("/ldapi"))
}

pub(super) fn recognise(step: &Step, present: Option<&Present>) -> Match {
    peer::recognise(Cause::Ldap, step, is_it(step), present)
}
