//! What the server's replies mean for the dialogue.

use super::{Dialogue, Exchange, Mark, Phase, Told, batch};
use crate::mta;
use crate::proto::smtp::Reply;
use crate::report::{SessionEnd, Verb};

impl Dialogue {
    /// The server wrote to the client.
    /// `n` bytes, of which `data` are known.
    pub fn wrote(&mut self, mark: Mark, n: u64, data: &[u8], cut: bool) {
        match self.phase {
            Phase::Tls => self.wrote_handshake(mark, n),
            Phase::Opaque => self.wrote_opaque(mark),
            Phase::Closing => {}
            Phase::Command | Phase::Auth | Phase::Body | Phase::Unknown => self.wrote_replies(mark, data, cut),
        }
        self.has_waited = false;
        self.idle_since = mark;
    }

    /// The server could not write: the client is gone.
    pub fn write_failed(&mut self, mark: Mark) {
        self.is_client_gone = true;
        self.idle_since = mark;
        if self.phase != Phase::Closing {
            self.break_off(mark);
            self.phase = Phase::Closing;
        }
    }

    fn wrote_opaque(&mut self, mark: Mark) {
        self.finish_open(mark);
        if self.is_client_gone {
            self.begin(Verb::Disconnect, mark);
            self.phase = Phase::Closing;
        }
    }

    fn wrote_replies(&mut self, mark: Mark, data: &[u8], cut: bool) {
        let told_before = self.told.len();
        let first = self.open.unwrap_or(self.commands.next());
        let replies = if self.is_in_auth() { self.replies.push_code_only(data).into_iter().collect() } else { self.replies.push(data, cut) };
        for reply in replies {
            self.reply(&reply, mark);
        }
        if cut {
            self.answer_uncopied(mark);
        }
        self.settle_batch(first, told_before, mark);
    }

    fn is_in_auth(&self) -> bool {
        self.phase == Phase::Auth || self.open_verb() == Some(Verb::Auth)
    }

    fn reply(&mut self, reply: &Reply, mark: Mark) {
        match self.open_verb() {
            None => self.unasked(reply, mark),
            Some(Verb::Body) => self.reply_in_body(reply, mark),
            Some(Verb::Disconnect) => {}
            Some(Verb::Auth | Verb::Opaque) if reply.code == 334 => self.challenge(),
            Some(_) => self.answer(reply, mark),
        }
    }

    /// A 334: the exchange goes on (RFC 4954, 4), now it is the client's turn.
    fn challenge(&mut self) {
        self.phase = Phase::Auth;
        self.has_spoken = false;
        if let Some(command) = self.open_mut() {
            command.verb = Verb::Auth;
        }
    }

    /// A reply to a command that was not seen: it came behind the final dot in the same read, or the server
    /// speaks of its own accord.
    fn unasked(&mut self, reply: &Reply, mark: Mark) {
        let verb = match reply.code {
            421 => Verb::Disconnect,
            221 => Verb::Quit,
            _ => Verb::Opaque,
        };
        let from = if verb == Verb::Disconnect || self.has_waited { mark } else { self.idle_since };
        self.begin(verb, from);
        if verb == Verb::Disconnect {
            self.fill_reply(reply);
            self.phase = Phase::Closing;
            return;
        }
        if let Some(command) = self.open_mut() {
            command.is_inferred = true;
        }
        if verb == Verb::Opaque && reply.code == 334 {
            return self.challenge();
        }
        self.answer(reply, mark);
    }

    /// A reply while the message comes in: the final dot was in the last read, with more bytes behind it; or
    /// the server has lost patience.
    fn reply_in_body(&mut self, reply: &Reply, mark: Mark) {
        if reply.code == 421 || self.has_waited {
            return self.answer(reply, mark);
        }
        let Some(body) = self.open_mut() else { return };
        if body.verb == Verb::Body && reply.code == 354 {
            // Seeded inside DATA: only now the message begins.
            body.verb = Verb::Data;
            return self.answer(reply, mark);
        }
        let begin = body.from;
        body.is_inferred = true;
        let end = self.last_read.map_or(begin, |read| read.max(begin));
        let later = self.open_mut().map(|body| take_later(body, &end));
        self.begin(Verb::Eom, end);
        if let (Some(eom), Some(later)) = (self.open_mut(), later) {
            *eom = later;
        }
        self.answer(reply, mark);
    }

    fn fill_reply(&mut self, reply: &Reply) {
        let Some(command) = self.open_mut() else { return };
        command.reply_code = Some(reply.code);
        let is_secret = command.verb == Verb::Auth || reply.code == 334;
        command.reply = Some(if is_secret { reply.code.to_string() } else { reply.first_line.clone() });
        if command.verb == Verb::Eom || command.verb == Verb::Body {
            command.queue_id = mta::queue_id(&reply.first_line);
        }
    }

    /// The final reply of the open command.
    fn answer(&mut self, reply: &Reply, mark: Mark) {
        self.fill_reply(reply);
        let verb = self.open_verb().unwrap_or(Verb::Opaque);
        self.finish_open(mark);
        (self.idle_since, self.has_waited) = (mark, false);
        match (verb, reply.code) {
            (Verb::Quit, _) => {
                self.end = Some(SessionEnd::Quit);
                self.begin(Verb::Disconnect, mark);
                self.phase = Phase::Closing;
            }
            (_, 421) => {
                self.begin(Verb::Disconnect, mark);
                self.phase = Phase::Closing;
            }
            (Verb::Starttls, 220) => {
                self.begin_handshake(mark);
            }
            (_, 354) => {
                self.begin(Verb::Body, mark);
                self.phase = Phase::Body;
                self.last_read = None;
                self.chunk_left = None;
            }
            _ => self.next_line(mark),
        }
    }

    /// Goes on with what has already arrived.
    fn next_line(&mut self, mark: Mark) {
        self.phase = Phase::Command;
        if let Some(line) = self.queue.pop_front() {
            self.begin_line(line, mark);
        } else if self.is_client_gone {
            self.begin(Verb::Disconnect, mark);
            self.phase = Phase::Closing;
        }
    }

    /// The write was longer than its copy: a server that holds replies back answers everything that had arrived.
    fn answer_uncopied(&mut self, mark: Mark) {
        while !self.queue.is_empty() && self.phase == Phase::Command {
            self.finish_open(mark);
            self.next_line(mark);
        }
        if self.phase == Phase::Command && !matches!(self.open_verb(), None | Some(Verb::Disconnect)) {
            self.finish_open(mark);
            self.next_line(mark);
        }
    }

    /// Several commands that one write has answered share the time since the first of them.
    fn settle_batch(&mut self, first: usize, told_before: usize, mark: Mark) {
        let ended = self.told.iter().skip(told_before).filter(|told| matches!(told, Told::Ended(_))).count();
        self.commands.change(first..first.saturating_add(ended), |batch| {
            // An inferred end of the message is a boundary of its own: BODY and EOM are no batch.
            let is_body_first = batch.first().is_some_and(|command| command.verb == Verb::Body);
            let (_, batch) = batch.split_at_mut(usize::from(is_body_first));
            if batch.len() > 1 {
                batch::distribute(batch, mark);
            }
        });
    }
}

/// The part of a command behind `end`, cut off from it.
fn take_later(command: &mut Exchange, end: &Mark) -> Exchange {
    let mut later = Exchange::new(Verb::Eom, *end);
    later.is_inferred = true;
    later.seen = command.seen;
    let (kept, moved) = std::mem::take(&mut command.waits).into_iter().partition(|named| named.from.t < end.t);
    command.waits = kept;
    later.waits = moved;
    later
}
