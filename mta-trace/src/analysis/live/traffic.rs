//! Brings what the serving thread does to the dialogue and to the names of waits.

use super::{Context, Live};
use crate::cause::is_query;
use crate::event::{Proto, Sys};
use crate::session::Mark;
use crate::wait::Step;
use mta_trace_common::syscalls::Call;

/// Whether the bytes stay where they are (recv(2)).
fn is_peek(sys: &Sys) -> bool {
    sys.args.flags.iter().any(|flag| flag == "MSG_PEEK")
}

impl Live {
    /// Brings a step to the dialogue, if it is one of the client's socket, and to the names.
    pub(super) fn take(&mut self, step: Step, sys: &Sys, context: &Context<'_>) {
        self.note(&step);
        let is_client = step.socket().is_some_and(|socket| socket.inode == self.inode);
        if is_client && step.is_send() {
            self.write(step, sys, context);
        } else if is_client && step.is_receive() {
            self.read(step, sys, context);
        } else {
            self.name(step, context);
        }
        self.tell(context);
    }

    fn read(&mut self, step: Step, sys: &Sys, context: &Context<'_>) {
        let mark = step.to;
        self.name(step, context);
        match sys.ret {
            // It will be read once more.
            1.. if is_peek(sys) => {}
            1.. => {
                self.flush(context);
                let data = sys.data.as_ref().map_or(&[][..], |data| data);
                self.dialogue.read(mark, sys.ret.unsigned_abs(), sys.smtp.as_ref(), data, sys.cut);
            }
            // ECONNRESET, ETIMEDOUT, EPIPE: the client is gone too.
            0 if sys.args.len != Some(0) => self.client_closed(mark, context),
            -104 | -110 | -32 => self.client_closed(mark, context),
            _ => {}
        }
    }

    fn client_closed(&mut self, mark: Mark, context: &Context<'_>) {
        // A wait of the server's own is not over because the client leaves.
        if self.dialogue.awaits_client() {
            self.flush(context);
        }
        self.dialogue.client_closed(mark);
    }

    fn write(&mut self, step: Step, sys: &Sys, context: &Context<'_>) {
        self.flush(context);
        // Where the client does not read, that is its time: the reply was ready when the write began to block.
        let mark = step.from;
        match sys.ret {
            n @ 1.. => {
                let data = sys.data.as_ref().map_or(&[][..], |data| data);
                self.dialogue.wrote(mark, n.cast_unsigned(), data, sys.cut);
            }
            // EAGAIN and interruptions: it will be tried again.
            0 | -4 | -11 | -516..=-512 => {}
            _ => self.dialogue.write_failed(mark),
        }
        self.name(step, context);
    }

    /// What is not absent any more.
    pub(super) fn note(&mut self, step: &Step) {
        // A send whose end was not told may have been anything on an unknown descriptor, and to anybody on a socket without a known peer.
        let is_untold_send = step.ret.is_none() && step.is_send();
        let is_on_anything = is_untold_send && step.object.is_none();
        let is_to_anybody = is_untold_send && step.socket().is_some_and(|socket| socket.proto != Proto::Unix && socket.peer.is_none());
        let is_query = is_query(step) || is_on_anything || is_to_anybody;
        let is_datagram = step.socket().is_some_and(|socket| socket.proto == Proto::Udp);
        let is_connect = step.is_connect() && !is_datagram || is_on_anything;
        let is_sync = matches!(step.call, Some(Call::Fsync | Call::Fdatasync | Call::Sync));
        self.dialogue.note(|seen| {
            seen.dns |= is_query;
            seen.connect |= is_connect;
            seen.sync |= is_sync;
        });
    }
}
