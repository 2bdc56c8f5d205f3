//! The finding of a connection that was accepted late: it waited in the listen backlog, which the client cannot tell from a slow greeting.
//!
//! In: a session. Out: its finding. What kept the daemon is not known here, only that it did not come to accept.

use super::{Remedy, Settings, Text, text::seconds};
use crate::mta::{Mta, Topic};
use crate::report::Session;

pub const RULE: &str = "accept-late";

/// How long the connection waited, if that was long enough for `floor_s`.
pub fn waited_s(session: &Session, floor_s: f64) -> Option<f64> {
    session.before_accept_s.filter(|s| *s >= floor_s)
}

pub fn explain(session: &Session, waited_s: f64, mta: &dyn Mta, settings: &Settings) -> Text {
    Text {
        summary: format!("the connection waited {} until the server accepted it, before anything else began", seconds(waited_s)),
        evidence: format!(
            "the kernel had finished the handshake with {} {} before the accept of pid {}; the session's own time does not hold this",
            session.client,
            seconds(waited_s),
            session.daemon_pid
        ),
        remedy: Remedy::of(mta, settings, Topic::AcceptLate),
        check: mta.check(Topic::AcceptLate).map(str::to_owned).or_else(|| Some("ss -ltn; nstat -az TcpExtListenOverflows".to_owned())),
    }
}
