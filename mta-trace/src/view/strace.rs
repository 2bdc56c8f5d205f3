//! The strace view: the decoded calls in strace's own form (`-f -ttt -T -yy`), SMTP's boundaries as marked lines.
//!
//! In: records and updates in their order. Out: `PID TIME call(args) = ret <duration>`; the time is when the call
//! blocked, or else when it returned, and the duration stands only where it blocked: nothing else is known of it.
//! Invariant: descriptors are named as far as records told them. Not here: how calls are decoded.

use super::{
    escape::escape,
    strace_args::{Descriptors, Style, Told, arguments, result, string},
    words::{LINE, answered, breakdown, said},
};
use crate::event::{Block, Daemon, Exit, Proto, Record, SocketId, Sys};
use crate::state::{closed_range, is_duplicate, pipe};
use crate::update::Update;
use mta_trace_common::syscalls::Call;
use std::{
    collections::HashMap,
    io::{self, Write},
};

/// A string is longer than strace's own 32 bytes, so that it holds a line of SMTP.
const STRING: usize = 80;

/// The view.
pub struct Strace<W> {
    out: W,
    boot_to_wall_ns: i64,
    descriptors: Descriptors,
}

impl<W: Write> Strace<W> {
    /// Nothing shown yet.
    pub fn new(out: W) -> Self {
        Self { out, boot_to_wall_ns: 0, descriptors: HashMap::new() }
    }

    /// Shows one record.
    pub fn record(&mut self, record: &Record) -> io::Result<()> {
        match record {
            Record::Header(header) => {
                self.boot_to_wall_ns = header.boot_to_wall_ns;
                Ok(())
            }
            Record::SeedFd(seed) => {
                let text = seed.socket.as_ref().map(socket).or_else(|| seed.path.clone());
                self.name(seed.pid, seed.fd, text);
                Ok(())
            }
            Record::Sys(sys) => {
                self.learn(sys);
                let shown = self.sys(sys);
                self.forget(sys);
                shown
            }
            Record::Block(block) => self.block(block),
            Record::Fork(fork) => {
                self.inherit(fork.pid, fork.child);
                let what = if fork.child == fork.pid { "thread" } else { "process" };
                let at = self.time(fork.t);
                writeln!(self.out, "{} {at} +++ new {what} {} ({}) +++", fork.tid, fork.child_tid, escape(&fork.comm))
            }
            Record::Exec(exec) => {
                let at = self.time(exec.t);
                writeln!(self.out, "{} {at} +++ now executes {} +++", exec.pid, escape(&exec.comm))
            }
            Record::Exit(exit) => self.exit(exit),
            Record::Loss(loss) if loss.ring > 0 || loss.tables > 0 => {
                let at = self.time(loss.t);
                writeln!(self.out, "--- {at} {} events lost so far ---", loss.ring.saturating_add(loss.tables))
            }
            Record::Clock(clock) => {
                self.boot_to_wall_ns = i64::try_from(clock.t).map_or(self.boot_to_wall_ns, |t| clock.wall_ns.saturating_sub(t));
                Ok(())
            }
            Record::Malformed(malformed) => {
                writeln!(self.out, "--- a record could not be decoded: {} ---", escape(&malformed.reason))
            }
            Record::Daemon(daemon) => self.daemon(daemon),
            Record::Helper(helper) => {
                let at = self.time(helper.t);
                let of = helper.endpoint.as_ref().map(|endpoint| format!(" at {}", escape(&endpoint.to_string()))).unwrap_or_default();
                writeln!(
                    self.out,
                    "{} {at} +++ process {} ({}){of}: process {} waits for it +++",
                    helper.pid,
                    helper.pid,
                    escape(&helper.comm),
                    helper.waiter
                )
            }
            Record::Release(release) => {
                let at = self.time(release.t);
                writeln!(self.out, "{} {at} +++ nobody waits for it any more +++", release.pid)
            }
            Record::SeedProc(_) | Record::SeedFile(_) | Record::SeedSettings(_) | Record::Backlog(_) | Record::Loss(_) | Record::End(_) => Ok(()),
        }
    }

    /// Shows SMTP's boundaries between the calls.
    pub fn update(&mut self, update: &Update) -> io::Result<()> {
        match update {
            Update::SessionBegan { session, client, server, .. } => {
                writeln!(self.out, "==== {} {} -> {}", escape(session), escape(client), escape(server))
            }
            Update::CommandBegan { session, verb, line, start_s, .. } => {
                writeln!(self.out, "==== {} {start_s:.3} {}", escape(session), said(*verb, line.as_deref(), None))
            }
            Update::CommandEnded { session, command } => {
                let end_s = command.start_s + command.elapsed_s;
                let where_to = breakdown(command);
                let elapsed_s = command.elapsed_s;
                writeln!(self.out, "==== {} {end_s:.3} {} <{elapsed_s:.6}> {where_to}", escape(session), answered(command, LINE))
            }
            Update::SessionEnded(session) => {
                writeln!(self.out, "==== {} {:.3} {}", escape(&session.id), session.elapsed_s, super::words::ended(session.end))
            }
            Update::WaitBegan { .. } | Update::WaitEnded { .. } | Update::Unmatched { .. } => Ok(()),
        }?;
        self.out.flush()
    }

    /// Writes what is buffered.
    pub fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn daemon(&mut self, daemon: &Daemon) -> io::Result<()> {
        let Some(state) = &daemon.state else { return Ok(()) };
        let at = self.time(daemon.t);
        writeln!(self.out, "{} {at} +++ says: {} +++", daemon.pid, escape(state))
    }

    fn sys(&mut self, sys: &Sys) -> io::Result<()> {
        let at = self.time(sys.start.unwrap_or(sys.t));
        let call = sys.call.name();
        let style = self.style();
        let args = arguments(&Told { pid: sys.pid, call: sys.call, args: &sys.args, sys: Some(sys) }, &style);
        let carry = sys.smtp.as_ref().and_then(|smtp| smtp.carry.as_ref());
        let carry = carry.map(|carry| format!(" /* began with {} */", string(carry, false, STRING))).unwrap_or_default();
        let fault = if sys.fault { " /* memory could not be read */" } else { "" };
        let result = result(sys, &style);
        let took = sys.start.map(|start| format!(" <{}>", seconds(sys.t.saturating_sub(start)))).unwrap_or_default();
        writeln!(self.out, "{} {at} {call}({}{}{carry}{fault}) = {result}{took}", sys.tid, args.entry, args.exit)
    }

    fn style(&self) -> Style<'_> {
        Style { descriptors: &self.descriptors, unknown: None, string: STRING }
    }

    fn block(&mut self, block: &Block) -> io::Result<()> {
        let at = self.time(block.since);
        let duration = seconds(block.t.saturating_sub(block.since));
        let call = block.call.as_deref().and_then(Call::by_name);
        let args = match (call, &block.args) {
            (Some(call), Some(args)) => arguments(&Told { pid: block.pid, call, args, sys: None }, &self.style()).entry,
            _ => String::new(),
        };
        let name = match (&block.call, &block.cause, block.nr) {
            (Some(name), _, _) => format!("{}({args}", escape(name)),
            (None, Some(cause), ..0) => format!("/* {} */ (", escape(cause)),
            (None, _, nr) => format!("syscall_{nr}("),
        };
        if block.unfinished {
            writeln!(self.out, "{} {at} {name} <unfinished ...> <{duration}>", block.tid)
        } else {
            writeln!(self.out, "{} {at} {name}) = ? <{duration}>", block.tid)
        }
    }

    fn exit(&mut self, exit: &Exit) -> io::Result<()> {
        let at = self.time(exit.t);
        if let Some(call) = &exit.call {
            let since = exit.since.map(|since| format!(" <{}>", seconds(exit.t.saturating_sub(since)))).unwrap_or_default();
            writeln!(self.out, "{} {at} {}( <unfinished ...>) = ?{since}", exit.tid, escape(call))?;
        }
        if exit.tid == exit.pid {
            self.descriptors.retain(|(pid, _), _| *pid != exit.pid);
        }
        match exit.signal {
            Some(signal) => writeln!(self.out, "{} {at} +++ killed by signal {signal} +++", exit.tid),
            None => writeln!(self.out, "{} {at} +++ exited with {} +++", exit.tid, exit.code),
        }
    }

    fn time(&self, t: u64) -> String {
        wall(t, self.boot_to_wall_ns)
    }

    fn name(&mut self, pid: u32, fd: i32, text: Option<String>) {
        match text {
            Some(text) => self.descriptors.insert((pid, fd), text),
            None => self.descriptors.remove(&(pid, fd)),
        };
    }

    fn inherit(&mut self, parent: u32, child: u32) {
        if parent == child {
            return;
        }
        let inherited: Vec<(i32, String)> =
            self.descriptors.iter().filter(|((pid, _), _)| *pid == parent).map(|((_, fd), text)| (*fd, text.clone())).collect();
        for (fd, text) in inherited {
            self.descriptors.insert((child, fd), text);
        }
    }

    /// What the call tells of its descriptors, before it is shown.
    fn learn(&mut self, sys: &Sys) {
        let socket_text = sys.socket.as_ref().map(|id| {
            let mut id = id.clone();
            id.peer = sys.peer.clone().or(id.peer);
            socket(&id)
        });
        let returned = i32::try_from(sys.ret).ok().filter(|ret| *ret >= 0);
        match sys.call {
            // What is behind the descriptor that the message carries, which is the sender's or the receiver's.
            _ if let Some(number) = sys.passed => self.name(sys.pid, number, socket_text),
            Call::Accept | Call::Accept4 => {
                if let Some(number) = returned {
                    self.name(sys.pid, number, socket_text);
                }
            }
            Call::Open | Call::Openat => {
                if let (Some(number), Some(path)) = (returned, &sys.args.path) {
                    self.name(sys.pid, number, Some(path.clone()));
                }
            }
            call if is_duplicate(call, &sys.args) => {
                if let (Some(number), Some(old)) = (returned, sys.args.fd) {
                    let text = socket_text.or_else(|| self.descriptors.get(&(sys.pid, old)).cloned());
                    self.name(sys.pid, number, text);
                }
            }
            Call::Pipe | Call::Pipe2 if returned.is_some() => {
                let Some((ends, name)) = pipe(&sys.args) else { return };
                for number in ends {
                    self.name(sys.pid, number, Some(name.clone()));
                }
            }
            _ => {
                if let (Some(number), Some(_), true) = (sys.args.fd, &socket_text, sys.call.row().fd0) {
                    self.name(sys.pid, number, socket_text);
                }
            }
        }
    }

    /// What is no descriptor any more, after it was shown.
    fn forget(&mut self, sys: &Sys) {
        if sys.ret < 0 {
            return;
        }
        match (sys.call, sys.args.fd) {
            (Call::Close, Some(number)) => {
                self.descriptors.remove(&(sys.pid, number));
            }
            (Call::CloseRange, _) => {
                let Some((first, last)) = closed_range(&sys.args) else { return };
                self.descriptors.retain(|(pid, fd), _| *pid != sys.pid || *fd < first || *fd > last);
            }
            _ => {}
        }
    }
}

/// As `-yy`: `TCP:[127.0.0.1:1->127.0.0.1:2]`, `UNIX:[inode->"/path"]`.
fn socket(id: &SocketId) -> String {
    let end = |it: &Option<crate::event::Endpoint>| it.as_ref().map(ToString::to_string);
    let (local, peer) = (end(&id.local), end(&id.peer));
    let ends = match (local, peer) {
        (Some(local), Some(peer)) => format!("{local}->{peer}"),
        (Some(local), None) => local,
        (None, Some(peer)) => format!("{}->{peer}", id.inode),
        (None, None) => id.inode.to_string(),
    };
    let family = match id.proto {
        Proto::Tcp => "TCP",
        Proto::Udp => "UDP",
        Proto::Unix => "UNIX",
        Proto::Other => "socket",
    };
    format!("{family}:[{ends}]")
}

/// `5.005123`.
pub(crate) fn seconds(ns: u64) -> String {
    format!("{}.{:06}", ns / 1_000_000_000, ns % 1_000_000_000 / 1000)
}

/// Wall clock with microseconds, as `-ttt`.
pub(crate) fn wall(t: u64, boot_to_wall_ns: i64) -> String {
    let wall = i128::from(t).saturating_add(i128::from(boot_to_wall_ns)).max(0);
    format!("{}.{:06}", wall / 1_000_000_000, wall % 1_000_000_000 / 1000)
}

#[cfg(test)]
#[path = "strace_tests.rs"]
mod tests;
