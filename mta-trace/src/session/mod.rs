//! SMTP sessions: which bytes on the client's socket are which command, from when to when.
//!
//! Reads and writes of the serving process in, with marks; commands that begin and end out. Waits are
//! handed in and stand in the command that is open. Not here: what the waits are (`wait/`, `cause/`).
//! Invariant: commands follow each other without overlap, whatever the bytes are.

mod batch;
mod commands;
mod exchange;
mod handshake;
mod mark;
mod reply;
mod spf;
mod start;
mod sums;

pub use batch::explains;
pub use commands::{Commands, MAX_COMMANDS};
pub use exchange::{Exchange, Named, Seen};
pub use mark::{Chain, Mark, Passed, seconds};
pub use start::Start;
pub use sums::add;

use crate::event::{Smtp, SmtpMode};
use crate::proto::smtp::{Line, Lines, Replies};
use crate::report::{SessionEnd, Verb, Wait};
use commands::Between;
use handshake::Tail;
use spf::Identities;
use std::collections::VecDeque;

/// What the bytes on the socket are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Command lines and replies.
    Command,
    /// A 334 was sent: the client's answer, then a reply.
    Auth,
    /// The message.
    Body,
    /// The handshake.
    Tls,
    /// Inside TLS.
    Opaque,
    /// The session had begun before the trace: lines are not readable, replies are.
    Unknown,
    /// QUIT or a 421 was answered, or the client has left.
    Closing,
}

/// A command began or ended; its index. Or a wait between commands is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Began.
    Began(usize),
    /// Ended: its account is final but for what a later loss or reply takes back.
    Ended(usize),
    /// A wait of the server's own between two commands has delayed the client; its index among these.
    Delayed(usize),
    /// A wait turned out to belong to a command; their indices.
    Waited(usize, usize),
}

/// What no command was open for.
#[derive(Clone, Debug, Default)]
struct Pending {
    waits: Vec<Named>,
    seen: Seen,
}

/// One SMTP dialogue.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, no states")]
#[derive(Clone, Debug)]
pub struct Dialogue {
    commands: Commands,
    /// Index of the command that has begun and not ended: always the last one.
    open: Option<usize>,
    /// Lines that have arrived behind it.
    queue: VecDeque<Line>,
    lines: Lines,
    replies: Replies,
    phase: Phase,
    told: Vec<Told>,
    /// What the server waited for by itself while no command was open and the client's next line had come.
    between: Vec<Between>,
    /// What was waited for and seen since the last command, while it is not known to what it belongs.
    pending: Pending,
    /// The last read in BODY: where the message ends if no final dot was seen.
    last_read: Option<Mark>,
    /// The server waited for the client since the last read.
    has_waited: bool,
    /// When the last thing happened between client and server.
    idle_since: Mark,
    /// Of a BDAT chunk still to come.
    chunk_left: Option<u64>,
    /// TLS: the server has written this many flights of its handshake; the client has spoken since.
    flights: u8,
    has_spoken: bool,
    /// When the client's first byte of the handshake was read.
    hello: Option<Mark>,
    tail: Tail,
    tls: Option<Mark>,
    /// The client speaks first, and TLS (RFC 8314, 3.3).
    is_tls_first: bool,
    is_client_gone: bool,
    end: Option<SessionEnd>,
    identities: Identities,
}

impl Dialogue {
    /// The commands so far.
    pub fn commands(&self) -> &Commands {
        &self.commands
    }

    /// What the server waited for by itself between commands, so that the client's next line had to wait.
    pub fn between(&self) -> impl Iterator<Item = &Named> {
        self.between.iter().map(|it| &it.named)
    }

    /// One of these.
    pub fn delayed(&self, index: usize) -> Option<&Named> {
        self.between.get(index).map(|it| &it.named)
    }

    /// Leaves out commands that cost least, where there are too many; all that was told must have been asked for. `is_last`: it is over.
    pub fn leave_out(&mut self, is_last: bool) {
        self.commands.leave_out(&mut self.between, is_last);
    }

    /// The command that has begun and not ended.
    pub fn open(&self) -> Option<usize> {
        self.open
    }

    /// The client of this port begins with its TLS hello.
    pub fn expect_tls(&mut self) {
        self.is_tls_first = true;
    }

    /// When STARTTLS was answered.
    pub fn tls(&self) -> Option<Mark> {
        self.tls
    }

    /// What has begun and ended since the last call.
    pub fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// How it ended, so far.
    pub fn end(&self) -> SessionEnd {
        self.end.unwrap_or(if self.is_client_gone { SessionEnd::ClientClosed } else { SessionEnd::ServerClosed })
    }

    /// Whether a call that waits on the client's descriptor waits for the client: it is not the server's turn.
    pub fn awaits_client(&self) -> bool {
        let Some(verb) = self.open_verb() else { return true };
        match verb {
            Verb::Body | Verb::Tls | Verb::Opaque | Verb::Disconnect => true,
            Verb::Auth => self.phase == Phase::Auth && !self.has_spoken,
            _ => self.phase == Phase::Unknown && self.last_read.is_none() && self.is_seeded_open(),
        }
    }

    /// Whether the greeting has not been written.
    pub fn is_before_greeting(&self) -> bool {
        self.open_verb() == Some(Verb::Connect)
    }

    /// Whether the client has said QUIT, and that is what the server is at.
    pub fn has_quit(&self) -> bool {
        self.open_verb() == Some(Verb::Quit)
    }

    /// Whether the command is about an address, and the message is still to come.
    pub fn is_about_address(&self) -> bool {
        matches!(self.open_verb(), Some(Verb::Mail | Verb::Rcpt | Verb::Vrfy))
    }

    /// Whether a message is complete and has no reply yet.
    pub fn is_at_end_of_message(&self) -> bool {
        self.open_verb() == Some(Verb::Eom)
    }

    /// The command is about a recipient.
    pub fn is_about_recipient(&self) -> bool {
        self.open_verb() == Some(Verb::Rcpt)
    }

    /// What a wait was for, as far as what the client has said tells.
    pub fn name(&self, wait: &mut Wait) {
        self.identities.name(wait);
    }

    /// A wait ended; true: it stands in the open command, false: it lies between commands.
    pub fn attach(&mut self, named: Named, is_client: bool) -> Option<usize> {
        if is_client && self.awaits_client() {
            self.has_waited = true;
            self.idle_since = named.to;
        }
        let Some(open) = self.open else {
            self.leave_between(named);
            return None;
        };
        let index = open + self.queue_position(&named);
        self.commands.get_mut(open)?.add(named);
        Some(index)
    }

    /// Something was seen in the open command.
    pub fn note(&mut self, note: impl FnOnce(&mut Seen)) {
        let index = self.open;
        let command = index.and_then(|index| self.commands.get_mut(index));
        note(command.map_or(&mut self.pending.seen, |command| &mut command.seen));
    }

    /// The server read `n` bytes of the client; `is_cut`: more than are in `data`.
    pub fn read(&mut self, mark: Mark, n: u64, smtp: Option<&Smtp>, data: &[u8], is_cut: bool) {
        let mode = smtp.map_or(SmtpMode::Unknown, |smtp| smtp.mode);
        self.delay();
        self.resume(mode, mark);
        self.has_waited = false;
        self.idle_since = mark;
        match self.phase {
            Phase::Command if self.is_client_hello() => {
                self.begin_handshake(mark);
                self.read_handshake(mark, n);
            }
            Phase::Command => self.read_lines(mark, smtp, data),
            Phase::Body => self.read_body(mark, n, smtp.is_some_and(|smtp| smtp.dot)),
            Phase::Auth => self.has_spoken = true,
            Phase::Tls => self.read_handshake(mark, n),
            Phase::Opaque | Phase::Unknown => self.read_opaque(mark),
            Phase::Closing => {}
        }
        if is_cut {
            // The end of the line is not seen, so its beginning must not stand before another one.
            self.lines.clear();
        }
        self.last_read = Some(mark);
    }

    /// The client's bytes were there before the server looked: what it waited for has delayed the client.
    fn delay(&mut self) {
        for named in std::mem::take(&mut self.pending).waits {
            self.told.push(Told::Delayed(self.between.len()));
            self.between.push(Between { after: self.commands.next(), named });
        }
    }

    /// The client has closed its side, or reset the connection.
    pub fn client_closed(&mut self, mark: Mark) {
        self.is_client_gone = true;
        self.idle_since = mark;
        match self.open_verb() {
            None => self.begin(Verb::Disconnect, mark),
            Some(Verb::Body | Verb::Tls) => self.break_off(mark),
            Some(Verb::Auth) if self.phase == Phase::Auth && !self.has_spoken => self.break_off(mark),
            // The reply of the command in work still comes: sendmail reads the end first.
            Some(_) => return,
        }
        self.phase = Phase::Closing;
    }

    /// The serving process has closed its last descriptor of the socket, or ended.
    pub fn closed(&mut self, mark: Mark) {
        if self.open.is_none() {
            // It closed on its own accord: inside TLS that is how the answer to QUIT looks.
            if self.phase == Phase::Opaque && !self.has_waited && !self.is_client_gone {
                self.end = Some(SessionEnd::Quit);
            }
            self.begin(Verb::Disconnect, self.idle_since);
        }
        self.finish_open(mark);
    }

    /// The serving process was killed.
    pub fn killed(&mut self, mark: Mark) {
        self.end = Some(SessionEnd::Killed);
        self.finish_open(mark);
    }

    /// The trace ended first.
    pub fn detached(&mut self, mark: Mark) {
        self.end = Some(SessionEnd::Detached);
        self.finish_open(mark);
    }

    fn open_verb(&self) -> Option<Verb> {
        self.commands.get(self.open?).map(|command| command.verb)
    }

    fn open_mut(&mut self) -> Option<&mut Exchange> {
        self.commands.get_mut(self.open?)
    }

    fn is_seeded_open(&self) -> bool {
        self.open == Some(0)
    }

    fn begin(&mut self, verb: Verb, mark: Mark) {
        let behind = self.end_open(mark);
        let index = self.commands.next();
        let mut command = Exchange::new(verb, mark);
        self.open = Some(index);
        self.told.push(Told::Began(index));
        // It may have begun some time ago, unseen: then what was waited for and seen since is its own.
        let Pending { waits, seen } = std::mem::take(&mut self.pending);
        command.seen = seen;
        command.waits = waits.into_iter().filter(|named| named.from.t >= mark.t).collect();
        self.told.extend((0..command.waits.len()).map(|wait| Told::Waited(index, wait)));
        // These were told as the earlier command's.
        command.waits.extend(behind);
        self.commands.push(command);
    }

    fn finish_open(&mut self, mark: Mark) {
        for named in self.end_open(mark) {
            self.leave_between(named);
        }
    }

    /// Ends the open command. Where it turns out that it had ended before (its reply was not seen), what was waited for since is not its own.
    fn end_open(&mut self, mark: Mark) -> Vec<Named> {
        let Some(index) = self.open.take() else { return Vec::new() };
        self.told.push(Told::Ended(index));
        let Some(command) = self.commands.get_mut(index) else { return Vec::new() };
        let end = mark.max(command.from);
        command.end(end);
        command.waits.extract_if(.., |named| named.to.t > end.t && named.from.t >= end.t).collect()
    }

    /// A wait while no command is open: whoever ends that time has it (report-schema, `wait`), and who that is tells the next read.
    fn leave_between(&mut self, named: Named) {
        if named.is_of_client() {
            self.pending = Pending::default();
        } else {
            self.pending.waits.push(named);
        }
    }

    fn break_off(&mut self, mark: Mark) {
        self.finish_open(mark);
        self.begin(Verb::Disconnect, mark);
    }

    fn begin_line(&mut self, line: Line, mark: Mark) {
        let Line { verb, text, bytes, behind } = line;
        let chunk = text.as_deref().filter(|_| verb == Verb::Bdat).and_then(chunk_size);
        self.begin(verb, mark);
        self.identities.see(verb, text.as_deref());
        // Told with its line: views print it.
        if let Some(command) = self.open_mut() {
            command.line_bytes = (verb == Verb::Invalid).then_some(bytes);
            command.line = text;
        }
        if verb == Verb::Bdat {
            self.begin_chunk(mark, chunk.unwrap_or(0), behind);
        }
    }

    /// A chunk (RFC 3030): its line is one command, its bytes are BODY, what the server does with them EOM.
    fn begin_chunk(&mut self, mark: Mark, size: u64, behind: u64) {
        self.begin(Verb::Body, mark);
        self.phase = Phase::Body;
        self.chunk_left = Some(size);
        self.read_chunk(mark, behind);
    }

    fn read_chunk(&mut self, mark: Mark, n: u64) {
        let left = self.chunk_left.unwrap_or(0).saturating_sub(n);
        self.chunk_left = Some(left);
        if left == 0 {
            self.begin(Verb::Eom, mark);
            self.chunk_left = None;
            self.phase = Phase::Command;
        }
    }

    fn read_lines(&mut self, mark: Mark, smtp: Option<&Smtp>, data: &[u8]) {
        if data.is_empty() && !smtp.is_some_and(|smtp| smtp.mode == SmtpMode::Command) {
            self.lines.clear();
            return self.read_opaque(mark);
        }
        let carry = smtp.and_then(|smtp| smtp.carry.as_ref()).map_or(&[][..], |carry| carry);
        for line in self.lines.push(carry, data) {
            if self.open.is_none() {
                self.begin_line(line, mark);
            } else if self.queue.len() < MAX_QUEUE {
                self.queue.push_back(line);
            }
        }
    }

    fn read_body(&mut self, mark: Mark, n: u64, is_dot: bool) {
        if self.chunk_left.is_some() {
            self.read_chunk(mark, n);
        } else if is_dot {
            self.begin(Verb::Eom, mark);
            self.phase = Phase::Command;
        }
    }

    /// A request that cannot be read may come in several reads: it is complete with the last one.
    fn read_opaque(&mut self, mark: Mark) {
        match self.open_mut() {
            None => self.begin(Verb::Opaque, mark),
            Some(command) if command.verb == Verb::Opaque && command.waits.iter().all(Named::is_of_client) => {
                command.from = mark;
                command.waits.clear();
            }
            Some(_) => {}
        }
    }

    /// Takes what the kernel side knows better: where a write was lost, its reply changed the mode unseen.
    fn resume(&mut self, mode: SmtpMode, mark: Mark) {
        match (mode, self.phase) {
            (SmtpMode::Opaque, Phase::Command | Phase::Auth | Phase::Body | Phase::Unknown) => self.phase = Phase::Opaque,
            (SmtpMode::Data, Phase::Command | Phase::Auth | Phase::Unknown) => {
                self.begin(Verb::Body, self.idle_since);
                self.phase = Phase::Body;
            }
            (SmtpMode::Command, Phase::Body | Phase::Auth | Phase::Unknown) => {
                self.finish_open(self.idle_since.min(mark));
                self.chunk_left = None;
                self.phase = Phase::Command;
            }
            (SmtpMode::Auth, Phase::Command) if self.open_verb() == Some(Verb::Auth) => self.phase = Phase::Auth,
            _ => {}
        }
    }

    /// How far behind the open command the one stands whose text explains the wait.
    fn queue_position(&self, named: &Named) -> usize {
        let is_open =
            self.open.and_then(|open| self.commands.get(open)).is_some_and(|command| explains(command.verb, command.line.as_deref(), &named.wait));
        if is_open {
            return 0;
        }
        self.queue.iter().position(|line| explains(line.verb, line.text.as_deref(), &named.wait)).map_or(0, |at| at + 1)
    }
}

/// Longest pipelined batch of which the lines are kept.
const MAX_QUEUE: usize = 10_000;

/// The size in `BDAT 1000 LAST`.
fn chunk_size(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().nth(1)?.parse().ok()
}
