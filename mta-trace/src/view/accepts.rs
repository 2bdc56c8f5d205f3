//! When clients were accepted: reports have that as a date, views that show calls need the clock of the calls.
//!
//! In: records in their order. Out: the time of a client's accept, once. Invariant: bounded; of more clients than can be open at a time the earlier ones
//! are forgotten, all at once.

use crate::event::Record;
use mta_trace_common::syscalls::Call;
use std::collections::HashMap;

/// As many as the kernel side's table of sessions holds.
const CLIENTS: usize = 16_384;

/// Times of accepts, ns of the log's clock, by client.
#[derive(Debug, Default)]
pub struct Accepts(HashMap<String, u64>);

impl Accepts {
    /// Remembers an accept that began a session.
    pub fn record(&mut self, record: &Record) {
        let Record::Sys(sys) = record else { return };
        let is_accept = matches!(sys.call, Call::Accept | Call::Accept4) && sys.ret >= 0 && sys.matched != Some(false);
        let Some(peer) = sys.peer.as_ref().filter(|_| is_accept) else { return };
        if self.0.len() >= CLIENTS {
            self.0.clear();
        }
        self.0.insert(peer.to_string(), sys.t);
    }

    /// When this client was accepted, if that was seen; its port may be another session's next time.
    pub fn take(&mut self, client: &str) -> Option<u64> {
        self.0.remove(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Sys;

    fn accept(t: u64, peer: &str, matched: Option<bool>, ret: i64) -> Record {
        let Ok(peer) = peer.parse();
        Record::Sys(Box::new(Sys { t, peer: Some(peer), matched, ..Sys::bare(Call::Accept4, ret) }))
    }

    #[test]
    fn whoever_began_a_session_is_remembered_once() {
        let mut accepts = Accepts::default();
        accepts.record(&accept(5, "192.0.2.1:7", Some(true), 4));
        accepts.record(&accept(6, "192.0.2.2:7", Some(false), 4));
        accepts.record(&accept(7, "192.0.2.3:7", None, -11));
        assert_eq!([1, 2, 3].map(|n| accepts.take(&format!("192.0.2.{n}:7"))), [Some(5), None, None]);
        assert_eq!(accepts.take("192.0.2.1:7"), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut accepts = Accepts::default();
        (0..40_000).for_each(|n| accepts.record(&accept(n, &format!("192.0.2.1:{n}"), Some(true), 4)));
        assert!(accepts.0.len() <= CLIENTS && accepts.take("192.0.2.1:39999") == Some(39_999));
    }
}
