//! `relay`: the message is handed on to the next hop (SMTP or LMTP over TCP) while its client waits for the reply.
//!
//! sendmail's `DeliveryMode=interactive`: the process that serves delivers by itself, between the end of the message and its reply. All of
//! one socket is one wait. A mail server that only asks others about addresses at that place (Exim's `verify = header_sender/callout`)
//! looks the same: so only one that is known to deliver there is taken at its port (`Place::relays`).
//!
//! Exim's cutthrough delivery (`control = cutthrough_delivery`) hands the message on while it comes, over the connection that it has made for the
//! recipient: where that is used again behind the end of the message (`Place::relays_over`) it is the message that it waits for.

use super::{Explained, Match, Present, peer};
use crate::report::Cause;
use crate::wait::Step;

/// IANA `smtp`, `lmtp` as it is used (`priv-mail`), `submission`, `submissions`.
const PORTS: &[u16] = &[25, 24, 587, 465];

pub(super) fn recognise(step: &Step, present: Option<&Present>) -> Match {
    peer::recognise(Cause::Relay, step, step.relays && peer::is_on_port(step, PORTS), present)
}

pub(super) fn explain(steps: &[Step]) -> Explained {
    peer::explain(steps)
}
