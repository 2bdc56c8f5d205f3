//! What is kept of a resolver on this machine that a session asks: its questions for the names that sessions have asked for, and the answers. A resolver
//! answers everybody, and what others ask it is neither ours to tell nor of use.
//!
//! In: records in their order. Out: whether one goes on into the log, the analysis and the view. Not here: whose the questions are (`analysis/chains`).

use crate::event::{Endpoint, Record, Sys};
use crate::proto::dns::{self, Question};
use std::collections::{HashMap, VecDeque};

/// What a process did before it was released stands behind that in the ring, no longer than this.
const BEHIND_NS: u64 = 2_000_000_000;
/// Names that are remembered: those of the last look-ups.
const MAX_NAMES: usize = 1024;

/// See above.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    /// Resolvers, and of those that are none any more until when what they did may still come.
    resolvers: HashMap<u32, Option<u64>>,
    names: VecDeque<String>,
}

impl Lookups {
    /// Whether a record goes on.
    pub fn keeps(&mut self, record: &Record) -> bool {
        match record {
            Record::Helper(helper) if helper.endpoint.as_ref().and_then(Endpoint::port) == Some(dns::PORT) => {
                self.resolvers.insert(helper.pid, None);
                true
            }
            Record::Release(release) => {
                self.resolvers.entry(release.pid).and_modify(|until| *until = Some(release.t.saturating_add(BEHIND_NS)));
                true
            }
            Record::SeedFd(seed) => !self.resolvers.contains_key(&seed.pid),
            Record::Block(block) => !self.is_resolver(block.pid, block.t),
            Record::Sys(sys) if self.is_resolver(sys.pid, sys.t) => self.is_about_a_known_name(sys),
            Record::Sys(sys) => {
                self.learn(sys);
                true
            }
            Record::Header(_)
            | Record::SeedProc(_)
            | Record::SeedFile(_)
            | Record::SeedSettings(_)
            | Record::Fork(_)
            | Record::Exec(_)
            | Record::Exit(_)
            | Record::Backlog(_)
            | Record::Daemon(_)
            | Record::Helper(_)
            | Record::Loss(_)
            | Record::Clock(_)
            | Record::Malformed(_)
            | Record::End(_) => true,
        }
    }

    fn is_resolver(&mut self, pid: u32, t: u64) -> bool {
        let until = self.resolvers.get(&pid).copied();
        let is_over = matches!(until, Some(Some(until)) if t >= until);
        if is_over {
            self.resolvers.remove(&pid);
        }
        until.is_some() && !is_over
    }

    fn learn(&mut self, sys: &Sys) {
        let Some(Question { qname, .. }) = crate::wait::is_send(sys.call).then(|| dns::question_of(sys)).flatten() else { return };
        if self.names.iter().any(|known| known.eq_ignore_ascii_case(&qname)) {
            return;
        }
        if self.names.len() >= MAX_NAMES {
            self.names.pop_front();
        }
        self.names.push_back(qname);
    }

    fn is_about_a_known_name(&self, sys: &Sys) -> bool {
        dns::question_of(sys).is_some_and(|question| self.names.iter().any(|name| dns::is_at_or_above(&question.qname, name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::tests::trace::{dns_query, helper};
    use crate::event::Release;

    const MAIL: u32 = 10;
    const RESOLVER: u32 = 20;

    #[test]
    fn of_a_resolver_only_what_sessions_asked_for_goes_on() {
        let mut lookups = Lookups::default();
        assert!(lookups.keeps(&dns_query(MAIL, 1, "127.0.0.1:53", "mx.Example.com")));
        assert!(lookups.keeps(&helper(RESOLVER, MAIL, "127.0.0.1:53")));
        assert!(lookups.keeps(&dns_query(RESOLVER, 2, "192.0.2.53:53", "mx.example.com")));
        // A resolver that asks as little as it can (RFC 9156) asks for what stands above the name first.
        assert!(lookups.keeps(&dns_query(RESOLVER, 3, "192.0.2.53:53", "example.com")));
        assert!(!lookups.keeps(&dns_query(RESOLVER, 4, "192.0.2.53:53", "other.example.com")));
        assert!(!lookups.keeps(&dns_query(RESOLVER, 5, "192.0.2.53:53", "x.mx.example.com")));
        // It is nobody's helper any more, but what it did as one may still come.
        assert!(lookups.keeps(&Record::Release(Release { t: 6, pid: RESOLVER })));
        assert!(!lookups.keeps(&dns_query(RESOLVER, 7, "192.0.2.53:53", "other.example.com")));
        assert!(lookups.keeps(&dns_query(RESOLVER, 6 + BEHIND_NS, "192.0.2.53:53", "other.example.com")));
    }
}
