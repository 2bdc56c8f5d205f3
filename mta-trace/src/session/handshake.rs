//! Where a TLS handshake begins and ends, by who speaks in turn and how much: nothing of it is readable.
//!
//! In: sizes of the client's reads and of the server's writes. Out: the command `TLS`, and behind it `OPAQUE`. Not here: what was said.
//!
//! ```text
//! client hello > flight 1 > client's second flight > flight 2 (TLS 1.2, RFC 5246, 7.3; TLS 1.3 with its tickets, RFC 8446, 4.6.1)
//!                         > Finished               > nothing  (TLS 1.3 without tickets)
//! ```

use super::{Dialogue, Mark, Phase, Verb};

/// A `HelloRetryRequest` (RFC 8446, 4.1.4: 93 bytes, 99 with a `change_cipher_spec`) only makes the client begin again; no other first flight
/// is so short.
const RETRY_BYTES: u64 = 99;

/// The body of a record that holds a client's `Finished` alone (RFC 8446, 4.4.4): header 4, hash 32 or 48, type 1, tag 16.
const FINISHED: [u64; 2] = [53, 69];

/// What the client's second flight brought so far, of servers that read each record's header and body apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing, or what may stand before a `Finished`: a record's header (5), a `change_cipher_spec` (1).
    #[default]
    Open,
    /// A record of the size of a `Finished`.
    Finished(Mark),
    /// Something else: it is TLS 1.2, or the client has a certificate.
    Other,
}

impl Dialogue {
    /// The handshake begins here.
    pub(super) fn begin_handshake(&mut self, mark: Mark) {
        self.begin(Verb::Tls, mark);
        if let Some(tls) = self.open_mut() {
            tls.is_inferred = true;
        }
        (self.tls, self.hello) = (Some(mark), None);
        self.queue.clear();
        self.lines.clear();
        (self.phase, self.flights, self.has_spoken, self.tail) = (Phase::Tls, 0, false, Tail::Open);
    }

    /// Whether the client of a port where TLS comes first speaks before anything was said: that is no command.
    pub(super) fn is_client_hello(&self) -> bool {
        self.is_tls_first && self.tls.is_none() && self.is_before_greeting()
    }

    /// Whether a handshake has begun and the client's next message of it is to come, or the server's own is on the way.
    pub fn is_shaking_hands(&self) -> bool {
        // Behind a `Finished` that needs no answer, also one of TLS 1.2 with a session ticket (RFC 5077, 3.1), the server reads on without having written.
        let may_be_over = matches!(self.tail, Tail::Finished(_)) || self.flights == 1 && self.has_spoken && self.tail == Tail::Other;
        self.phase == Phase::Tls && self.hello.is_some() && !may_be_over
    }

    pub(super) fn read_handshake(&mut self, mark: Mark, n: u64) {
        match self.tail {
            // The server reads on without having written: it had nothing more to say.
            Tail::Finished(finished) if self.flights == 1 => {
                self.end_handshake(finished);
                return self.read_opaque(mark);
            }
            Tail::Open if self.flights == 1 => {
                self.tail = match n {
                    1 | 5 => Tail::Open,
                    _ if FINISHED.contains(&n) => Tail::Finished(mark),
                    _ => Tail::Other,
                };
            }
            Tail::Open | Tail::Finished(_) | Tail::Other => {}
        }
        self.has_spoken = true;
        self.hello = self.hello.or(Some(mark));
    }

    pub(super) fn wrote_handshake(&mut self, mark: Mark, n: u64) {
        if std::mem::take(&mut self.has_spoken) && (self.flights > 0 || n > RETRY_BYTES) {
            self.flights = self.flights.saturating_add(1);
        }
        if self.flights >= 2 {
            self.end_handshake(mark);
        }
    }

    /// Where TLS comes first the server still owes its greeting.
    fn end_handshake(&mut self, mark: Mark) {
        self.finish_open(mark);
        self.phase = Phase::Opaque;
        if self.is_tls_first {
            self.begin(Verb::Opaque, mark);
        }
    }
}
