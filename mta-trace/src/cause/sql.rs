//! `sql`: a database is asked, `mysqld` or `postgres`, by its registered port or its unix socket.
//!
//! Nothing of what is said there is captured: the evidence is the address of the peer.

use super::{Match, Present, peer};
use crate::report::Cause;
use crate::wait::Step;

/// Ports: IANA `mysql`, `postgresql`.
fn is_it(step: &Step) -> bool {
    peer::is_on_port(step, &[3306, 5432]) || peer::unix_path(step).is_some_and(|path| path.ends_with("/mysqld.sock") || path.contains("/.s.PGSQL."))
}

pub(super) fn recognise(step: &Step, present: Option<&Present>) -> Match {
    peer::recognise(Cause::Sql, step, is_it(step), present)
}
