//! Event loops: what is told of a session, and that nothing of another one is, however the loop mixes what it does.

use super::trace::*;
use crate::event::*;
use crate::report::{Cause, Command, Session, SessionEnd};
use mta_trace_common::syscalls::Call;

pub(super) const PONY: u32 = 300;
pub(super) const LOOKUP: u32 = 301;
pub(super) const QUEUE: u32 = 302;
/// Sockets between them: the end in `pony express`, the other end.
pub(super) const TO_LOOKUP: (u64, u64) = (71, 17);
pub(super) const TO_QUEUE: (u64, u64) = (81, 18);

pub(super) const MAIL: u64 = 0x1111_2222_3333_4444;
pub(super) const OTHER: u64 = 0x5555_6666_7777_8888;

/// OpenSMTPD's processes, none of which has anything to do.
pub(super) fn trace() -> Trace {
    let mut trace = Trace::empty();
    trace.records.clear();
    let mut header = header();
    header.target = Target {
        mta: "opensmtpd".into(),
        exe: "/usr/sbin/smtpd".into(),
        mta_version: None,
        listening: vec![endpoint("10.99.0.2:25")],
        ..header.target
    };
    trace.records.push(Record::Header(Box::new(header)));
    for (pid, service) in [(PONY, "pony express"), (LOOKUP, "lookup"), (QUEUE, "queue")] {
        let seed =
            SeedProc { service: Some(service.into()), exe: "/usr/sbin/smtpd".into(), comm: "smtpd".into(), ..seed_process(pid, DAEMON, "loop") };
        trace.records.push(Record::SeedProc(seed));
    }
    for (pid, fd, inode) in [(PONY, 7, TO_LOOKUP.0), (PONY, 8, TO_QUEUE.0), (LOOKUP, 6, TO_LOOKUP.1), (QUEUE, 6, TO_QUEUE.1)] {
        let socket = Some(socket(inode, Proto::Unix));
        trace.records.push(Record::SeedFd(SeedFd { pid, fd, path: None, socket, client: false }));
    }
    trace.pid = PONY;
    trace
}

pub(super) fn sleep(trace: &mut Trace, ns: u64) {
    let sys = trace.blocked(Call::EpollWait, 1, ns);
    sys.args.fd = Some(10);
}

/// Messages that pony express sends or receives.
pub(super) fn messages(trace: &mut Trace, call: Call, (inode, other): (u64, u64), heads: &[(u32, u64)]) {
    trace.cpu(10_000);
    let sys = trace.call(call, 100);
    sys.args.fd = Some(if inode == TO_LOOKUP.0 { 7 } else { 8 });
    sys.socket = Some(SocketId { peer_inode: Some(other), ..socket(inode, Proto::Unix) });
    sys.messages = heads.iter().map(|&(peer, id)| Message { kind: 108, len: 24, peer, pid: PONY, id }).collect();
}

pub(super) fn send(trace: &mut Trace, to: (u64, u64), heads: &[(u32, u64)]) {
    messages(trace, Call::Sendmsg, to, heads);
}

pub(super) fn receive(trace: &mut Trace, from: (u64, u64), heads: &[(u32, u64)]) {
    messages(trace, Call::Recvmsg, from, heads);
}

/// A client's line, of whichever session.
pub(super) fn line(trace: &mut Trace, fd: i32, inode: u64, text: &str) {
    trace.cpu(10_000);
    let sys = trace.line(&format!("{text}\r\n"));
    sys.args.fd = Some(fd);
    sys.socket = Some(socket(inode, Proto::Tcp));
}

pub(super) fn reply(trace: &mut Trace, fd: i32, inode: u64, text: &str) {
    trace.cpu(10_000);
    let sys = trace.reply(&format!("{text}\r\n"));
    sys.args.fd = Some(fd);
    sys.socket = Some(socket(inode, Proto::Tcp));
}

fn accept(trace: &mut Trace, fd: i64, inode: u64, peer: &str) {
    trace.cpu(10_000);
    let sys = trace.accept(inode, peer);
    (sys.ret, sys.args.fd) = (fd, Some(9));
}

/// Somebody whose session is not wanted, accepted or heard.
fn stranger_comes(trace: &mut Trace, fd: i64, inode: u64) {
    accept(trace, fd, inode, "10.99.0.4:40000");
    if let Some(Record::Sys(sys)) = trace.records.last_mut() {
        sys.matched = Some(false);
    }
}

/// Of whoever is no session of ours only that something came or went.
fn stranger_speaks(trace: &mut Trace, fd: i32, inode: u64) {
    trace.cpu(10_000);
    let sys = trace.call(Call::Read, 20);
    (sys.args.fd, sys.socket, sys.peer) = (Some(fd), Some(socket(inode, Proto::Tcp)), Some(endpoint("10.99.0.4:40000")));
}

pub(super) const OURS: (i32, u64) = (13, 5000);

pub(super) fn greeted(trace: &mut Trace, fd: i32, inode: u64, peer: &str) {
    accept(trace, fd.into(), inode, peer);
    reply(trace, fd, inode, "220 mx ESMTP OpenSMTPD");
}

pub(super) fn quit(trace: &mut Trace, (fd, inode): (i32, u64)) {
    sleep(trace, 2 * MS);
    line(trace, fd, inode, "QUIT");
    reply(trace, fd, inode, "221 2.0.0 Bye");
    trace.close(fd);
}

pub(super) fn only_wait(command: &Command) -> (Cause, Option<&str>, f64) {
    let [wait] = command.waits.as_slice() else { panic!("one wait: {command:#?}") };
    (wait.cause, wait.target.as_deref(), wait.elapsed_s)
}

fn of<'a>(sessions: &'a [Session], client: &str) -> &'a Session {
    sessions.iter().find(|session| session.client == client).expect("session")
}

#[test]
fn what_it_asked_is_what_it_waits_for() {
    let mut trace = trace();
    greeted(&mut trace, OURS.0, OURS.1, "10.99.0.1:54712");
    sleep(&mut trace, 50 * MS);
    line(&mut trace, OURS.0, OURS.1, "MAIL FROM:<a@example.com>");
    send(&mut trace, TO_QUEUE, &[(0, MAIL)]);
    sleep(&mut trace, 700 * MS);
    receive(&mut trace, TO_QUEUE, &[(0, MAIL)]);
    reply(&mut trace, OURS.0, OURS.1, "250 2.0.0 Ok");
    quit(&mut trace, OURS);
    trace.end();
    let session = trace.session();
    let (cause, target, elapsed_s) = only_wait(command(&session, "MAIL"));
    assert_eq!((cause, target), (Cause::Mta, Some("queue")));
    assert!((elapsed_s - 0.7).abs() < 0.001, "{elapsed_s}");
    assert!(session.complete);
}

#[test]
fn what_nobody_can_attribute_is_unknown() {
    let mut trace = trace();
    greeted(&mut trace, OURS.0, OURS.1, "10.99.0.1:54712");
    sleep(&mut trace, 50 * MS);
    line(&mut trace, OURS.0, OURS.1, "MAIL FROM:<a@example.com>");
    sleep(&mut trace, 700 * MS);
    reply(&mut trace, OURS.0, OURS.1, "250 2.0.0 Ok");
    quit(&mut trace, OURS);
    trace.end();
    let session = trace.session();
    let (cause, target, elapsed_s) = only_wait(command(&session, "MAIL"));
    assert_eq!((cause, target), (Cause::Unknown, None));
    assert!((elapsed_s - 0.7).abs() < 0.001, "{elapsed_s}");
    assert!(command(&session, "MAIL").absent.is_empty());
}

/// Two lines are read before anything is sent: which of the two messages belongs to which session nobody knows.
#[test]
fn two_in_one_turn_are_not_told_apart_by_a_guess() {
    const SECOND_CLIENT: (i32, u64) = (14, 5001);
    let mut trace = trace();
    greeted(&mut trace, OURS.0, OURS.1, "10.99.0.1:54712");
    greeted(&mut trace, SECOND_CLIENT.0, SECOND_CLIENT.1, "10.99.0.1:54713");
    sleep(&mut trace, 50 * MS);
    line(&mut trace, OURS.0, OURS.1, "MAIL FROM:<a@example.com>");
    line(&mut trace, SECOND_CLIENT.0, SECOND_CLIENT.1, "MAIL FROM:<b@example.com>");
    send(&mut trace, TO_QUEUE, &[(0, MAIL)]);
    send(&mut trace, TO_LOOKUP, &[(0, OTHER)]);
    sleep(&mut trace, 100 * MS);
    receive(&mut trace, TO_LOOKUP, &[(0, OTHER)]);
    reply(&mut trace, SECOND_CLIENT.0, SECOND_CLIENT.1, "250 2.0.0 Ok");
    sleep(&mut trace, 600 * MS);
    receive(&mut trace, TO_QUEUE, &[(0, MAIL)]);
    reply(&mut trace, OURS.0, OURS.1, "250 2.0.0 Ok");
    quit(&mut trace, OURS);
    quit(&mut trace, SECOND_CLIENT);
    trace.end();
    let (report, _) = trace.report();
    let waits = |client| only_wait(command(of(&report.sessions, client), "MAIL"));
    // Their answers came right before their replies, but so they may have for others.
    assert_ne!((waits("10.99.0.1:54712").0, waits("10.99.0.1:54712").1), (Cause::Mta, Some("lookup")));
    assert_ne!((waits("10.99.0.1:54713").0, waits("10.99.0.1:54713").1), (Cause::Mta, Some("queue")));
}

/// A client whose session is not wanted, and who has long been there, asks the queue while ours has not asked it yet.
#[test]
fn what_a_stranger_asked_is_not_ours() {
    let mut trace = trace();
    stranger_comes(&mut trace, 20, 6000);
    send(&mut trace, TO_QUEUE, &[(0, OTHER)]);
    sleep(&mut trace, MS);
    receive(&mut trace, TO_QUEUE, &[(0, OTHER)]);
    send(&mut trace, TO_QUEUE, &[(0, OTHER)]);
    greeted(&mut trace, OURS.0, OURS.1, "10.99.0.1:54712");
    sleep(&mut trace, 50 * MS);
    line(&mut trace, OURS.0, OURS.1, "EHLO client");
    reply(&mut trace, OURS.0, OURS.1, "250 mx");
    sleep(&mut trace, 50 * MS);
    stranger_speaks(&mut trace, 20, 6000);
    send(&mut trace, TO_QUEUE, &[(0, OTHER)]);
    sleep(&mut trace, 5 * MS);
    receive(&mut trace, TO_QUEUE, &[(0, OTHER)]);
    sleep(&mut trace, 5 * MS);
    line(&mut trace, OURS.0, OURS.1, "MAIL FROM:<a@example.com>");
    send(&mut trace, TO_QUEUE, &[(0, MAIL)]);
    sleep(&mut trace, 5 * MS);
    stranger_speaks(&mut trace, 20, 6000);
    send(&mut trace, TO_LOOKUP, &[(0, OTHER)]);
    sleep(&mut trace, 300 * MS);
    receive(&mut trace, TO_QUEUE, &[(0, MAIL)]);
    reply(&mut trace, OURS.0, OURS.1, "250 2.0.0 Ok");
    sleep(&mut trace, 300 * MS);
    receive(&mut trace, TO_LOOKUP, &[(0, OTHER)]);
    quit(&mut trace, OURS);
    trace.end();
    let session = trace.session();
    let (cause, target, elapsed_s) = only_wait(command(&session, "MAIL"));
    assert_eq!((cause, target), (Cause::Mta, Some("queue")));
    assert!((elapsed_s - 0.305).abs() < 0.001, "{elapsed_s}");
    assert!(session.between.is_empty(), "{:?}", session.between);
}

/// A message that nothing has come before since the loop woke is a timer's: a delivery's, perhaps.
#[test]
fn what_a_timer_sent_is_not_ours() {
    let mut trace = trace();
    greeted(&mut trace, OURS.0, OURS.1, "10.99.0.1:54712");
    sleep(&mut trace, 50 * MS);
    line(&mut trace, OURS.0, OURS.1, "NOOP");
    sleep(&mut trace, 100 * MS);
    send(&mut trace, TO_QUEUE, &[(0, OTHER)]);
    sleep(&mut trace, 100 * MS);
    receive(&mut trace, TO_QUEUE, &[(0, OTHER)]);
    sleep(&mut trace, 500 * MS);
    reply(&mut trace, OURS.0, OURS.1, "250 2.0.0 Ok");
    quit(&mut trace, OURS);
    trace.end();
    let session = trace.session();
    let noop = command(&session, "NOOP");
    assert!(noop.waits.iter().all(|wait| wait.cause == Cause::Unknown), "{noop:#?}");
}

/// The loop's own time is nobody's.
#[test]
fn its_time_on_a_processor_is_not_shared_out() {
    let mut trace = trace();
    greeted(&mut trace, OURS.0, OURS.1, "10.99.0.1:54712");
    greeted(&mut trace, 14, 5001, "10.99.0.1:54713");
    sleep(&mut trace, 50 * MS);
    line(&mut trace, OURS.0, OURS.1, "NOOP");
    trace.cpu(400 * MS);
    reply(&mut trace, 14, 5001, "421 bye");
    reply(&mut trace, OURS.0, OURS.1, "250 2.0.0 Ok");
    quit(&mut trace, OURS);
    trace.end();
    let (report, _) = trace.report();
    let noop = command(of(&report.sessions, "10.99.0.1:54712"), "NOOP");
    near(noop.cpu_s, 0.0);
    assert!(noop.unexplained_s > 0.4, "{noop:#?}");
}

/// It ends, and with it all that it served.
#[test]
fn all_sessions_end_with_the_process() {
    let mut trace = trace();
    greeted(&mut trace, OURS.0, OURS.1, "10.99.0.1:54712");
    greeted(&mut trace, 14, 5001, "10.99.0.1:54713");
    sleep(&mut trace, 50 * MS);
    trace.exit(Some(9));
    trace.end();
    let (report, _) = trace.report();
    assert_eq!(report.sessions.iter().map(|session| session.end).collect::<Vec<_>>(), [SessionEnd::Killed, SessionEnd::Killed]);
}

/// Messages that could not be looked at may be another session's: what the loop does next has no certain cause.
#[test]
fn regress_a_receive_that_was_cut_may_be_somebody_elses() {
    let of = |is_cut: bool| {
        let mut trace = trace();
        greeted(&mut trace, OURS.0, OURS.1, "10.99.0.1:54712");
        sleep(&mut trace, 50 * MS);
        line(&mut trace, OURS.0, OURS.1, "MAIL FROM:<a@example.com>");
        if is_cut {
            receive(&mut trace, TO_LOOKUP, &[]);
            if let Some(Record::Sys(sys)) = trace.records.last_mut() {
                sys.cut = true;
            }
        }
        send(&mut trace, TO_QUEUE, &[(0, MAIL)]);
        sleep(&mut trace, 700 * MS);
        receive(&mut trace, TO_QUEUE, &[(0, MAIL)]);
        reply(&mut trace, OURS.0, OURS.1, "250 2.0.0 Ok");
        quit(&mut trace, OURS);
        trace.end();
        only_wait(command(&trace.session(), "MAIL")).0
    };
    assert_eq!((of(false), of(true)), (Cause::Mta, Cause::Unknown));
}
