//! A session of an event loop, which serves others in the same process: nothing that its thread does is the session's unless that is proven.
//!
//! In: calls on the client's socket, and what `flow` has found to be done for this session. These are held until the session's next event: only then it
//! is certain whose messages bear which id. The thread's counters are not the session's, so its time on a processor is a part of `unexplained_s`.

use super::{Context, Live};
use crate::cause::is_query;
use crate::event::{Counters, Exit, Sys};
use crate::mta::Service;
use crate::report::{Began, Cause};
use crate::session::{Chain, Mark};
use crate::state::Object;
use crate::update::Update;
use crate::wait::{Step, Touch, is_poll_of_all};
use std::borrow::Cow;

/// How many steps are held between two events of a session.
const MAX_HELD: usize = 1024;
/// So soon after a poll is read what has ended it.
const AT_ONCE_NS: u64 = 2_000_000;
/// A loop that comes back to its poll so soon has had next to nothing to do.
const NEAR_NS: u64 = 10_000_000;

/// What only a session of an event loop has.
#[derive(Debug, Default)]
pub(super) struct Looped {
    held: Vec<(Step, Option<u64>)>,
    /// What its messages bear, once that is certain.
    pub id: Option<u64>,
    /// The name of the call in which the loop waits.
    poll: Option<Cow<'static, str>>,
    /// The process passes on to others who is to be served: before the greeting it waits for nothing but its own timer.
    is_screener: bool,
    /// The client was passed on by this call, and has not come there yet.
    leaving: Option<Step>,
}

impl Live {
    /// The process that has accepted it serves others too.
    pub fn make_looped(&mut self, is_screener: bool, updates: &mut Vec<Update>) {
        self.looped = Some(Looped { is_screener, ..Looped::default() });
        self.start.at = Counters::default();
        self.last = self.start;
        let pid = self.pid;
        self.identify(pid, updates);
    }

    /// Whether it is one of an event loop.
    pub fn is_looped(&self) -> bool {
        self.looped.is_some()
    }

    /// Its client is on the way to another process: what this one closes is not the last descriptor.
    pub fn leaves(&mut self, sys: &Sys, id: Option<u64>, context: &Context<'_>, updates: &mut Vec<Update>) {
        self.settle_held(id, context);
        self.flush(context);
        // Over which socket is told by the sender's descriptor; the one in the record is the client's.
        let over = Sys { socket: None, peer: None, ..sys.clone() };
        let mut step = self.looped_step(&over, context);
        step.from = self.last.max(step.to);
        self.last = step.from;
        self.looped.iter_mut().for_each(|looped| looped.leaving = Some(step.clone()));
        self.release(updates);
    }

    /// Its process has ended, and left it to this one.
    pub fn goes_on_in(&mut self, pid: u32) {
        (self.pid, self.tid) = (pid, pid);
    }

    /// When it was passed on, if nobody has taken it yet.
    pub fn left_at(&self) -> Option<u64> {
        self.looped.as_ref()?.leaving.as_ref().map(|step| step.from.t)
    }

    /// Whether it is on that way.
    pub fn is_leaving(&self) -> bool {
        self.looped.as_ref().is_some_and(|looped| looped.leaving.is_some())
    }

    /// A process that serves one session after another has got the client: from now on what its thread does is the session's.
    pub fn taken_over(&mut self, sys: &Sys, id: Option<u64>, context: &Context<'_>, updates: &mut Vec<Update>) {
        self.settle_held(id, context);
        if let Some(mut step) = self.looped.take().and_then(|looped| looped.leaving) {
            // Until it is there, the session waits for a process to take it: the service to whose socket it was sent.
            step.to = self.last.max(Mark { t: sys.t, at: self.last.at });
            step.is_blocked = true;
            self.last = step.to;
            self.name(step, context);
        }
        self.flush(context);
        self.first_whole = 1;
        (self.pid, self.tid) = (sys.pid, sys.tid);
        self.chain = Chain::going_on(self.last.at, sys.at());
        self.advance(sys.t, sys.at());
        self.release(updates);
    }

    /// Its client has come from a process that is not traced, or was accepted before that was.
    pub fn was_accepted_elsewhere(&mut self, updates: &mut Vec<Update>) {
        self.began = Began::Seeded;
        let pid = self.pid;
        self.identify(pid, updates);
    }

    /// Whether it is the server's turn.
    pub fn is_in_command(&self) -> bool {
        !self.dialogue.awaits_client()
    }

    /// Whether it has not been greeted.
    pub fn is_before_greeting(&self) -> bool {
        self.dialogue.is_before_greeting()
    }

    /// Something was done for it. `service`: who was asked, or has answered; `guess`: the id by which it would be known.
    pub fn hold(&mut self, sys: &Sys, service: Option<String>, guess: Option<u64>, context: &Context<'_>) {
        let mut step = self.looped_step(sys, context);
        step.is_shared_poll = is_poll_of_all(sys.call);
        step.service = service.map(|name| Service { cause: Cause::Mta, name }).or(step.service);
        let (is_query, is_connect) = (is_query(&step), step.is_connect());
        self.dialogue.note(|seen| {
            seen.dns |= is_query;
            seen.connect |= is_connect;
        });
        let Some(looped) = self.looped.as_mut().filter(|looped| looped.leaving.is_none()) else { return };
        if step.is_shared_poll {
            looped.poll = Some(step.name.clone());
        } else if !sys.messages.is_empty() && step.is_receive() {
            looped.answers(&mut step);
        }
        looped.push(step, guess);
    }

    /// A call on the client's socket returned; `id`: what has turned out to be the session's.
    pub fn looped_sys(&mut self, sys: &Sys, id: Option<u64>, context: &Context<'_>, updates: &mut Vec<Update>) {
        self.settle_held(id, context);
        let mut step = self.looped_step(sys, context);
        let gap = step.to.t.saturating_sub(self.last.t);
        // It was the client's turn, and the loop waits for everybody at once.
        if step.client == Some(Touch::Reads) && step.awaits_client && sys.ret >= 0 && gap >= self.min_wait_ns {
            step.from = self.last;
            step.is_blocked = true;
            step.name = self.looped.as_ref().and_then(|looped| looped.poll.clone()).unwrap_or(step.name);
        }
        self.last = self.last.max(step.to);
        self.take(step, sys, context);
        self.release(updates);
    }

    /// Its process has a descriptor less; ends the session if that was the client's last one.
    pub fn looped_close(&mut self, sys: &Sys, id: Option<u64>, context: &Context<'_>, updates: &mut Vec<Update>) {
        if !context.state.holds(self.pid, self.inode) {
            self.settle_held(id, context);
            self.flush(context);
            self.last = self.last.max(Mark { t: sys.t, at: Counters::default() });
            let mark = self.last;
            self.dialogue.closed(mark);
            self.tell(context);
            self.has_ended = true;
            self.release(updates);
        }
    }

    /// Its process ended.
    pub fn looped_exit(&mut self, exit: &Exit, id: Option<u64>, context: &Context<'_>) {
        self.settle_held(id, context);
        self.flush(context);
        self.last = self.last.max(Mark { t: exit.t, at: Counters::default() });
        let mark = self.last;
        if exit.signal.is_some() {
            self.dialogue.killed(mark);
        } else {
            self.dialogue.closed(mark);
        }
        self.tell(context);
    }

    /// Names what was held and is the session's.
    pub(super) fn settle_held(&mut self, id: Option<u64>, context: &Context<'_>) {
        let Some(looped) = &mut self.looped else { return };
        looped.id = id.or(looped.id);
        let held = std::mem::take(&mut looped.held);
        let mut asked: Option<Step> = None;
        let mut held = held.into_iter().filter(|(_, guess)| guess.is_none() || *guess == id).map(|(step, _)| step).peekable();
        while let Some(mut step) = held.next() {
            if step.is_shared_poll
                && self.is_screened()
                && let Some(next) = held.peek().filter(|next| is_answer(&step, next))
            {
                // It was not the time that has ended it: who was asked about the client has answered.
                step.service.clone_from(&next.service);
                step.object.clone_from(&next.object);
            } else if step.is_shared_poll && self.is_screened() {
                // The client's descriptor is among those that it polls, and the client is not asked to speak.
                step.client = Some(Touch::Reads);
            } else if step.is_shared_poll
                && !self.namer.is_outstanding()
                && let Some(asked) = &asked
            {
                // What was asked has done one thing, and has not answered yet.
                step.service.clone_from(&asked.service);
                step.object.clone_from(&asked.object);
            } else if step.is_shared_poll
                && !self.namer.is_outstanding()
                && let Some(next) = held.peek().filter(|next| ends(&step, next))
            {
                step.object.clone_from(&next.object);
            } else if step.is_send() && step.service.is_some() {
                asked = Some(step.clone());
            } else if step.is_receive() && step.service.is_some() {
                asked = None;
            }
            self.last = self.last.max(step.to);
            self.name(step, context);
        }
    }

    fn is_screened(&self) -> bool {
        self.is_before_greeting() && self.looped.as_ref().is_some_and(|looped| looped.is_screener)
    }

    fn looped_step(&self, sys: &Sys, context: &Context<'_>) -> Step {
        let mark = |t| Mark { t, at: Counters::default() };
        let from = sys.start.unwrap_or(sys.t).max(self.last.t).min(sys.t);
        Step::of_call(sys, mark(from), mark(sys.t.max(self.last.t)), self.place(context))
    }
}

/// Whether a poll is followed at once by a receive from a peer of the session's: that has ended it. What was sent there is not told.
fn ends(poll: &Step, next: &Step) -> bool {
    let is_peer = next.client.is_none() && next.service.is_none() && next.any_socket().is_some_and(|socket| socket.peer.is_some());
    is_peer && next.is_receive() && !next.is_blocked && next.to.t.saturating_sub(poll.to.t) < AT_ONCE_NS
}

/// Whether a poll is followed at once by the answer of another process of the server (postscreen's dnsblog).
fn is_answer(poll: &Step, next: &Step) -> bool {
    next.is_receive() && next.service.is_some() && !next.is_blocked && next.to.t.saturating_sub(poll.to.t) < AT_ONCE_NS
}

impl Looped {
    /// Polls of a loop that has hardly anything else to do are one.
    fn push(&mut self, step: Step, guess: Option<u64>) {
        let is_full = self.held.len() >= MAX_HELD;
        if let Some((last, _)) = self.held.last_mut()
            && last.is_shared_poll
            && step.is_shared_poll
            && (is_full || step.from.t.saturating_sub(last.to.t) < NEAR_NS)
        {
            last.to = last.to.max(step.to);
            return;
        }
        if !is_full {
            self.held.push((step, guess));
        }
    }

    /// The answer may come from another process than the one that was asked (OpenSMTPD's `queue`, for `lookup`): the wait is one for that one.
    fn answers(&self, step: &mut Step) {
        let is_question = |asked: &&Step| asked.is_send() && asked.service.is_some() && asked.object.as_ref().and_then(Object::socket).is_some();
        let asked = self.held.iter().rev().map(|(step, _)| step).find(is_question);
        if let Some(asked) = asked {
            step.object.clone_from(&asked.object);
            step.service.clone_from(&asked.service);
        }
    }
}
