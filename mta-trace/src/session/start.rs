//! How a dialogue begins: with its accept, or in the middle.

use super::{Commands, Dialogue, Exchange, Mark, Pending, Phase, Told, handshake::Tail, spf::Identities};
use crate::proto::smtp::{Lines, Replies};
use crate::report::Verb;
use std::collections::VecDeque;

/// Where a dialogue begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At its accept.
    Accept,
    /// Before the trace, inside this command; none: between commands, or not known.
    Seeded(Option<Verb>),
}

impl Dialogue {
    /// A dialogue that begins at this mark.
    pub fn new(start: Start, mark: Mark) -> Self {
        let mut dialogue = Self {
            commands: Commands::default(),
            open: None,
            queue: VecDeque::new(),
            lines: Lines::default(),
            replies: Replies::default(),
            phase: Phase::Command,
            told: Vec::new(),
            between: Vec::new(),
            pending: Pending::default(),
            last_read: None,
            has_waited: false,
            idle_since: mark,
            chunk_left: None,
            flights: 0,
            has_spoken: false,
            hello: None,
            tail: Tail::Open,
            tls: None,
            is_tls_first: false,
            is_client_gone: false,
            identities: Identities::default(),
            end: None,
        };
        let verb = match start {
            Start::Accept => Some(Verb::Connect),
            Start::Seeded(verb) => {
                dialogue.phase = if verb == Some(Verb::Auth) { Phase::Auth } else { Phase::Unknown };
                // A title that says DATA stands there for as long as the message comes in.
                verb.map(|verb| if verb == Verb::Data { Verb::Body } else { verb })
            }
        };
        if let Some(verb) = verb {
            dialogue.commands.push(Exchange::new(verb, mark));
            dialogue.open = Some(0);
            dialogue.told.push(Told::Began(0));
        }
        dialogue
    }
}
