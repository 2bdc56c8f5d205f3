//! Connections to other mail servers, and those that are begun with their first bytes.

use super::scenes::*;
use super::trace::*;
use crate::event::*;
use crate::report::{Cause, Outcome};
use mta_trace_common::syscalls::Call;

/// As Exim begins each connection.
fn fast_open(trace: &mut Trace, fd: i32, inode: u64, peer: &str) {
    let sys = trace.call(Call::Sendto, -115);
    of_socket(sys, fd, inode, Proto::Tcp, peer);
    sys.args.flags = vec!["MSG_DONTWAIT".into(), "MSG_FASTOPEN".into()];
}

#[test]
fn a_call_out_whose_first_segment_is_dropped() {
    let waits = rcpt_waits(|trace| {
        fast_open(trace, 4, 40, "10.99.0.3:25");
        poll_of(trace, 4, "POLLOUT", 0, SECOND, SECOND);
        poll_of(trace, 4, "POLLIN", 0, 8 * SECOND, 8 * SECOND);
        trace.close(4);
    });
    assert_eq!(waits.len(), 1, "{waits:#?}");
    let wait = &waits[0];
    assert_eq!((wait.cause, wait.outcome, wait.timer_s, wait.attempts), (Cause::Callback, Outcome::Timeout, Some(8.0), Some(1)));
    assert_eq!((wait.target.as_deref(), wait.connected), (Some("10.99.0.3:25"), Some(false)));
    near(wait.elapsed_s, 9.0);
}

#[test]
fn a_call_out_that_is_slow_at_each_step_is_one_wait() {
    let waits = rcpt_waits(|trace| {
        alarm(trace, 8);
        of_socket(trace.blocked(Call::Connect, 0, 2 * MS), 4, 40, Proto::Tcp, "[fd99::1]:25");
        alarm(trace, 0);
        poll_of(trace, 4, "POLLIN", 1, 2 * SECOND, 8 * SECOND);
        poll_of(trace, 4, "POLLIN", 1, SECOND, 8 * SECOND);
    });
    assert_eq!(waits.len(), 1, "{waits:#?}");
    let wait = &waits[0];
    assert_eq!((wait.cause, wait.outcome, wait.target.as_deref()), (Cause::Callback, Outcome::Ok, Some("[fd99::1]:25")));
    assert_eq!((wait.connected, wait.timer_s), (Some(true), None));
    near(wait.elapsed_s, 3.002);
}

#[test]
fn regress_a_greeting_that_does_not_come_is_no_unanswered_connection() {
    // That the connection came about at once nobody tells: the poll for it did not block.
    let waits = rcpt_waits(|trace| {
        fast_open(trace, 4, 40, "10.99.0.3:25");
        poll_of(trace, 4, "POLLIN", 0, 8 * SECOND, 8 * SECOND);
    });
    assert_eq!((waits[0].cause, waits[0].outcome, waits[0].connected), (Cause::Callback, Outcome::Timeout, None));
}

#[test]
fn what_goes_to_another_mail_server_behind_the_message_may_be_the_message() {
    let mut trace = Trace::greeted();
    trace.line("DATA\r\n");
    of_socket(trace.blocked(Call::Connect, 0, SECOND), 4, 40, Proto::Tcp, "10.99.0.3:25");
    trace.reply("354 go on\r\n");
    trace.quit();
    let wait = command(&trace.session(), "DATA").waits[0].clone();
    assert_eq!((wait.cause, wait.target.as_deref()), (Cause::Network, Some("10.99.0.3:25")));
}

#[test]
fn ident_that_is_begun_by_fast_open() {
    let waits = rcpt_waits(|trace| {
        alarm(trace, 5);
        fast_open(trace, 4, 40, "10.99.0.1:113");
        of_socket(trace.blocked(Call::Sendto, -512, 4999 * MS), 4, 40, Proto::Tcp, "10.99.0.1:113");
    });
    let wait = &waits[0];
    assert_eq!((wait.cause, wait.outcome, wait.timer_s, wait.connected), (Cause::Ident, Outcome::Timeout, Some(5.0), Some(false)));
    assert_eq!((waits.len(), wait.attempts), (1, Some(1)));
}
