//! Ident, sleeps, the client, signals, and what nothing names.

use super::scenes::*;
use super::trace::*;
use crate::event::*;
use crate::report::{Cause, Outcome};
use mta_trace_common::syscalls::Call;

#[test]
fn ident_that_an_alarm_ends() {
    let waits = rcpt_waits(|trace| {
        alarm(trace, 5);
        of_socket(trace.blocked(Call::Connect, -512, 4999 * MS), 4, 40, Proto::Tcp, "10.99.0.1:113");
        alarm(trace, 0);
        trace.close(4);
    });
    let wait = &waits[0];
    assert_eq!((wait.cause, wait.outcome, wait.timer_s, wait.attempts), (Cause::Ident, Outcome::Timeout, Some(5.0), Some(1)));
    assert_eq!((wait.target.as_deref(), wait.syscalls.as_slice()), (Some("10.99.0.1:113"), &["connect".to_owned()][..]));
    near(wait.elapsed_s, 4.999);
}

#[test]
fn ident_that_accepts_and_says_nothing() {
    let waits = rcpt_waits(|trace| {
        alarm(trace, 5);
        of_socket(trace.call(Call::Connect, 0), 4, 40, Proto::Tcp, "10.99.0.1:113");
        of_socket(trace.call(Call::Write, 10), 4, 40, Proto::Tcp, "10.99.0.1:113");
        of_socket(trace.blocked(Call::Read, -512, 4998 * MS), 4, 40, Proto::Tcp, "10.99.0.1:113");
    });
    assert_eq!(waits.len(), 1);
    assert_eq!((waits[0].cause, waits[0].outcome, waits[0].timer_s), (Cause::Ident, Outcome::Timeout, Some(5.0)));
}

#[test]
fn ident_refused_late() {
    let waits = rcpt_waits(|trace| of_socket(trace.blocked(Call::Connect, -111, 30 * MS), 4, 40, Proto::Tcp, "10.99.0.1:113"));
    assert_eq!((waits[0].cause, waits[0].outcome, waits[0].timer_s), (Cause::Ident, Outcome::Refused, None));
}

#[test]
fn greet_pause_is_a_sleep() {
    let mut trace = Trace::accepted();
    trace.read(0, SmtpMode::Command).ret = -11;
    let pause = trace.await_client(4 * SECOND);
    pause.ret = 0;
    pause.args.timeout_ns = Some(4 * SECOND);
    trace.reply("220 hi\r\n");
    trace.quit();
    let session = trace.session();
    let wait = &command(&session, "CONNECT").waits[0];
    assert_eq!((wait.cause, wait.outcome, wait.timer_s, wait.target.as_deref()), (Cause::Sleep, Outcome::Ok, Some(4.0), None));
}

#[test]
fn sleeps() {
    let waits = rcpt_waits(|trace| {
        trace.blocked(Call::ClockNanosleep, 0, SECOND).args.timeout_ns = Some(SECOND);
        trace.blocked(Call::Select, 0, SECOND).args.timeout_ns = Some(SECOND);
        let hang_up = trace.blocked(Call::Poll, 0, SECOND);
        hang_up.args.fds = vec![PollFd { fd: 5, events: vec!["POLLRDHUP".into()], revents: vec![] }];
        hang_up.args.timeout_ns = Some(SECOND);
    });
    assert!(waits.iter().all(|wait| wait.cause == Cause::Sleep && wait.outcome == Outcome::Ok && wait.timer_s == Some(1.0)));
    assert_eq!(waits.len(), 3);
}

#[test]
fn what_nothing_names() {
    let waits = rcpt_waits(|trace| {
        of_socket(trace.blocked(Call::Connect, 0, 5 * MS), 4, 60, Proto::Tcp, "10.99.0.3:3899");
        of_socket(trace.blocked(Call::Read, 5, 5 * MS), 4, 60, Proto::Tcp, "10.99.0.3:3899");
        trace.blocked(Call::Read, 5, 5 * MS).args.fd = Some(44);
    });
    assert_eq!(waits.len(), 2);
    assert_eq!((waits[0].cause, waits[0].target.as_deref()), (Cause::Network, Some("10.99.0.3:3899")));
    assert_eq!(waits[0].descriptor.as_deref(), Some("fd 4: tcp 10.99.0.3:3899"));
    assert_eq!((waits[1].cause, waits[1].descriptor.as_deref()), (Cause::Unknown, Some("fd 44")));
}

#[test]
fn a_restarted_call_is_one_wait() {
    let waits = rcpt_waits(|trace| {
        trace.blocked(Call::ClockNanosleep, -516, SECOND).args.timeout_ns = Some(2 * SECOND);
        trace.blocked(Call::RestartSyscall, 0, SECOND);
    });
    assert_eq!((waits.len(), waits[0].cause, waits[0].outcome), (1, Cause::Sleep, Outcome::Ok));
    near(waits[0].elapsed_s, 2.0);
}

#[test]
fn a_signal_that_is_not_our_alarm_interrupts() {
    let waits = rcpt_waits(|trace| {
        alarm(trace, 600);
        of_socket(trace.blocked(Call::Read, -4, 5 * MS), 4, 60, Proto::Tcp, "10.99.0.3:3899");
    });
    assert_eq!((waits[0].outcome, waits[0].timer_s), (Outcome::Interrupted, None));
}

#[test]
fn a_reply_that_the_client_does_not_read_is_its_time() {
    let mut trace = Trace::greeted();
    trace.line("HELP\r\n");
    trace.cpu(MS);
    let write = trace.blocked(Call::Write, 8, 3 * SECOND);
    of_socket(write, 3, CLIENT_INODE, Proto::Tcp, "10.99.0.1:54712");
    write.data = Some(Bytes(b"214 hi\r\n".to_vec()));
    trace.quit();
    let session = trace.session();
    near(command(&session, "HELP").elapsed_s, 0.001);
    near(session.client_s, 3.05);
}

#[test]
fn regress_an_unnamed_call_at_the_end_is_no_finished_wait() {
    let timed_out = killed_after(|trace| {
        alarm(trace, 5);
        of_socket(trace.blocked(Call::Connect, -512, 5 * SECOND), 4, 40, Proto::Tcp, "10.99.0.1:113");
    });
    assert_eq!(timed_out.iter().map(|wait| wait.cause).collect::<Vec<_>>(), [Cause::Ident, Cause::Unknown]);
    let closed = killed_after(|trace| {
        of_socket(trace.blocked(Call::Connect, 0, 5 * MS), 4, 40, Proto::Tcp, "10.99.0.1:113");
        of_socket(trace.call(Call::Write, 10), 4, 40, Proto::Tcp, "10.99.0.1:113");
        trace.close(4);
    });
    assert_eq!(closed.iter().map(|wait| wait.cause).collect::<Vec<_>>(), [Cause::Ident, Cause::Unknown]);
    let answered = killed_after(|trace| {
        of_socket(trace.blocked(Call::Connect, 0, 5 * MS), 4, 40, Proto::Tcp, "10.99.0.1:113");
        of_socket(trace.call(Call::Read, 30), 4, 40, Proto::Tcp, "10.99.0.1:113");
    });
    assert_eq!(answered.iter().map(|wait| wait.cause).collect::<Vec<_>>(), [Cause::Ident, Cause::Unknown]);
    let open = killed_after(|trace| {
        of_socket(trace.blocked(Call::Connect, 0, 5 * MS), 4, 40, Proto::Tcp, "10.99.0.1:113");
        of_socket(trace.call(Call::Write, 10), 4, 40, Proto::Tcp, "10.99.0.1:113");
    });
    assert_eq!(open.iter().map(|wait| (wait.cause, wait.outcome)).collect::<Vec<_>>(), [(Cause::Ident, Outcome::Unfinished)]);
}

#[test]
fn regress_an_early_talker_ends_the_pause() {
    let mut trace = Trace::accepted();
    trace.await_client(SECOND).args.timeout_ns = Some(5 * SECOND);
    trace.line("HELO x\r\n");
    trace.reply("554 not accepting messages\r\n");
    trace.quit();
    let session = trace.session();
    let wait = &command(&session, "CONNECT").waits[0];
    // The time-out did not end it, so it is none.
    assert_eq!((wait.cause, wait.timer_s), (Cause::Sleep, None));
    let finding = session.findings.first().expect("a finding");
    assert!(finding.evidence.contains("one sleep of 1.00 s"), "{}", finding.evidence);
}

#[test]
fn regress_a_client_hello_is_waited_for() {
    // RFC 8314: TLS from the first byte, by a blocking read or a poll on port 465.
    for is_poll in [false, true] {
        let mut trace = Trace::empty();
        trace.accept(CLIENT_INODE, "10.99.0.1:54712").socket =
            Some(SocketId { local: Some(endpoint("10.99.0.2:465")), ..socket(CLIENT_INODE, Proto::Tcp) });
        trace.fork(CHILD, true);
        trace.pid = CHILD;
        if is_poll {
            trace.await_client(3 * SECOND);
            trace.read(300, SmtpMode::Command);
        } else {
            let read = trace.blocked(Call::Read, 300, 3 * SECOND);
            of_socket(read, 5, CLIENT_INODE, Proto::Tcp, "10.99.0.1:54712");
            read.smtp = Some(Smtp { mode: SmtpMode::Command, dot: false, carry: None });
        }
        trace.reply("\x16\x03");
        trace.exit(None);
        let session = trace.session();
        assert_eq!(command(&session, "CONNECT").waits[0].cause, Cause::Client);
        assert_eq!(session.findings, []);
    }
}

#[test]
fn regress_a_batch_whose_end_is_late_waits_for_the_client() {
    let waits = rcpt_waits(|trace| {
        trace.await_client(3 * SECOND);
        trace.line("RCPT TO:<b@example.com>\r\n");
        trace.reply("250 ok\r\n");
    });
    assert_eq!(waits.iter().map(|wait| wait.cause).collect::<Vec<_>>(), [Cause::Client]);
}

#[test]
fn a_wait_on_the_client_that_a_signal_ends_is_not_named() {
    let waits = rcpt_waits(|trace| trace.await_client(SECOND).ret = -4);
    assert_eq!(waits.iter().map(|wait| wait.cause).collect::<Vec<_>>(), [Cause::Unknown]);
}

#[test]
fn regress_a_connection_that_came_about_is_told_apart() {
    // One round trip in connect, then silence.
    let accepted = rcpt_waits(|trace| {
        alarm(trace, 5);
        of_socket(trace.blocked(Call::Connect, 0, 20 * MS), 4, 40, Proto::Tcp, "10.99.0.1:113");
        of_socket(trace.call(Call::Write, 10), 4, 40, Proto::Tcp, "10.99.0.1:113");
        of_socket(trace.blocked(Call::Read, -512, 4978 * MS), 4, 40, Proto::Tcp, "10.99.0.1:113");
    });
    assert_eq!((accepted[0].outcome, accepted[0].connected), (Outcome::Timeout, Some(true)));
    let dropped = rcpt_waits(|trace| {
        alarm(trace, 5);
        of_socket(trace.blocked(Call::Connect, -512, 4999 * MS), 4, 40, Proto::Tcp, "10.99.0.1:113");
    });
    assert_eq!((dropped[0].outcome, dropped[0].connected), (Outcome::Timeout, Some(false)));
    // A non-blocking connection, of which a poll tells that it never came about.
    let polled = rcpt_waits(|trace| {
        of_socket(trace.call(Call::Connect, -115), 4, 40, Proto::Tcp, "10.99.0.3:3899");
        let poll = trace.blocked(Call::Poll, 0, 5 * SECOND);
        poll.args.fds = vec![PollFd { fd: 4, events: vec!["POLLOUT".into()], revents: vec![] }];
        poll.args.timeout_ns = Some(5 * SECOND);
    });
    assert_eq!((polled[0].cause, polled[0].outcome, polled[0].connected), (Cause::Network, Outcome::Timeout, Some(false)));
    let later = rcpt_waits(|trace| {
        of_socket(trace.call(Call::Connect, -115), 4, 40, Proto::Tcp, "10.99.0.3:3899");
        let poll = trace.blocked(Call::Poll, 1, 20 * MS);
        poll.args.fds = vec![PollFd { fd: 4, events: vec!["POLLOUT".into()], revents: vec![] }];
        of_socket(trace.blocked(Call::Write, 10, 10 * MS), 4, 40, Proto::Tcp, "10.99.0.3:3899");
        of_socket(trace.blocked(Call::Read, -110, SECOND), 4, 40, Proto::Tcp, "10.99.0.3:3899");
    });
    assert_eq!((later[0].outcome, later[0].connected), (Outcome::Timeout, Some(true)));
}

#[test]
fn regress_an_argument_that_is_no_descriptor_names_no_socket() {
    // Argument 0 is 5 and the client's descriptor is 5 too: the kernel side may have looked it up.
    let mut trace = Trace::greeted();
    trace.exchange("DATA", "354 go");
    trace.blocked(Call::ClockNanosleep, 0, 2 * SECOND).socket = Some(socket(CLIENT_INODE, Proto::Tcp));
    trace.hang_up();
    assert_eq!(command(&trace.session(), "BODY").waits[0].cause, Cause::Sleep);
}

#[test]
fn a_look_up_that_goes_on_with_another_socket_is_outstanding() {
    let waits = killed_after(|trace| {
        trace.udp(4, 41, "192.0.2.53:53");
        trace.ask(4, 41, "192.0.2.53:53", 7, "example.com", 28);
        trace.poll(4, 0, 5 * SECOND);
        trace.close(4);
        trace.udp(4, 42, "192.0.2.54:53");
        trace.ask(4, 42, "192.0.2.54:53", 7, "example.com", 28);
    });
    assert_eq!(waits.iter().map(|wait| (wait.cause, wait.outcome)).collect::<Vec<_>>(), [(Cause::Dns, Outcome::Unfinished)]);
}

#[test]
fn who_has_said_quit_may_close_first() {
    let mut trace = Trace::greeted();
    trace.line("QUIT\r\n");
    let wait = trace.await_client(200 * MS);
    wait.ret = 0;
    wait.args.timeout_ns = Some(200 * MS);
    trace.reply("221 bye\r\n");
    let session = trace.session();
    let waits = &command(&session, "QUIT").waits;
    assert_eq!((waits.len(), waits[0].cause), (1, Cause::Client));
    near(waits[0].elapsed_s, 0.2);
}
