//! `sasl`: the password is checked by another process (saslauthd, dovecot's auth), reached by its unix socket.
//!
//! Recognised by the path alone: what is said there is a secret and never captured.

use super::{Match, Present, peer};
use crate::report::Cause;
use crate::wait::Step;

fn is_sasl(step: &Step) -> bool {
    let Some(path) = peer::unix_path(step) else { return false };
    let is_dovecot = path.contains("dovecot") && path.contains("auth");
    let is_postfix_auth = path.ends_with("private/auth");
    path.contains("saslauthd") || is_dovecot || is_postfix_auth
}

pub(super) fn recognise(step: &Step, present: Option<&Present>) -> Match {
    peer::recognise(Cause::Sasl, step, is_sasl(step), present)
}
