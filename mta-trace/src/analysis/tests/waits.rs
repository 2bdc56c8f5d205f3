//! Causes other than DNS.

use super::trace::*;
use crate::event::*;
use crate::report::{Cause, Outcome, Wait};
use mta_trace_common::syscalls::Call;

fn waits(work: impl FnOnce(&mut Trace)) -> Vec<Wait> {
    let mut trace = Trace::greeted();
    trace.line("RCPT TO:<a@example.com>\r\n");
    work(&mut trace);
    trace.reply("250 ok\r\n");
    trace.quit();
    command(&trace.session(), "RCPT").waits.clone()
}

fn of_socket(sys: &mut Sys, fd: i32, inode: u64, proto: Proto, peer: &str) {
    sys.args.fd = Some(fd);
    sys.socket = Some(socket(inode, proto));
    if sys.call == Call::Connect {
        sys.args.addr = Some(endpoint(peer));
    }
    sys.peer = Some(endpoint(peer));
}

fn alarm(trace: &mut Trace, seconds: u64) {
    trace.call(Call::Alarm, 0).args.timeout_ns = Some(seconds * SECOND);
}

#[test]
fn ident_that_an_alarm_ends() {
    let waits = waits(|trace| {
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
    let waits = waits(|trace| {
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
    let waits = waits(|trace| of_socket(trace.blocked(Call::Connect, -111, 30 * MS), 4, 40, Proto::Tcp, "10.99.0.1:113"));
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
    let waits = waits(|trace| {
        trace.blocked(Call::ClockNanosleep, 0, SECOND).args.timeout_ns = Some(SECOND);
        trace.blocked(Call::Select, 0, SECOND).args.timeout_ns = Some(SECOND);
        let hang_up = trace.blocked(Call::Poll, 0, SECOND);
        hang_up.args.fds = vec![PollFd { fd: 5, events: vec!["POLLRDHUP".into()], revents: vec![] }];
        hang_up.args.timeout_ns = Some(SECOND);
    });
    assert!(waits.iter().all(|wait| wait.cause == Cause::Sleep && wait.outcome == Outcome::Ok && wait.timer_s == Some(1.0)));
    assert_eq!(waits.len(), 3);
}

fn packet(trace: &mut Trace, call: Call, command: u8, ret: i64) {
    let sys = trace.call(call, ret);
    of_socket(sys, 4, 60, Proto::Tcp, "10.99.0.3:8891");
    sys.milter = true;
    sys.data = Some(Bytes(vec![0, 0, 0, 9, command]));
}

fn milter_poll(trace: &mut Trace, ns: u64, ret: i64) {
    let sys = trace.blocked(Call::Pselect6, ret, ns);
    sys.args.read = vec![4];
    sys.args.timeout_ns = Some(10 * SECOND);
}

#[test]
fn milter_stages() {
    let waits = waits(|trace| {
        of_socket(trace.blocked(Call::Connect, 0, 5 * MS), 4, 60, Proto::Tcp, "10.99.0.3:8891");
        packet(trace, Call::Writev, b'O', 17);
        milter_poll(trace, 5 * MS, 1);
        packet(trace, Call::Read, b'O', 5);
        packet(trace, Call::Writev, b'D', 20);
        packet(trace, Call::Writev, b'R', 20);
        milter_poll(trace, 3 * SECOND, 1);
        packet(trace, Call::Read, b'r', 5);
        packet(trace, Call::Writev, b'E', 20);
        milter_poll(trace, 10 * SECOND, 0);
    });
    let told: Vec<_> = waits
        .iter()
        .map(|wait| {
            let milter = wait.milter.as_ref().expect("milter");
            (wait.cause, milter.stage.as_str(), milter.reply.as_deref(), wait.outcome, wait.timer_s)
        })
        .collect();
    assert_eq!(
        told,
        [
            (Cause::Milter, "negotiate", Some("negotiate"), Outcome::Ok, None),
            (Cause::Milter, "envrcpt", Some("reject"), Outcome::Denied, None),
            (Cause::Milter, "eom", None, Outcome::Timeout, Some(10.0)),
        ]
    );
    assert_eq!(waits[0].target.as_deref(), Some("10.99.0.3:8891"));
    near(waits[0].elapsed_s, 0.01);
}

#[test]
fn saslauthd() {
    let path = "/var/run/saslauthd/mux";
    let waits = waits(|trace| {
        of_socket(trace.call(Call::Connect, 0), 4, 60, Proto::Unix, path);
        let read = trace.blocked(Call::Read, 2, SECOND);
        read.args.fd = Some(4);
        read.socket = Some(socket(60, Proto::Unix));
    });
    assert_eq!((waits.len(), waits[0].cause, waits[0].target.as_deref()), (1, Cause::Sasl, Some(path)));
}

#[test]
fn files() {
    let waits = waits(|trace| {
        let open = trace.call(Call::Openat, 7);
        open.args.path = Some("qf1".into());
        trace.blocked(Call::Fsync, 0, 10 * MS).args.fd = Some(7);
        trace.blocked(Call::Flock, 0, 20 * MS).args.fd = Some(7);
        let lock = trace.blocked(Call::Fcntl, 0, 30 * MS);
        lock.args.fd = Some(7);
        lock.args.op = Some("F_SETLKW".into());
        trace.blocked(Call::Write, 5, 40 * MS).args.fd = Some(7);
        trace.blocked(Call::Rename, 0, 50 * MS).args.path = Some("tf1".into());
    });
    let told: Vec<_> = waits.iter().map(|wait| (wait.cause, wait.target.as_deref())).collect();
    let qf = Some("/var/spool/mqueue/qf1");
    assert_eq!(
        told,
        [(Cause::SpoolSync, qf), (Cause::FileLock, qf), (Cause::FileLock, qf), (Cause::FileIo, qf), (Cause::FileIo, Some("/var/spool/mqueue/tf1"))]
    );
    assert_eq!(waits[0].descriptor.as_deref(), Some("fd 7: /var/spool/mqueue/qf1"));
}

#[test]
fn a_child_that_is_awaited() {
    let waits = waits(|trace| {
        trace.fork(300, false);
        trace.pid = 300;
        trace.exit(None);
        trace.pid = CHILD;
        trace.blocked(Call::Wait4, 300, 7 * MS).args.pid = Some(-1);
    });
    assert_eq!((waits[0].cause, waits[0].target.as_deref()), (Cause::Child, Some("300 sendmail")));
}

#[test]
fn what_nothing_names() {
    let waits = waits(|trace| {
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
    let waits = waits(|trace| {
        trace.blocked(Call::ClockNanosleep, -516, SECOND).args.timeout_ns = Some(2 * SECOND);
        trace.blocked(Call::RestartSyscall, 0, SECOND);
    });
    assert_eq!((waits.len(), waits[0].cause, waits[0].outcome), (1, Cause::Sleep, Outcome::Ok));
    near(waits[0].elapsed_s, 2.0);
}

#[test]
fn a_signal_that_is_not_our_alarm_interrupts() {
    let waits = waits(|trace| {
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

/// A page fault, or a call that only the scheduler saw (`newfstatat`).
fn file_system(trace: &mut Trace, nr: i64, ns: u64) {
    let (since, at_start) = (trace.t, trace.call(Call::Alarm, 0).at());
    trace.records.pop();
    trace.short_wait(ns);
    let end = trace.call(Call::Alarm, 0);
    let (t, at) = (end.t, end.at());
    trace.records.pop();
    let cause = (nr < 0).then(|| "page-fault".to_owned());
    trace.records.push(Record::Block(Box::new(Block {
        t,
        pid: CHILD,
        tid: CHILD,
        nr,
        call: None,
        since,
        cause,
        unfinished: false,
        args: None,
        at,
        at_start: Some(at_start),
        socket: None,
        peer: None,
    })));
}

#[test]
fn regress_file_system_after_a_finished_ident_is_its_own() {
    for (nr, ns) in [(-1, 2 * MS), (262, 30 * SECOND)] {
        let waits = waits(|trace| {
            alarm(trace, 5);
            of_socket(trace.blocked(Call::Connect, -512, 5 * SECOND), 4, 40, Proto::Tcp, "10.99.0.1:113");
            trace.close(4);
            file_system(trace, nr, ns);
        });
        let told: Vec<_> = waits.iter().map(|wait| (wait.cause, wait.outcome, wait.timer_s)).collect();
        assert_eq!(told, [(Cause::Ident, Outcome::Timeout, Some(5.0)), (Cause::FileIo, Outcome::Ok, None)]);
        near(waits[0].elapsed_s, 5.0);
    }
}

#[test]
fn regress_file_system_after_the_last_time_out_of_a_look_up_is_its_own() {
    for (nr, ns) in [(-1, 2 * MS), (262, 30 * SECOND)] {
        let waits = waits(|trace| {
            trace.silent_lookup(1, "example.com", 28);
            file_system(trace, nr, ns);
        });
        let told: Vec<_> = waits.iter().map(|wait| (wait.cause, wait.outcome)).collect();
        assert_eq!(told, [(Cause::Dns, Outcome::Timeout), (Cause::FileIo, Outcome::Ok)]);
        near(waits[0].elapsed_s, 10.01001);
    }
}

#[test]
fn a_page_fault_inside_a_connection_does_not_decide_how_it_ended() {
    let waits = waits(|trace| {
        alarm(trace, 5);
        of_socket(trace.call(Call::Connect, 0), 4, 40, Proto::Tcp, "10.99.0.1:113");
        of_socket(trace.call(Call::Write, 10), 4, 40, Proto::Tcp, "10.99.0.1:113");
        file_system(trace, -1, 2 * MS);
        of_socket(trace.blocked(Call::Read, -512, 4998 * MS), 4, 40, Proto::Tcp, "10.99.0.1:113");
    });
    assert_eq!(waits.len(), 1);
    assert_eq!((waits[0].cause, waits[0].outcome, waits[0].timer_s), (Cause::Ident, Outcome::Timeout, Some(5.0)));
    near(waits[0].elapsed_s, 5.0);
}

#[test]
fn regress_a_long_hang_of_the_file_system_is_no_look_up() {
    let waits = waits(|trace| {
        trace.udp(4, 41, "192.0.2.53:53");
        trace.ask(4, 41, "192.0.2.53:53", 7, "example.com", 28);
        file_system(trace, 262, 30 * SECOND);
        trace.answer(4, 41, "192.0.2.53:53", 7, 0, "example.com", 28);
    });
    assert_eq!(waits.iter().map(|wait| wait.cause).collect::<Vec<_>>(), [Cause::FileIo]);
    near(waits[0].elapsed_s, 30.0);
}

/// A process that is killed in a call of which nothing is told: is it still the wait from before?
fn killed_after(work: impl FnOnce(&mut Trace)) -> Vec<Wait> {
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
    let waits = waits(|trace| {
        trace.await_client(3 * SECOND);
        trace.line("RCPT TO:<b@example.com>\r\n");
        trace.reply("250 ok\r\n");
    });
    assert_eq!(waits.iter().map(|wait| wait.cause).collect::<Vec<_>>(), [Cause::Client]);
}

#[test]
fn a_wait_on_the_client_that_a_signal_ends_is_not_named() {
    let waits = waits(|trace| trace.await_client(SECOND).ret = -4);
    assert_eq!(waits.iter().map(|wait| wait.cause).collect::<Vec<_>>(), [Cause::Unknown]);
}

#[test]
fn regress_a_connection_that_came_about_is_told_apart() {
    // One round trip in connect, then silence.
    let accepted = waits(|trace| {
        alarm(trace, 5);
        of_socket(trace.blocked(Call::Connect, 0, 20 * MS), 4, 40, Proto::Tcp, "10.99.0.1:113");
        of_socket(trace.call(Call::Write, 10), 4, 40, Proto::Tcp, "10.99.0.1:113");
        of_socket(trace.blocked(Call::Read, -512, 4978 * MS), 4, 40, Proto::Tcp, "10.99.0.1:113");
    });
    assert_eq!((accepted[0].outcome, accepted[0].connected), (Outcome::Timeout, Some(true)));
    let dropped = waits(|trace| {
        alarm(trace, 5);
        of_socket(trace.blocked(Call::Connect, -512, 4999 * MS), 4, 40, Proto::Tcp, "10.99.0.1:113");
    });
    assert_eq!((dropped[0].outcome, dropped[0].connected), (Outcome::Timeout, Some(false)));
    // A non-blocking connection, of which a poll tells that it never came about.
    let polled = waits(|trace| {
        of_socket(trace.call(Call::Connect, -115), 4, 40, Proto::Tcp, "10.99.0.3:3899");
        let poll = trace.blocked(Call::Poll, 0, 5 * SECOND);
        poll.args.fds = vec![PollFd { fd: 4, events: vec!["POLLOUT".into()], revents: vec![] }];
        poll.args.timeout_ns = Some(5 * SECOND);
    });
    assert_eq!((polled[0].cause, polled[0].outcome, polled[0].connected), (Cause::Network, Outcome::Timeout, Some(false)));
    let later = waits(|trace| {
        of_socket(trace.call(Call::Connect, -115), 4, 40, Proto::Tcp, "10.99.0.3:3899");
        let poll = trace.blocked(Call::Poll, 1, 20 * MS);
        poll.args.fds = vec![PollFd { fd: 4, events: vec!["POLLOUT".into()], revents: vec![] }];
        of_socket(trace.blocked(Call::Write, 10, 10 * MS), 4, 40, Proto::Tcp, "10.99.0.3:3899");
        of_socket(trace.blocked(Call::Read, -110, SECOND), 4, 40, Proto::Tcp, "10.99.0.3:3899");
    });
    assert_eq!((later[0].outcome, later[0].connected), (Outcome::Timeout, Some(true)));
}

#[test]
fn regress_a_request_in_one_write_is_no_nagle() {
    let session = |has_macros: bool| {
        let mut trace = Trace::greeted();
        trace.line("RCPT TO:<a@example.com>\r\n");
        packet(&mut trace, Call::Writev, b'O', 17);
        packet(&mut trace, Call::Read, b'O', 5);
        for command in [b'M', b'R', b'N', b'E'] {
            if has_macros {
                packet(&mut trace, Call::Writev, b'D', 20);
            }
            packet(&mut trace, Call::Writev, command, 20);
            milter_poll(&mut trace, 44 * MS, 1);
            packet(&mut trace, Call::Read, b'c', 5);
        }
        trace.reply("250 ok\r\n");
        trace.quit();
        trace.session()
    };
    let rules = |session: &crate::report::Session| session.findings.iter().map(|it| it.rule.clone()).collect::<Vec<_>>();
    let nagle = session(true);
    assert_eq!(rules(&nagle), ["milter-nagle"]);
    let milter = command(&nagle, "RCPT").waits[0].milter.as_ref().expect("milter");
    assert_eq!((milter.stage.as_str(), milter.writes), ("envfrom", Some(2)));
    assert_eq!(rules(&session(false)), ["milter-slow"]);
}

#[test]
fn regress_a_look_at_what_is_over_leaves_nothing_behind() {
    let trace = || {
        let mut trace = Trace::greeted();
        trace.line("RCPT TO:<a@example.com>\r\n");
        file_system(&mut trace, 262, 2 * SECOND);
        trace.end();
        trace
    };
    let replayed = trace().report().0;
    let mut live = trace();
    let at = live.records.len() - 2;
    let Some(Record::Block(mut look)) = live.records.get(at).cloned() else { unreachable!("a block") };
    look.t -= SECOND;
    look.at.blocked_ns -= SECOND;
    look.unfinished = true;
    live.records.insert(at, Record::Block(look));
    assert_eq!(live.report().0.sessions, replayed.sessions);
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
fn regress_a_pipe_from_a_child() {
    let with_children = |children: &[u32]| {
        waits(|trace| {
            let pipe = trace.call(Call::Pipe2, 0);
            (pipe.args.fd, pipe.args.fd2) = (Some(8), Some(9));
            for child in children {
                trace.fork(*child, false);
            }
            trace.close(9);
            trace.blocked(Call::Read, 5, 2 * SECOND).args.fd = Some(8);
        })
    };
    let wait = &with_children(&[300])[0];
    assert_eq!((wait.cause, wait.descriptor.as_deref()), (Cause::Child, Some("fd 8: pipe:[9->8]")));
    assert_eq!(wait.target.as_deref(), Some("300 sendmail"));
    // Which of two writes into it is not known.
    let wait = &with_children(&[300, 301])[0];
    assert_eq!((wait.cause, wait.target.as_deref()), (Cause::Child, None));
    // Without a child nobody is known who could write.
    assert_eq!(with_children(&[])[0].cause, Cause::Unknown);
}

/// sendmail's daemon lets its child wait at a pipe until it has taken note of it: on a busy machine that was `unknown`.
#[test]
fn regress_a_pipe_from_the_daemon() {
    let greeting = |is_its_own: bool| {
        let mut trace = Trace::empty();
        trace.accept(CLIENT_INODE, "10.99.0.1:54712");
        let open_pipe = |trace: &mut Trace| {
            let pipe = trace.call(Call::Pipe2, 0);
            (pipe.args.fd, pipe.args.fd2) = (Some(8), Some(9));
        };
        open_pipe(&mut trace);
        trace.fork(CHILD, true);
        trace.pid = CHILD;
        if is_its_own {
            trace.close(8);
            open_pipe(&mut trace);
        }
        trace.close(9);
        trace.blocked(Call::Read, 0, 2 * SECOND).args.fd = Some(8);
        trace.reply("220 hi\r\n");
        trace.quit();
        command(&trace.session(), "CONNECT").waits[0].clone()
    };
    let wait = greeting(false);
    let daemon = format!("{DAEMON} sendmail");
    assert_eq!((wait.cause, wait.target, wait.descriptor.as_deref()), (Cause::Mta, Some(daemon), Some("fd 8: pipe:[9->8]")));
    // A pipe of its own under the same numbers leads elsewhere.
    assert_eq!(greeting(true).cause, Cause::Unknown);
}

/// sendmail reads its mailer's pipe to the end, which comes when the mailer has ended.
#[test]
fn regress_a_child_that_ends_while_it_is_waited_for() {
    let waits = waits(|trace| {
        let pipe = trace.call(Call::Pipe2, 0);
        (pipe.args.fd, pipe.args.fd2) = (Some(8), Some(9));
        trace.fork(300, false);
        trace.close(9);
        let began = trace.records.len();
        trace.blocked(Call::Read, 0, 2 * SECOND).args.fd = Some(8);
        let t = trace.t - SECOND / 1000;
        let exit = Exit { t, pid: 300, tid: 300, code: 0, signal: None, call: None, since: None, at: Counters::default() };
        trace.records.insert(began, Record::Exit(exit));
    });
    assert_eq!(waits[0].cause, Cause::Child);
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
fn macros_that_a_milter_does_not_take_are_no_negotiation() {
    let waits = waits(|trace| {
        let sys = trace.blocked(Call::Writev, 20, SECOND);
        of_socket(sys, 4, 60, Proto::Tcp, "10.99.0.3:8891");
        sys.milter = true;
        sys.data = Some(Bytes(vec![0, 0, 0, 9, b'D']));
    });
    assert_eq!(waits[0].milter.as_ref().map(|milter| milter.stage.as_str()), Some("macros"));
}

/// Services that are known by where they listen, and one that is known by what it is asked.
#[test]
fn services_are_known_by_their_addresses() {
    let cause_of = |proto, peer: &str| {
        let waits = waits(|trace| {
            of_socket(trace.call(Call::Connect, 0), 4, 60, proto, peer);
            of_socket(trace.call(Call::Write, 100), 4, 60, proto, peer);
            of_socket(trace.blocked(Call::Read, 50, 50 * MS), 4, 60, proto, peer);
        });
        assert_eq!(waits.len(), 1, "{peer}: {waits:?}");
        assert_eq!(waits[0].target.as_deref(), Some(peer));
        waits[0].cause
    };
    for (peer, cause) in [
        ("10.99.0.3:389", Cause::Ldap),
        ("10.99.0.3:636", Cause::Ldap),
        ("10.99.0.3:3306", Cause::Sql),
        ("10.99.0.3:5432", Cause::Sql),
        ("10.99.0.3:783", Cause::ContentFilter),
        ("10.99.0.3:3310", Cause::ContentFilter),
        ("10.99.0.3:11211", Cause::Map),
        ("10.99.0.3:12345", Cause::Network),
    ] {
        assert_eq!(cause_of(Proto::Tcp, peer), cause, "{peer}");
    }
    for (path, cause) in [
        ("/run/mysqld/mysqld.sock", Cause::Sql),
        ("/var/run/postgresql/.s.PGSQL.5432", Cause::Sql),
        ("/run/slapd/ldapi", Cause::Ldap),
        ("/var/run/clamav/clamd.ctl", Cause::ContentFilter),
        ("/var/run/nscd/socket", Cause::NameService),
        ("/var/lib/sss/pipes/nss", Cause::NameService),
        ("/run/systemd/resolve/io.systemd.Resolve", Cause::NameService),
        ("/var/run/saslauthd/mux", Cause::Sasl),
        // Only Postfix names its services so.
        ("/var/spool/postfix/private/anvil", Cause::Network),
    ] {
        assert_eq!(cause_of(Proto::Unix, path), cause, "{path}");
    }
}

/// A request of Postfix's policy protocol is evidence, also for the connection that was made for it, and for the next one to that endpoint.
#[test]
fn a_policy_service_is_known_by_what_it_is_asked() {
    const PEER: &str = "10.99.0.3:10031";
    let waits = waits(|trace| {
        of_socket(trace.blocked(Call::Connect, 0, 5 * MS), 4, 60, Proto::Tcp, PEER);
        let asked = trace.call(Call::Write, 300);
        asked.policy = true;
        of_socket(asked, 4, 60, Proto::Tcp, PEER);
        let poll = trace.blocked(Call::Poll, 1, 2 * SECOND);
        poll.args.fds = vec![PollFd { fd: 4, events: vec!["POLLIN".into()], revents: vec!["POLLIN".into()] }];
        let asked = trace.call(Call::Read, 14);
        asked.policy = true;
        of_socket(asked, 4, 60, Proto::Tcp, PEER);
        trace.close(4);
        trace.cpu(MS);
        of_socket(trace.blocked(Call::Connect, -110, SECOND), 5, 61, Proto::Tcp, PEER);
    });
    let told: Vec<_> = waits.iter().map(|wait| (wait.cause, wait.target.as_deref(), wait.outcome)).collect();
    assert_eq!(told, [(Cause::Policy, Some(PEER), Outcome::Ok), (Cause::Policy, Some(PEER), Outcome::Timeout)]);
    near(waits[0].elapsed_s, 2.005);
}

fn poll_of(trace: &mut Trace, fd: i32, event: &str, ret: i64, ns: u64, timeout_ns: u64) {
    let poll = trace.blocked(Call::Poll, ret, ns);
    poll.args.fds = vec![PollFd { fd, events: vec![event.into()], revents: vec![] }];
    poll.args.timeout_ns = Some(timeout_ns);
}

/// As Exim begins each connection.
fn fast_open(trace: &mut Trace, fd: i32, inode: u64, peer: &str) {
    let sys = trace.call(Call::Sendto, -115);
    of_socket(sys, fd, inode, Proto::Tcp, peer);
    sys.args.flags = vec!["MSG_DONTWAIT".into(), "MSG_FASTOPEN".into()];
}

#[test]
fn a_call_out_whose_first_segment_is_dropped() {
    let waits = waits(|trace| {
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
    let waits = waits(|trace| {
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
    let waits = waits(|trace| {
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
    let waits = waits(|trace| {
        alarm(trace, 5);
        fast_open(trace, 4, 40, "10.99.0.1:113");
        of_socket(trace.blocked(Call::Sendto, -512, 4999 * MS), 4, 40, Proto::Tcp, "10.99.0.1:113");
    });
    let wait = &waits[0];
    assert_eq!((wait.cause, wait.outcome, wait.timer_s, wait.connected), (Cause::Ident, Outcome::Timeout, Some(5.0), Some(false)));
    assert_eq!((waits.len(), wait.attempts), (1, Some(1)));
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
