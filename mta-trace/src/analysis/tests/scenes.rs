//! What tests of waits have in common: one command in which something is done, and calls with what is behind them.

use super::trace::*;
use crate::event::*;
use crate::report::Wait;
use mta_trace_common::syscalls::Call;

pub fn rcpt_waits(work: impl FnOnce(&mut Trace)) -> Vec<Wait> {
    let mut trace = Trace::greeted();
    trace.line("RCPT TO:<a@example.com>\r\n");
    work(&mut trace);
    trace.reply("250 ok\r\n");
    trace.quit();
    command(&trace.session(), "RCPT").waits.clone()
}

pub fn of_socket(sys: &mut Sys, fd: i32, inode: u64, proto: Proto, peer: &str) {
    sys.args.fd = Some(fd);
    sys.socket = Some(socket(inode, proto));
    if sys.call == Call::Connect {
        sys.args.addr = Some(endpoint(peer));
    }
    sys.peer = Some(endpoint(peer));
}

pub fn alarm(trace: &mut Trace, seconds: u64) {
    trace.call(Call::Alarm, 0).args.timeout_ns = Some(seconds * SECOND);
}

/// A process that is killed in a call of which nothing is told: is it still the wait from before?
pub fn killed_after(work: impl FnOnce(&mut Trace)) -> Vec<Wait> {
    let mut trace = Trace::greeted();
    trace.line("RCPT TO:<a@example.com>\r\n");
    work(&mut trace);
    let since = trace.t;
    trace.short_wait(3 * SECOND);
    let exit = trace.exit(Some(9));
    exit.call = Some("read".into());
    exit.since = Some(since);
    command(&trace.session(), "RCPT").waits.clone()
}

pub fn poll_of(trace: &mut Trace, fd: i32, event: &str, ret: i64, ns: u64, timeout_ns: u64) {
    let poll = trace.blocked(Call::Poll, ret, ns);
    poll.args.fds = vec![PollFd { fd, events: vec![event.into()], revents: vec![] }];
    poll.args.timeout_ns = Some(timeout_ns);
}
