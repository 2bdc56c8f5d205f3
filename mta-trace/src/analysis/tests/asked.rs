//! What the processes that an event loop asks were waiting for, and that it is told of whose message they worked off, and of nobody else.

use super::loops::*;
use super::trace::*;
use crate::event::*;
use crate::report::{Cause, Peer, Wait};
use mta_trace_common::syscalls::Call;

/// What another process of the server does, while `pony express` waits.
fn meanwhile(trace: &mut Trace, pid: u32, does: impl FnOnce(&mut Trace)) {
    let pony = std::mem::replace(&mut trace.pid, pid);
    does(trace);
    trace.pid = pony;
}

/// `pony express` comes back from the poll in which it has been since `start`.
fn wake(trace: &mut Trace, start: u64) {
    let sys = trace.call(Call::EpollWait, 1);
    (sys.args.fd, sys.start) = (Some(10), Some(start));
    sys.at_start = Some(sys.at());
}

fn renames(trace: &mut Trace, ns: u64) {
    trace.blocked(Call::Rename, 0, ns).args.path = Some("/incoming/1".into());
}

const OF_QUEUE: (u64, u64) = (TO_QUEUE.1, TO_QUEUE.0);
const OF_LOOKUP: (u64, u64) = (TO_LOOKUP.1, TO_LOOKUP.0);

/// The wait of a MAIL for which `queue` does this.
fn asked_of_queue(does: impl FnOnce(&mut Trace)) -> Wait {
    let mut trace = trace();
    greeted(&mut trace, OURS.0, OURS.1, "10.99.0.1:54712");
    sleep(&mut trace, 50 * MS);
    line(&mut trace, OURS.0, OURS.1, "MAIL FROM:<a@example.com>");
    send(&mut trace, TO_QUEUE, &[(0, MAIL)]);
    let start = trace.t;
    meanwhile(&mut trace, QUEUE, does);
    wake(&mut trace, start);
    receive(&mut trace, TO_QUEUE, &[(0, MAIL)]);
    reply(&mut trace, OURS.0, OURS.1, "250 2.0.0 Ok");
    quit(&mut trace, OURS);
    trace.end();
    let session = trace.session();
    let [wait] = command(&session, "MAIL").waits.as_slice() else { panic!("one wait: {session:#?}") };
    assert_eq!((wait.cause, wait.target.as_deref()), (Cause::Mta, Some("queue")));
    wait.clone()
}

fn told(wait: &Wait) -> Vec<(Cause, Option<&str>, f64)> {
    wait.inner.iter().map(|inner| (inner.cause, inner.target.as_deref(), (inner.elapsed_s * 1000.0).round() / 1000.0)).collect()
}

fn unclear(wait: &Wait) -> Option<&str> {
    wait.peer.as_ref().and_then(|peer| peer.unclear.as_deref())
}

#[test]
fn what_it_waits_for_while_it_works_for_a_session_is_told() {
    let wait = asked_of_queue(|trace| {
        receive(trace, OF_QUEUE, &[(0, MAIL)]);
        renames(trace, 600 * MS);
        send(trace, OF_QUEUE, &[(0, MAIL)]);
        sleep(trace, 10 * MS);
    });
    assert_eq!(told(&wait), [(Cause::FileIo, Some("/incoming/1"), 0.6)]);
    assert_eq!(wait.peer, Some(Peer { pid: QUEUE, comm: "smtpd".into(), path: None, unclear: None, left_out: None }));
}

#[test]
fn what_it_does_for_another_is_not_told() {
    let wait = asked_of_queue(|trace| {
        receive(trace, OF_QUEUE, &[(0, OTHER)]);
        renames(trace, 600 * MS);
        receive(trace, OF_QUEUE, &[(0, MAIL)]);
        send(trace, OF_QUEUE, &[(0, MAIL)]);
    });
    assert_eq!((told(&wait), unclear(&wait)), (Vec::new(), Some("it serves others too: for which of them it waited is not known")));
}

/// Two sessions, both of them traced: each one's waits stand in its own.
#[test]
fn what_it_does_for_another_session_stands_there() {
    let mut trace = trace();
    let theirs = (14, 5001);
    greeted(&mut trace, OURS.0, OURS.1, "10.99.0.1:54712");
    greeted(&mut trace, theirs.0, theirs.1, "10.99.0.1:54713");
    for ((fd, inode), id) in [(OURS, MAIL), (theirs, OTHER)] {
        sleep(&mut trace, 50 * MS);
        line(&mut trace, fd, inode, "MAIL FROM:<a@example.com>");
        send(&mut trace, TO_QUEUE, &[(0, id)]);
        receive(&mut trace, TO_QUEUE, &[(0, id)]);
        reply(&mut trace, fd, inode, "250 2.0.0 Ok");
    }
    for ((fd, inode), id) in [(OURS, MAIL), (theirs, OTHER)] {
        sleep(&mut trace, 50 * MS);
        line(&mut trace, fd, inode, "RCPT TO:<b@example.net>");
        send(&mut trace, TO_QUEUE, &[(0, id)]);
    }
    let start = trace.t;
    meanwhile(&mut trace, QUEUE, |trace| {
        receive(trace, OF_QUEUE, &[(0, MAIL)]);
        send(trace, OF_QUEUE, &[(0, MAIL)]);
        receive(trace, OF_QUEUE, &[(0, OTHER)]);
        renames(trace, 600 * MS);
        send(trace, OF_QUEUE, &[(0, OTHER)]);
    });
    wake(&mut trace, start);
    for ((fd, inode), id) in [(OURS, MAIL), (theirs, OTHER)] {
        receive(&mut trace, TO_QUEUE, &[(0, id)]);
        reply(&mut trace, fd, inode, "250 2.1.5 Ok");
    }
    quit(&mut trace, OURS);
    trace.end();
    let (report, _) = trace.report();
    let wait_of = |client: &str| {
        let session = report.sessions.iter().find(|session| session.client == client).expect("a session");
        command(session, "RCPT").waits.iter().max_by(|a, b| a.elapsed_s.total_cmp(&b.elapsed_s)).expect("a wait").clone()
    };
    let (ours, theirs) = (wait_of("10.99.0.1:54712"), wait_of("10.99.0.1:54713"));
    assert_eq!((told(&ours), unclear(&ours)), (Vec::new(), Some("it was at work for another session")));
    assert_eq!((told(&theirs), unclear(&theirs)), (vec![(Cause::FileIo, Some("/incoming/1"), 0.6)], None));
}

/// A message may be among what was lost, and with it for whom it works.
#[test]
fn nothing_is_told_where_something_is_missing() {
    let wait = asked_of_queue(|trace| {
        receive(trace, OF_QUEUE, &[(0, MAIL)]);
        trace.records.push(Record::Loss(Loss { t: trace.t, ring: 1, ..Loss::default() }));
        renames(trace, 600 * MS);
        send(trace, OF_QUEUE, &[(0, MAIL)]);
    });
    assert_eq!((told(&wait), &wait.peer), (Vec::new(), &None));
}

#[test]
fn what_it_does_behind_its_answer_is_nobodys() {
    let wait = asked_of_queue(|trace| {
        receive(trace, OF_QUEUE, &[(0, MAIL)]);
        send(trace, OF_QUEUE, &[(0, MAIL)]);
        renames(trace, 600 * MS);
    });
    assert_eq!(told(&wait), []);
}

/// With `fentry` the end of a poll may be untold.
#[test]
fn a_poll_that_was_not_told_ends_its_work() {
    let wait = asked_of_queue(|trace| {
        receive(trace, OF_QUEUE, &[(0, MAIL)]);
        trace.untold(Call::EpollWait, 10 * MS);
        renames(trace, 600 * MS);
    });
    assert_eq!(told(&wait), []);
}

#[test]
fn messages_of_two_that_came_together_are_nobodys() {
    let wait = asked_of_queue(|trace| {
        receive(trace, OF_QUEUE, &[(0, MAIL), (0, OTHER)]);
        renames(trace, 600 * MS);
        send(trace, OF_QUEUE, &[(0, MAIL)]);
    });
    assert_eq!(told(&wait), []);
}

#[test]
fn without_chains_nothing_of_it_is_told() {
    let wait = asked_of_queue(|trace| {
        if let Some(Record::Header(header)) = trace.records.first_mut() {
            header.no_chains = true;
        }
        receive(trace, OF_QUEUE, &[(0, MAIL)]);
        renames(trace, 600 * MS);
        send(trace, OF_QUEUE, &[(0, MAIL)]);
    });
    assert_eq!((told(&wait), &wait.peer), (Vec::new(), &None));
}

/// Its loop may have had another event in the same go: something of its own that had come before.
#[test]
fn what_follows_another_event_is_nobodys() {
    let of = |is_its_own: bool| {
        asked_of_queue(|trace| {
            receive(trace, OF_QUEUE, &[(0, MAIL)]);
            let resolver = socket(99, Proto::Unix);
            if is_its_own {
                let sys = trace.call(Call::Connect, 0);
                (sys.args.fd, sys.socket) = (Some(20), Some(resolver.clone()));
            }
            let sys = trace.call(Call::Read, 8);
            (sys.args.fd, sys.socket) = (Some(20), Some(resolver));
            renames(trace, 600 * MS);
            send(trace, OF_QUEUE, &[(0, MAIL)]);
        })
    };
    assert_eq!(told(&of(false)), []);
    assert_eq!(told(&of(true)), [(Cause::FileIo, Some("/incoming/1"), 0.6)]);
}

/// OpenSMTPD's tables (table-ldap) speak its own protocol: `lookup` blocks until such a program has answered, and goes on for the same session.
#[test]
fn an_answer_that_it_blocks_for_is_no_question() {
    let wait = asked_of_queue(|trace| {
        receive(trace, OF_QUEUE, &[(0, MAIL)]);
        let answer = trace.blocked(Call::Recvmsg, 20, 200 * MS);
        (answer.args.fd, answer.socket) = (Some(12), Some(SocketId { peer_inode: Some(98), ..socket(99, Proto::Unix) }));
        answer.messages = vec![Message { kind: 0, len: 20, peer: 0, pid: QUEUE, id: 0 }];
        renames(trace, 400 * MS);
        send(trace, OF_QUEUE, &[(0, MAIL)]);
    });
    assert_eq!(told(&wait), [(Cause::FileIo, Some("/incoming/1"), 0.4)]);
}

/// In its poll it waits for everybody, and behind it for whoever comes.
#[test]
fn what_it_waits_for_in_its_loop_is_not_told() {
    let wait = asked_of_queue(|trace| {
        receive(trace, OF_QUEUE, &[(0, MAIL)]);
        sleep(trace, 300 * MS);
        renames(trace, 300 * MS);
        send(trace, OF_QUEUE, &[(0, MAIL)]);
    });
    assert_eq!(told(&wait), []);
}

/// `lookup` is asked, and `queue` answers: what that one waited for stands in it.
#[test]
fn a_question_that_is_passed_on_is_followed() {
    let mut trace = trace();
    greeted(&mut trace, OURS.0, OURS.1, "10.99.0.1:54712");
    sleep(&mut trace, 50 * MS);
    line(&mut trace, OURS.0, OURS.1, "MAIL FROM:<a@example.com>");
    send(&mut trace, TO_QUEUE, &[(0, MAIL)]);
    receive(&mut trace, TO_QUEUE, &[(0, MAIL)]);
    reply(&mut trace, OURS.0, OURS.1, "250 2.0.0 Ok");
    sleep(&mut trace, 50 * MS);
    line(&mut trace, OURS.0, OURS.1, "RCPT TO:<b@example.net>");
    send(&mut trace, TO_LOOKUP, &[(0, MAIL)]);
    let start = trace.t;
    meanwhile(&mut trace, LOOKUP, |trace| {
        receive(trace, OF_LOOKUP, &[(0, MAIL)]);
        trace.blocked(Call::Openat, 5, 20 * MS).args.path = Some("/etc/aliases".into());
    });
    meanwhile(&mut trace, QUEUE, |trace| {
        receive(trace, OF_QUEUE, &[(0, MAIL)]);
        renames(trace, 600 * MS);
        send(trace, OF_QUEUE, &[(0, MAIL)]);
    });
    wake(&mut trace, start);
    receive(&mut trace, TO_QUEUE, &[(0, MAIL)]);
    reply(&mut trace, OURS.0, OURS.1, "250 2.1.5 Ok");
    quit(&mut trace, OURS);
    trace.end();
    let session = trace.session();
    let [wait] = command(&session, "RCPT").waits.as_slice() else { panic!("one wait: {session:#?}") };
    assert_eq!(told(wait), [(Cause::FileIo, Some("/etc/aliases"), 0.02), (Cause::Mta, Some("queue"), 0.6)]);
    let [_, passed_on] = wait.inner.as_slice() else { panic!("two") };
    assert_eq!(told(passed_on), [(Cause::FileIo, Some("/incoming/1"), 0.6)]);
    assert_eq!(passed_on.peer.as_ref().map(|peer| peer.pid), Some(QUEUE));
}
