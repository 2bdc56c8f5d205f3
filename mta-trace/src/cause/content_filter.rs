//! `content-filter`: the message is looked at by spamd or clamd, by their ports or their unix sockets, or by what the mail server's configuration
//! names as its filter (Postfix's `smtpd_proxy_filter`).
//!
//! Nothing of what is said there is captured: the evidence is the address of the peer.

use super::{Match, Present, peer};
use crate::report::Cause;
use crate::wait::Step;

/// How the sockets of clamd and spamd are called in the distributions.
const PATHS: &[&str] = &["/clamd.ctl", "/clamd.sock", "/clamd.socket", "/spamd.sock", "/spamd.socket"];

/// Ports: `spamd` (783), `clamd` (3310), as both have them by default.
fn is_it(step: &Step) -> bool {
    step.declared == Some(Cause::ContentFilter)
        || peer::is_on_port(step, &[783, 3310])
        || peer::unix_path(step).is_some_and(|path| PATHS.iter().any(|name| path.ends_with(name)))
}

pub(super) fn recognise(step: &Step, present: Option<&Present>) -> Match {
    peer::recognise(Cause::ContentFilter, step, is_it(step), present)
}
