//! `OpenSMTPD`: its processes, and what to look at: smtpd.conf(5), smtpd-filters(7).
//!
//! It resolves names by itself (libasr): measured with 6.8.0p2, `options timeout` and `attempts` of resolv.conf do not change its 5, 10, 20 and
//! 40 s. Not here: what is no different from other mail servers (`generic`).

use super::{Mta, Shape, Topic, generic};
use crate::report::Cause;

/// Its parent does nothing; one of its children serves all sessions and asks others by messages.
pub struct OpenSmtpd;

/// What its processes call themselves (smtpd.c, `proc_title`): `smtpd: lookup`.
const SERVICES: &[&str] = &["[priv]", "ca", "control", "crypto", "dispatcher", "klondike", "lookup", "pony express", "queue", "scheduler"];

impl Mta for OpenSmtpd {
    fn name(&self) -> &'static str {
        "opensmtpd"
    }

    fn programs(&self) -> &'static [&'static str] {
        &["smtpd", "opensmtpd"]
    }

    fn shape(&self) -> Shape {
        Shape::EventLoop { has_messages: true }
    }

    fn service_in(&self, title: &str) -> Option<&'static str> {
        let name = title.strip_prefix("smtpd: ")?;
        SERVICES.iter().copied().find(|service| *service == name)
    }

    fn advice(&self, topic: Topic) -> &'static str {
        match topic {
            Topic::Resolver => {
                "a name server that answers, first in /etc/resolv.conf: OpenSMTPD waits 5, 10, 20 and 40 s for one that does not, whatever `options` say"
            }
            Topic::Service(Cause::Mta) => {
                "`lookup` asks filters, tables and the passwd database, `queue` writes to the disk of /var/spool/smtpd: look at the `filter` and `table` \
                 lines of smtpd.conf, or run `smtpctl trace lookup` and `smtpctl trace filters`"
            }
            _ => generic::advice(topic),
        }
    }

    fn check(&self, topic: Topic) -> Option<&'static str> {
        match topic {
            Topic::Service(Cause::Mta) => Some("grep -E '^(filter|table|listen)' /etc/smtpd.conf"),
            _ => generic::check(topic),
        }
    }
}
