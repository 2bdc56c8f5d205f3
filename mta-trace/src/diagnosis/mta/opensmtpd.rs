//! Advice for `OpenSMTPD`: smtpd.conf(5), smtpd-filters(7).
//!
//! In: a [`Topic`]. Out: what to look at. It resolves names by itself (libasr): measured with 6.8.0p2, `options timeout` and `attempts` of resolv.conf
//! do not change its 5, 10, 20 and 40 s. Not here: what is no different from other mail servers (`generic`).

use super::{Topic, generic};
use crate::report::Cause;

/// What to look at.
pub fn advice(topic: Topic) -> &'static str {
    match topic {
        Topic::Resolver => {
            "a name server that answers, first in /etc/resolv.conf: OpenSMTPD waits 5, 10, 20 and 40 s for one that does not, whatever `options` say"
        }
        Topic::Service(Cause::Mta) => {
            "`lookup` asks filters, tables and the passwd database, `queue` writes to the disk of /var/spool/smtpd: look at the `filter` and `table` lines \
             of smtpd.conf, or run `smtpctl trace lookup` and `smtpctl trace filters`"
        }
        _ => generic::advice(topic),
    }
}

/// A command that shows what decides.
pub fn check(topic: Topic) -> Option<&'static str> {
    match topic {
        Topic::Service(Cause::Mta) => Some("grep -E '^(filter|table|listen)' /etc/smtpd.conf"),
        _ => generic::check(topic),
    }
}
