//! Chains: what the process at the far end of a wait was itself waiting for.

use super::trace::*;
use crate::event::*;
use crate::report::{Cause, Outcome, Wait};
use mta_trace_common::syscalls::Call;

const HELPER: u32 = 300;
const FURTHER: u32 = 400;
const OWN_END: u64 = 40;
const FAR_END: u64 = 41;
const SERVER: &str = "192.0.2.53:53";

fn helper(trace: &mut Trace, pid: u32, waiter: u32, (inode, peer_inode): (u64, u64), connections: u32) {
    let helper = Helper {
        t: trace.t,
        pid,
        comm: "opendkim".into(),
        exe: "/usr/sbin/opendkim".into(),
        waiter,
        inode,
        peer_inode,
        endpoint: Some(endpoint("/run/milter")),
        connections,
    };
    trace.records.push(Record::Helper(helper));
}

/// A thread of the helper reads a request, or answers one.
fn transfers(trace: &mut Trace, call: Call, inode: u64) {
    let fd = i32::try_from(inode).expect("small");
    let sys = trace.call(call, 5);
    sys.args.fd = Some(fd);
    sys.socket = Some(socket(inode, Proto::Unix));
}

/// A session's wait of 3 s for a service at a unix path; meanwhile, 60 ms after its beginning, `far` tells what the helper does.
fn wait_for(far: impl FnOnce(&mut Trace)) -> Wait {
    let mut trace = Trace::greeted();
    trace.line("RCPT TO:<a@example.com>\r\n");
    let begin = trace.t;
    trace.t = begin + 60 * MS;
    trace.pid = HELPER;
    far(&mut trace);
    (trace.t, trace.pid) = (begin, CHILD);
    let sys = trace.blocked(Call::Read, 5, 3 * SECOND);
    sys.args.fd = Some(7);
    sys.socket = Some(socket(OWN_END, Proto::Unix));
    sys.peer = Some(endpoint("/run/milter"));
    trace.reply("250 ok\r\n");
    trace.quit();
    let session = trace.session();
    let waits = &command(&session, "RCPT").waits;
    assert_eq!(waits.len(), 1);
    near(waits[0].elapsed_s, 3.0);
    waits[0].clone()
}

fn unclear(wait: &Wait) -> Option<&str> {
    wait.peer.as_ref()?.unclear.as_deref()
}

#[test]
fn the_far_ends_wait_stands_inside() {
    let wait = wait_for(|trace| {
        helper(trace, HELPER, CHILD, (OWN_END, FAR_END), 1);
        trace.lookup(7, "s1._domainkey.example.com", 16, 2 * SECOND);
        transfers(trace, Call::Write, FAR_END);
    });
    let peer = wait.peer.as_ref().expect("peer");
    assert_eq!((peer.pid, peer.comm.as_str(), peer.path.as_deref()), (HELPER, "opendkim", Some("/run/milter")));
    assert_eq!(unclear(&wait), None);
    let [inner] = wait.inner.as_slice() else { panic!("{:#?}", wait.inner) };
    assert_eq!((inner.cause, inner.outcome), (Cause::Dns, Outcome::Ok));
    assert_eq!(inner.dns.as_ref().map(|dns| (dns.qname.as_str(), dns.qtype.as_str())), Some(("s1._domainkey.example.com", "TXT")));
    near(inner.elapsed_s, 2.0);
    near(inner.start_s - wait.start_s, 0.06);
}

#[test]
fn what_is_not_over_when_the_session_goes_on_is_cut_there() {
    let wait = wait_for(|trace| {
        helper(trace, HELPER, CHILD, (OWN_END, FAR_END), 1);
        transfers(trace, Call::Read, FAR_END);
        trace.udp(4, 90, SERVER);
        trace.ask(4, 90, SERVER, 7, "example.com", 1);
        let (t, at) = (trace.t, Counters::default());
        let args = Args { fds: vec![PollFd { fd: 4, events: vec!["POLLIN".into()], revents: vec![] }], ..Args::default() };
        trace.records.push(Record::Block(Box::new(Block {
            t: t + 50 * MS,
            pid: HELPER,
            tid: HELPER,
            nr: 7,
            call: Some("poll".into()),
            since: t,
            cause: None,
            unfinished: true,
            args: Some(args),
            at,
            at_start: Some(at),
            socket: None,
            peer: None,
        })));
    });
    let [inner] = wait.inner.as_slice() else { panic!("{:#?}", wait.inner) };
    assert_eq!((inner.cause, inner.outcome), (Cause::Dns, Outcome::Unfinished));
    near(inner.elapsed_s, 2.94);
}

#[test]
fn work_for_another_connection_is_not_mixed_in() {
    let wait = wait_for(|trace| {
        helper(trace, HELPER, CHILD, (OWN_END, FAR_END), 2);
        helper(trace, HELPER, 999, (50, 51), 2);
        transfers(trace, Call::Read, 51);
        trace.lookup(7, "other.example", 1, 2 * SECOND);
        transfers(trace, Call::Write, 51);
    });
    assert!(wait.inner.is_empty(), "{:#?}", wait.inner);
    assert_eq!(unclear(&wait), Some("it was at work for another connection"));
}

#[test]
fn of_two_connections_each_has_its_own_waits() {
    let wait = wait_for(|trace| {
        helper(trace, HELPER, CHILD, (OWN_END, FAR_END), 2);
        helper(trace, HELPER, 999, (50, 51), 2);
        transfers(trace, Call::Read, 51);
        trace.lookup(7, "other.example", 1, SECOND);
        transfers(trace, Call::Write, 51);
        transfers(trace, Call::Read, FAR_END);
        trace.lookup(8, "own.example", 1, SECOND);
        transfers(trace, Call::Write, FAR_END);
    });
    let [inner] = wait.inner.as_slice() else { panic!("{:#?}", wait.inner) };
    assert_eq!(inner.dns.as_ref().map(|dns| dns.qname.as_str()), Some("own.example"));
}

#[test]
fn where_requests_cannot_be_told_apart_that_is_said() {
    let wait = wait_for(|trace| {
        helper(trace, HELPER, CHILD, (OWN_END, FAR_END), 3);
        trace.lookup(7, "whose.example", 1, 2 * SECOND);
    });
    assert!(wait.inner.is_empty(), "{:#?}", wait.inner);
    assert_eq!(unclear(&wait), Some("it serves other connections too: for which of them it waited is not known"));
}

/// What it was at work for when it was found is told by its answer.
#[test]
fn the_answer_tells_for_whom_it_was() {
    let wait = wait_for(|trace| {
        helper(trace, HELPER, CHILD, (OWN_END, FAR_END), 3);
        trace.lookup(7, "own.example", 1, 2 * SECOND);
        transfers(trace, Call::Write, FAR_END);
    });
    assert_eq!(wait.inner.len(), 1);
    assert_eq!(unclear(&wait), None);
}

#[test]
fn waiting_to_be_asked_explains_nothing() {
    let wait = wait_for(|trace| {
        helper(trace, HELPER, CHILD, (OWN_END, FAR_END), 1);
        let sys = trace.blocked(Call::Read, 5, SECOND);
        sys.args.fd = Some(9);
        sys.socket = Some(socket(FAR_END, Proto::Unix));
        trace.blocked(Call::EpollWait, 1, SECOND).args.fd = Some(6);
    });
    assert!(wait.inner.is_empty(), "{:#?}", wait.inner);
}

/// As `opendkim`: the thread that is asked waits for a resolver's thread, which sleeps in an event loop.
#[test]
fn a_question_of_another_thread_counts_while_the_asked_one_waits() {
    let wait = wait_for(|trace| {
        helper(trace, HELPER, CHILD, (OWN_END, FAR_END), 1);
        let begin = trace.t;
        let resolver = |trace: &mut Trace, id| {
            trace.udp(4, 90, SERVER);
            trace.ask(4, 90, SERVER, id, "s1._domainkey.example.com", 16);
            trace.blocked(Call::EpollWait, 0, SECOND).args.fd = Some(6);
        };
        let first = trace.records.len();
        // Another id each time, as libunbound has it.
        resolver(trace, 7);
        resolver(trace, 8);
        for record in trace.records.iter_mut().skip(first) {
            if let Record::Sys(sys) = record {
                sys.tid = HELPER + 1;
            }
        }
        trace.t = begin;
        trace.blocked(Call::Pselect6, 0, 2100 * MS).args.timeout_ns = None;
        transfers(trace, Call::Write, FAR_END);
    });
    let [inner] = wait.inner.as_slice() else { panic!("{:#?}", wait.inner) };
    assert_eq!((inner.cause, inner.attempts, inner.outcome), (Cause::Dns, Some(2), Outcome::Unfinished));
}

#[test]
fn chains_go_on_to_a_depth_of_three() {
    let wait = wait_for(|trace| {
        helper(trace, HELPER, CHILD, (OWN_END, FAR_END), 1);
        let begin = trace.t;
        trace.pid = FURTHER;
        helper(trace, FURTHER, HELPER, (60, 61), 1);
        trace.lookup(7, "deep.example", 1, 2 * SECOND);
        transfers(trace, Call::Write, 61);
        (trace.t, trace.pid) = (begin, HELPER);
        let sys = trace.blocked(Call::Read, 5, 2500 * MS);
        sys.args.fd = Some(8);
        sys.socket = Some(socket(60, Proto::Unix));
        transfers(trace, Call::Write, FAR_END);
    });
    let [second] = wait.inner.as_slice() else { panic!("{:#?}", wait.inner) };
    // That descriptor came from elsewhere: who is there, the link tells.
    assert_eq!((second.cause, second.target.as_deref()), (Cause::Network, Some("/run/milter")));
    let [third] = second.inner.as_slice() else { panic!("{:#?}", second.inner) };
    assert_eq!(third.dns.as_ref().map(|dns| dns.qname.as_str()), Some("deep.example"));
    near(third.elapsed_s, 2.0);
}

#[test]
fn who_is_released_explains_nothing_any_more() {
    let wait = wait_for(|trace| {
        helper(trace, HELPER, CHILD, (OWN_END, FAR_END), 1);
        trace.lookup(7, "own.example", 1, SECOND);
        trace.records.push(Record::Release(Release { t: trace.t, pid: HELPER }));
    });
    assert!(wait.inner.is_empty() && wait.peer.is_none());
}

/// An event loop that has read from two connections and answered neither: whose look-up it is cannot be told.
#[test]
fn between_two_questions_nobody_owns_a_wait() {
    let wait = wait_for(|trace| {
        helper(trace, HELPER, CHILD, (OWN_END, FAR_END), 2);
        helper(trace, HELPER, 999, (50, 51), 2);
        transfers(trace, Call::Read, 51);
        transfers(trace, Call::Read, FAR_END);
        trace.lookup(7, "other.example", 1, 2 * SECOND);
        transfers(trace, Call::Write, 51);
        transfers(trace, Call::Write, FAR_END);
    });
    assert!(wait.inner.is_empty(), "{:#?}", wait.inner);
    assert_eq!(unclear(&wait), Some("it serves other connections too: for which of them it waited is not known"));
}

#[test]
fn one_that_dies_before_it_answers_still_explains() {
    let wait = wait_for(|trace| {
        helper(trace, HELPER, CHILD, (OWN_END, FAR_END), 1);
        transfers(trace, Call::Read, FAR_END);
        trace.lookup(7, "own.example", 1, 2 * SECOND);
        trace.exit(Some(9));
    });
    assert_eq!(wait.inner.len(), 1, "{wait:#?}");
}

/// A child of the helper has inherited the connection: it is not the one who answers.
#[test]
fn of_two_holders_the_one_who_answers_is_meant() {
    let both = |answers: bool| {
        wait_for(|trace| {
            helper(trace, HELPER, CHILD, (OWN_END, FAR_END), 1);
            helper(trace, FURTHER, CHILD, (OWN_END, FAR_END), 1);
            trace.lookup(7, "own.example", 1, 2 * SECOND);
            if answers {
                transfers(trace, Call::Write, FAR_END);
            }
        })
    };
    let wait = both(true);
    assert_eq!((wait.peer.as_ref().map(|peer| peer.pid), wait.inner.len()), (Some(HELPER), 1));
    let wait = both(false);
    assert_eq!((unclear(&wait), wait.inner.len()), (Some("several processes have the other end: which of them answers is not known"), 0));
}

const RESOLVER: &str = "127.0.0.1:53";

/// A look-up of 3 s that a resolver on this machine answers; `far` tells what the resolver does from 60 ms on.
fn look_up(far: impl FnOnce(&mut Trace)) -> Wait {
    let mut trace = Trace::greeted();
    trace.line("MAIL FROM:<a@mail.example.com>\r\n");
    trace.udp(7, OWN_END, RESOLVER);
    trace.ask(7, OWN_END, RESOLVER, 5, "mail.example.com", 1);
    let begin = trace.t;
    trace.t = begin + 60 * MS;
    helper_at(&mut trace, RESOLVER);
    trace.pid = HELPER;
    far(&mut trace);
    (trace.t, trace.pid) = (begin, CHILD);
    trace.poll(7, 1, 3 * SECOND);
    trace.answer(7, OWN_END, RESOLVER, 5, 0, "mail.example.com", 1);
    trace.reply("250 ok\r\n");
    trace.quit();
    let session = trace.session();
    let waits = &command(&session, "MAIL").waits;
    assert_eq!(waits.len(), 1);
    near(waits[0].elapsed_s, 3.0);
    waits[0].clone()
}

fn helper_at(trace: &mut Trace, address: &str) {
    trace.records.push(super::trace::helper(HELPER, CHILD, address));
}

/// It asks a server, or is answered by one, over a socket that is connected.
fn connected(sys: &mut Sys) {
    let id = sys.socket.as_mut().expect("a socket");
    id.local = Some(endpoint("192.0.2.1:40000"));
}

#[test]
fn a_resolvers_question_explains_a_look_up_by_its_name() {
    let wait = look_up(|trace| {
        connected(trace.ask(20, 50, SERVER, 1, "other.example.org", 1));
        connected(trace.ask(21, 51, SERVER, 2, "MAIL.example.com", 1));
        trace.t += 1200 * MS;
        connected(trace.ask(21, 51, "192.0.2.54:53", 3, "mail.example.com", 1));
        trace.t += SECOND;
        connected(trace.answer(21, 51, "192.0.2.54:53", 3, 0, "mail.example.com", 1));
    });
    assert_eq!((wait.cause, wait.target.as_deref()), (Cause::Dns, Some(RESOLVER)));
    assert_eq!(wait.peer.as_ref().map(|peer| (peer.comm.as_str(), peer.path.as_deref())), Some(("unbound", Some(RESOLVER))));
    let [inner] = wait.inner.as_slice() else { panic!("{:?}", wait.inner) };
    assert_eq!((inner.cause, inner.outcome, inner.attempts, inner.target.as_deref()), (Cause::Dns, Outcome::Ok, Some(2), Some(SERVER)));
    near(inner.elapsed_s, 2.2);
    let servers = &inner.dns.as_ref().expect("dns").servers;
    let told: Vec<_> = servers.iter().map(|server| (server.address.as_str(), server.answered)).collect();
    assert_eq!(told, [(SERVER, false), ("192.0.2.54:53", true)]);
}

#[test]
fn a_question_for_the_zone_above_explains_it_too_and_one_that_is_open_lasts_to_the_end() {
    let wait = look_up(|trace| {
        connected(trace.ask(21, 51, SERVER, 2, "example.com", 2));
    });
    let [inner] = wait.inner.as_slice() else { panic!("{:?}", wait.inner) };
    assert_eq!((inner.outcome, inner.dns.as_ref().map(|dns| dns.qname.as_str())), (Outcome::Timeout, Some("example.com")));
    near(inner.elapsed_s, 2.94);
}

#[test]
fn a_resolvers_question_for_another_name_explains_nothing() {
    let wait = look_up(|trace| {
        connected(trace.ask(21, 51, SERVER, 2, "ail.example.com", 1));
        connected(trace.ask(22, 52, SERVER, 3, "x.mail.example.com", 1));
        // Others ask for the same name, or one above it.
        connected(trace.ask(24, 54, SERVER, 5, "mail.example.com", 15));
        connected(trace.ask(25, 55, SERVER, 6, "example.com", 16));
        // Of a socket that is not connected the answers are not seen.
        trace.ask(23, 53, SERVER, 4, "mail.example.com", 1);
    });
    assert!(wait.peer.is_some() && wait.inner.is_empty(), "{:?}", wait.inner);
}

/// A session waits for its child, which sleeps, and then asks a name server.
#[test]
fn a_childs_waits_explain_the_wait_for_it() {
    let mut trace = Trace::greeted();
    trace.line("RCPT TO:<a@example.com>\r\n");
    trace.fork(HELPER, false);
    let begin = trace.t;
    trace.t = begin + 60 * MS;
    let (comm, exe) = ("mailer".to_owned(), "/usr/bin/mailer".to_owned());
    let found = Helper { t: trace.t, pid: HELPER, comm, exe, waiter: CHILD, inode: 0, peer_inode: 0, endpoint: None, connections: 0 };
    trace.records.push(Record::Helper(found));
    trace.pid = HELPER;
    trace.blocked(Call::ClockNanosleep, 0, SECOND).args.timeout_ns = Some(SECOND);
    trace.silent_lookup(7, "example.com", 1);
    let end = trace.t;
    (trace.t, trace.pid) = (begin, CHILD);
    let sys = trace.blocked(Call::Wait4, HELPER.into(), end - begin);
    sys.args.pid = Some(HELPER.cast_signed());
    trace.reply("250 ok\r\n");
    trace.quit();
    let session = trace.session();
    let [wait] = command(&session, "RCPT").waits.as_slice() else { panic!("one wait") };
    assert_eq!((wait.cause, wait.peer.as_ref().map(|peer| peer.comm.as_str())), (Cause::Child, Some("mailer")));
    let told: Vec<_> = wait.inner.iter().map(|inner| (inner.cause, inner.target.as_deref())).collect();
    assert_eq!(told, [(Cause::Sleep, None), (Cause::Dns, Some(SERVER))]);
    near(wait.inner[1].elapsed_s, 10.01);
}

/// What was never answered does not wait for ever: it was given up.
#[test]
fn regress_a_question_of_an_earlier_look_up_explains_no_later_one() {
    let wait = look_up(|trace| {
        let now = trace.t;
        trace.t = now - 70 * MS;
        connected(trace.ask(21, 51, SERVER, 2, "mail.example.com", 1));
        trace.t = now;
        connected(trace.ask(21, 51, SERVER, 3, "mail.example.com", 1));
        trace.t += 1500 * MS;
        connected(trace.answer(21, 51, SERVER, 3, 0, "mail.example.com", 1));
    });
    let [inner] = wait.inner.as_slice() else { panic!("{:?}", wait.inner) };
    assert_eq!((inner.outcome, inner.attempts), (Outcome::Ok, Some(1)));
    near(inner.elapsed_s, 1.5);
}

/// An answer that lies before its question (a hostile log) is none.
#[test]
fn regress_a_resolver_that_is_answered_before_it_asks() {
    let wait = look_up(|trace| {
        connected(trace.ask(21, 51, SERVER, 2, "mail.example.com", 1));
        trace.t -= 30 * MS;
        connected(trace.answer(21, 51, SERVER, 2, 0, "mail.example.com", 1));
    });
    assert!(wait.inner.is_empty(), "{:?}", wait.inner);
}

/// All of them were told, and cloned with each wait, three levels deep.
#[test]
fn regress_of_many_inner_waits_the_longest_are_told() {
    let wait = wait_for(|trace| {
        helper(trace, HELPER, CHILD, (OWN_END, FAR_END), 1);
        for n in 0..100 {
            trace.lookup(7, &format!("n{n}.example.com"), 16, if n == 50 { 900 * MS } else { 15 * MS });
        }
        transfers(trace, Call::Write, FAR_END);
    });
    assert_eq!(wait.inner.len(), 32);
    assert!(wait.inner.iter().any(|inner| (inner.elapsed_s - 0.9).abs() < 0.01) && wait.inner.is_sorted_by(|a, b| a.start_s <= b.start_s));
    assert_eq!((unclear(&wait), wait.peer.as_ref().and_then(|peer| peer.left_out)), (None, Some(68)));
}
