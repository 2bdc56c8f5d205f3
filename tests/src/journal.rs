//! What really happened, with times: one list into which every neighbour and the client write.
//!
//! In come events as they happen, out go the list, a wait for an event that matches, and a JSON Lines file for people.
//! All times are `CLOCK_MONOTONIC` in nanoseconds, the clock that the tracer uses too. Not here: what was expected.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::scenario::DiskOperation;

/// The monotonic clock, in nanoseconds.
pub fn now_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}

/// Nanoseconds as seconds.
pub fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// One thing that happened.
#[expect(missing_docs, reason = "the fields are named after what they hold")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum What {
    /// A name server received a question.
    DnsQuery { server: String, id: u16, qname: String, qtype: String, is_tcp: bool, attempt: u32, action: String },
    /// A name server sent an answer.
    DnsReply { server: String, id: u16, qname: String, qtype: String, rcode: String, is_truncated: bool },
    /// The macros of a callback arrived, which are sent just before it.
    MilterMacros { stage: String, connection: u32 },
    /// A milter callback arrived; `stage` is named as libmilter names it.
    MilterCall { stage: String, connection: u32 },
    /// The milter answered it.
    MilterReply { stage: String, connection: u32, reply: String },
    /// saslauthd received a whole request; neither user nor password are kept.
    SaslRequest,
    /// saslauthd answered.
    SaslReply { reply: String },
    /// The ident server accepted a connection.
    IdentAccept,
    /// The ident server received the question.
    IdentQuery,
    /// The ident server answered.
    IdentReply,
    /// The lock on a map file was taken.
    Locked { file: String },
    /// The lock was released.
    Unlocked { file: String },
    /// The spool's disk was asked for something that takes long.
    DiskBegin { operation: DiskOperation, file: String },
    /// It has done it.
    DiskEnd { operation: DiskOperation, file: String },
    /// The local mailer has the message.
    MailerBegan,
    /// It may end.
    MailerMayEnd,
    /// The socket map was asked.
    MapQuery { request: String },
    /// It answered.
    MapReply,
    /// spamd accepted a connection.
    FilterAccept,
    /// It has read the message and answered.
    FilterReply,
    /// The policy service was asked.
    PolicyRequest,
    /// It answered.
    PolicyReply,
    /// One of the scenario's `late` was asked.
    LateRequest { service: String },
    /// It answered.
    LateReply { service: String },
    /// The sink (next hop) accepted a connection, or received a message.
    Sink { event: String },
    /// The client began to connect.
    ClientConnect,
    /// It is connected.
    ClientConnected { local: String },
    /// The client lets time pass in the middle of what it sends.
    ClientPause,
    /// It goes on.
    ClientGoesOn,
    /// The client sends the last (or only) bytes of one step.
    ClientSent { verb: String },
    /// The client has read a whole reply.
    ClientReply { verb: String, code: u16 },
    /// The client closed its side.
    ClientLeft,
    /// The daemon was stopped by the lab.
    Stopped,
    /// It may go on.
    Continued,
    /// The serving process was killed by the lab.
    Killed { pid: u32 },
}

/// One thing that happened, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// `CLOCK_MONOTONIC`.
    pub t_ns: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// The shared list.
#[derive(Debug, Clone, Default)]
pub struct Journal(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    events: Mutex<Vec<Event>>,
    changed: Condvar,
}

impl Journal {
    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.0.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that something happens now; gives the time back.
    pub fn note(&self, what: What) -> u64 {
        let t_ns = now_ns();
        self.note_at(t_ns, what);
        t_ns
    }

    /// Notes something that happened at a time taken before.
    pub fn note_at(&self, t_ns: u64, what: What) {
        self.lock().push(Event { t_ns, what });
        self.0.changed.notify_all();
    }

    /// Everything so far, in order of time.
    pub fn events(&self) -> Vec<Event> {
        let mut events = self.lock().clone();
        events.sort_by_key(|event| event.t_ns);
        events
    }

    /// Waits until an event noted since `from_ns` matches.
    pub fn wait_for(&self, from_ns: u64, limit: Duration, matches: impl Fn(&What) -> bool) -> Option<Event> {
        let end = Instant::now() + limit;
        let mut events = self.lock();
        loop {
            if let Some(event) = events.iter().find(|event| event.t_ns >= from_ns && matches(&event.what)) {
                return Some(event.clone());
            }
            let left = end.checked_duration_since(Instant::now())?;
            events = self.0.changed.wait_timeout(events, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Writes the list as JSON Lines.
    pub fn save(&self, path: &Path) -> Result<()> {
        let file = std::fs::File::create(path).with_context(|| format!("create {}", path.display()))?;
        let mut file = std::io::BufWriter::new(file);
        for event in self.events() {
            serde_json::to_writer(&mut file, &event)?;
            file.write_all(b"\n")?;
        }
        file.flush().with_context(|| format!("write {}", path.display()))
    }
}
