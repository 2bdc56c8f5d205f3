//! What the analysis says while it runs, for the live views; at the end stands the [`crate::report::Report`].
//!
//! A command or wait is told when it begins and when it ends, as it is known then. What comes later may still change it
//! in the report: a 535 makes the last `sasl` wait `denied`, a batch that one write answers is shared out over its
//! commands, a loss takes `absent` and the short waits back. Only `SessionEnded` is final. Not here: how it is shown.

use crate::report::{Command, Session, Verb, Wait};

/// Identifies a session in updates: its id in the report (`PID-N`).
pub type SessionId = std::sync::Arc<str>;

/// One step of a session.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// A session was accepted (or found running).
    SessionBegan {
        /// Which.
        session: SessionId,
        /// Serving process, as far as it is known yet (the accepting one before the fork).
        pid: u32,
        /// `ADDR:PORT`.
        client: String,
        /// `ADDR:PORT`.
        server: String,
        /// Name and version of the program.
        mta: String,
    },
    /// A command began; for what the client sent, `line` is the line without its end.
    CommandBegan {
        /// Which session.
        session: SessionId,
        /// Index of the command.
        index: usize,
        /// Its verb.
        verb: Verb,
        /// Its line.
        line: Option<String>,
        /// s since accept.
        start_s: f64,
    },
    /// A wait lasts for a while already and is not over; may come again with a better name.
    WaitBegan {
        /// Which session.
        session: SessionId,
        /// Index of the command; none: the client is thinking.
        command: Option<usize>,
        /// What is known so far; `elapsed_s` up to now, outcome `unfinished`.
        wait: Box<Wait>,
    },
    /// A wait of at least the threshold ended.
    WaitEnded {
        /// Which session.
        session: SessionId,
        /// Index of the command, in a batch the one whose text explains it; none: between commands.
        command: Option<usize>,
        /// As it is known now.
        wait: Box<Wait>,
    },
    /// A command ended.
    CommandEnded {
        /// Which session.
        session: SessionId,
        /// As it is known now.
        command: Box<Command>,
    },
    /// A session ended, with its findings.
    SessionEnded(Box<Session>),
    /// A connection was accepted whose peer does not match the filter.
    Unmatched {
        /// `ADDR:PORT`.
        client: String,
    },
}
