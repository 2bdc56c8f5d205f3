//! What is said about a session: updates while it runs, and its part of the report when it is over.

use super::{Context, Live};
use crate::report::{Session, SessionEnd, Tls};
use crate::session::{Named, Told, seconds};
use crate::update::{SessionId, Update};

impl Live {
    /// The session as it is reported.
    pub(in crate::analysis) fn conclude(mut self, context: &Context<'_>, updates: &mut Vec<Update>) -> Session {
        self.tell(context);
        self.is_identified = true;
        self.release(updates);
        self.dialogue.leave_out(true);
        let commands: Vec<_> = self.dialogue.commands().iter().map(|(index, command)| self.account(index, command, context)).collect();
        let complete = self.is_proven(context);
        let served = self.dialogue.commands().elapsed();
        let left_out = self.dialogue.commands().left_out(self.has_gap(context));
        let elapsed = self.last.since(&self.start).elapsed;
        let end = self.dialogue.end();
        let is_regular = !matches!(end, SessionEnd::Killed | SessionEnd::Detached);
        let tls = self.dialogue.tls().map(|mark| Tls { start_s: seconds(mark.since(&self.start).elapsed) });
        let target = context.header.map(|header| &header.target);
        Session {
            id: self.id.to_string(),
            mta: target.map_or_else(|| "unknown".to_owned(), |target| target.mta.clone()),
            mta_version: target.and_then(|target| target.mta_version.clone()),
            pid: self.pid,
            daemon_pid: self.daemon_pid,
            client: self.client,
            server: self.server,
            started: self.started,
            elapsed_s: seconds(elapsed),
            client_s: seconds(elapsed.saturating_sub(served)),
            complete: complete && is_regular,
            began: self.began,
            end,
            tls,
            queue_ids: self.dialogue.commands().queue_ids(),
            commands,
            left_out,
            findings: Vec::new(),
            between: self.dialogue.between().map(|named| named.wait.clone()).collect(),
            before_accept_s: self.before_accept_ns.map(|ns| seconds(ns.cast_signed())),
            inherited_by: self.inherited_by,
        }
    }

    /// Says which commands have begun and ended.
    pub(super) fn tell(&mut self, context: &Context<'_>) {
        for told in self.dialogue.take_told() {
            let update = match told {
                Told::Began(index) => self.command_began(index),
                Told::Delayed(index) => self.dialogue.delayed(index).map(|named| self.wait_ended(None, named)),
                Told::Waited(index, wait) => {
                    self.dialogue.commands().get(index).and_then(|command| command.waits.get(wait)).map(|named| self.wait_ended(Some(index), named))
                }
                Told::Ended(index) => self
                    .dialogue
                    .commands()
                    .get(index)
                    .map(|command| Update::CommandEnded { session: self.id.clone(), command: Box::new(self.account(index, command, context)) }),
            };
            self.held.extend(update);
        }
        self.dialogue.leave_out(false);
    }

    fn wait_ended(&self, command: Option<usize>, named: &Named) -> Update {
        Update::WaitEnded { session: self.id.clone(), command, wait: Box::new(named.wait.clone()) }
    }

    fn command_began(&self, index: usize) -> Option<Update> {
        let command = self.dialogue.commands().get(index)?;
        Some(Update::CommandBegan {
            session: self.id.clone(),
            index,
            verb: command.verb,
            line: command.line.clone(),
            start_s: seconds(command.from.since(&self.start).elapsed),
        })
    }

    pub(super) fn hold_began(&mut self, context: &Context<'_>) {
        let mta = context.header.map_or_else(
            || "unknown".to_owned(),
            |header| match &header.target.mta_version {
                Some(version) => format!("{} {version}", header.target.mta),
                None => header.target.mta.clone(),
            },
        );
        self.held.push(Update::SessionBegan {
            session: self.id.clone(),
            pid: self.pid,
            client: self.client.clone(),
            server: self.server.clone(),
            mta,
        });
    }

    /// Now it is known which process serves the session, and so its id.
    pub(super) fn identify(&mut self, pid: u32, updates: &mut Vec<Update>) {
        self.pid = pid;
        self.is_identified = true;
        self.id = format!("{pid}-{}", self.number).into();
        for update in &mut self.held {
            rename(update, &self.id, pid);
        }
        self.release(updates);
    }

    pub(super) fn release(&mut self, updates: &mut Vec<Update>) {
        if self.is_identified {
            updates.append(&mut self.held);
        }
    }
}

fn rename(update: &mut Update, id: &SessionId, serving: u32) {
    match update {
        Update::SessionBegan { session, pid, .. } => {
            session.clone_from(id);
            *pid = serving;
        }
        Update::CommandBegan { session, .. }
        | Update::WaitBegan { session, .. }
        | Update::WaitEnded { session, .. }
        | Update::CommandEnded { session, .. } => session.clone_from(id),
        Update::SessionEnded(session) => id.as_ref().clone_into(&mut session.id),
        Update::Unmatched { .. } => {}
    }
}

/// RFC 3339, in UTC.
pub(in crate::analysis) fn wall(t: u64, context: &Context<'_>) -> String {
    let wall_ns = match (context.clock, context.header) {
        (Some(clock), _) => i128::from(clock.wall_ns) + i128::from(t) - i128::from(clock.t),
        (None, Some(header)) => i128::from(header.boot_to_wall_ns) + i128::from(t),
        (None, None) => i128::from(t),
    };
    let wall = jiff::Timestamp::from_nanosecond(wall_ns).unwrap_or_default();
    wall.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}
