//! The accepting process, several sessions, and other children.

use super::trace::*;
use crate::event::*;
use crate::report::{Cause, SessionEnd};
use crate::update::Update;
use mta_trace_common::syscalls::Call;

/// Sessions of 1 ms each but one.
fn many_sessions(number: u32, slow: u32) -> Vec<Record> {
    let mut trace = Trace::empty();
    for n in 0..number {
        trace.pid = DAEMON;
        trace.accept(CLIENT_INODE + u64::from(n), "10.99.0.1:1");
        trace.fork(1000 + n, true);
        trace.close(5);
        trace.pid = 1000 + n;
        if n == slow {
            trace.blocked(Call::Flock, 0, SECOND).args.fd = Some(9);
        } else {
            trace.blocked(Call::Flock, 0, 2 * MS).args.fd = Some(9);
        }
        trace.reply("220 hi\r\n").socket = Some(socket(CLIENT_INODE + u64::from(n), Proto::Tcp));
        trace.exit(None);
    }
    trace.end();
    trace.records
}

#[test]
fn regress_memory_is_bounded_in_a_long_trace() {
    let records = many_sessions(1100, 3);
    let (report, _) = analyse(&records);
    assert_eq!(report.sessions.len(), 1000);
    assert!(report.sessions.iter().any(|session| session.id == "1003-4" && session.findings.len() == 1));
    assert!(report.sessions.windows(2).all(|pair| pair[0].pid < pair[1].pid), "in their order");
    let left_out = report.left_out.expect("some are left out");
    assert_eq!((left_out.sessions, left_out.waits.len(), left_out.waits[0].waits), (100, 1, 100));
    near(left_out.waits[0].elapsed_s, 0.2);
    let [common] = report.findings.as_slice() else { panic!("{:#?}", report.findings) };
    assert_eq!(common.summary, "file-lock: 1 of 1100 sessions, 1.00 s");
    // Whoever asks for the JSON of a log gets all.
    let mut all = crate::analysis::Analysis::keeping_all();
    let mut updates = Vec::new();
    for record in &records {
        all.feed(record, &mut updates);
    }
    assert_eq!(all.ended_sessions(), 1100);
    let report = all.finish(&mut updates);
    assert_eq!((report.sessions.len(), report.left_out), (1100, None));
}

#[test]
fn findings_of_sessions_that_are_left_out_count() {
    let mut trace = Trace::empty();
    for n in 0..1_100 {
        trace.pid = DAEMON;
        trace.accept(CLIENT_INODE + u64::from(n), "10.99.0.1:1");
        trace.fork(1000 + n, true);
        trace.close(5);
        trace.pid = 1000 + n;
        trace.blocked(Call::Flock, 0, u64::from(n) * MS).args.fd = Some(9);
        trace.reply("220 hi\r\n").socket = Some(socket(CLIENT_INODE + u64::from(n), Proto::Tcp));
        trace.exit(None);
    }
    trace.end();
    let (report, _) = analyse(&trace.records);
    assert_eq!(report.sessions.len(), 1_000);
    let [common] = report.findings.as_slice() else { panic!("{:#?}", report.findings) };
    // Below 0.1 s there is no finding: of 0.100 to 1.099 s the middle is 0.599, and 950 are no longer than 1.049.
    assert_eq!((common.sessions, common.of), (1_000, 1_100));
    assert!((common.median_s - 0.599).abs() < 0.012 && (common.p95_s - 1.049).abs() < 0.021, "{common:#?}");
    near(common.max_s, 1.099);
}

#[test]
fn two_sessions_at_once() {
    let mut trace = Trace::empty();
    trace.accept(1, "10.99.0.1:1");
    trace.fork(201, true);
    trace.close(5);
    trace.accept(2, "10.99.0.1:2");
    trace.fork(202, true);
    trace.close(5);
    for (pid, inode) in [(202, 2), (201, 1)] {
        trace.pid = pid;
        trace.reply("220 hi\r\n").socket = Some(socket(inode, Proto::Tcp));
        trace.exit(None);
    }
    let (report, _) = trace.report();
    let ids: Vec<_> = report.sessions.iter().map(|session| session.id.as_str()).collect();
    assert_eq!(ids, ["201-1", "202-2"]);
    assert!(report.sessions.iter().all(|session| session.commands[0].reply_code == Some(220)));
}

#[test]
fn a_connection_that_did_not_match_is_counted() {
    let mut trace = Trace::empty();
    trace.accept(1, "10.99.0.9:1").matched = Some(false);
    trace.fork(201, false);
    let (report, updates) = trace.report();
    assert_eq!((report.sessions.len(), report.log.unmatched), (0, 1));
    assert_eq!(updates, [Update::Unmatched { client: "10.99.0.9:1".into() }]);
}

/// The daemon's words and the counters of its listen queues belong to no session.
#[test]
fn what_the_daemon_does_besides_is_told() {
    let look = |trace: &mut Trace, state: &str, listen_overflows| {
        let daemon = Daemon { t: trace.t, pid: DAEMON, state: Some(state.to_owned()), listen_overflows, listen_drops: listen_overflows };
        trace.records.push(Record::Daemon(daemon));
    };
    let mut trace = Trace::greeted();
    look(&mut trace, "accepting connections", 5);
    trace.short_wait(SECOND);
    look(&mut trace, "rejecting connections on daemon MTA: 1 children, max 1", 5);
    trace.short_wait(2 * SECOND);
    look(&mut trace, "accepting connections", 8);
    trace.quit();
    let daemon = trace.report().0.daemon.expect("something to say");
    let times: Vec<f64> = daemon.states.iter().map(|state| state.elapsed_s).collect();
    near(times[0], 1.0);
    near(times[1], 2.0);
    assert_eq!((daemon.listen_overflows, daemon.listen_drops), (3, 3));
    let rules: Vec<&str> = daemon.findings.iter().map(|finding| finding.rule.as_str()).collect();
    assert_eq!(rules, ["listen-overflow", "refused-children"]);
    // Nothing is said of a daemon that only accepts.
    assert!(Trace::greeted().report().0.daemon.is_none());
}

#[test]
fn waits_of_the_accepting_process_belong_to_connect() {
    let mut trace = Trace::empty();
    trace.accept(CLIENT_INODE, "10.99.0.1:54712");
    let sys = trace.blocked(Call::ClockNanosleep, 0, 40 * MS);
    sys.args.timeout_ns = Some(40 * MS);
    trace.queued(2 * MS);
    trace.fork(CHILD, true);
    trace.close(5);
    trace.pid = CHILD;
    trace.cpu(3 * MS);
    trace.reply("220 hi\r\n");
    // What the daemon does now is none of the session's.
    trace.pid = DAEMON;
    trace.blocked(Call::Pselect6, 0, 500 * MS).args.read = vec![3];
    trace.pid = CHILD;
    trace.short_wait(500 * MS);
    trace.exit(None);
    let session = trace.session();
    let connect = command(&session, "CONNECT");
    assert_eq!(connect.waits[0].cause, Cause::Sleep);
    near(connect.elapsed_s, 0.045);
    near(connect.runqueue_s, 0.002);
    assert_eq!(session.end, SessionEnd::ServerClosed);
}

#[test]
fn a_delivery_child_is_no_part_of_the_session() {
    let mut trace = Trace::greeted();
    trace.exchange("NOOP", "250 ok");
    trace.fork(300, false);
    trace.pid = 300;
    trace.fork(301, false);
    trace.exit(None);
    trace.pid = CHILD;
    trace.blocked(Call::Wait4, 300, 7 * MS).args.pid = Some(-1);
    trace.quit();
    let session = trace.session();
    assert_eq!(session.inherited_by, [300, 301]);
    assert_eq!(session.end, SessionEnd::Quit);
}

/// A record that only tells of another overflow began the same state anew; when there were too many, all later time was the last one's.
#[test]
fn regress_overflows_do_not_begin_a_state_anew() {
    let look = |trace: &mut Trace, state: &str, listen_overflows| {
        let daemon = Daemon { t: trace.t, pid: DAEMON, state: Some(state.to_owned()), listen_overflows, listen_drops: 0 };
        trace.records.push(Record::Daemon(daemon));
    };
    let refusing = "rejecting connections on daemon MTA: 1 children, max 1";
    let mut trace = Trace::greeted();
    look(&mut trace, refusing, 0);
    for n in 0..3_000 {
        trace.short_wait(MS);
        look(&mut trace, refusing, n);
    }
    look(&mut trace, "accepting connections", 3_000);
    trace.short_wait(7 * SECOND);
    trace.quit();
    let daemon = trace.report().0.daemon.expect("something to say");
    let [refused, accepting] = daemon.states.as_slice() else { panic!("{} states", daemon.states.len()) };
    near(refused.elapsed_s, 3.0);
    assert!((7.0..7.1).contains(&accepting.elapsed_s), "{}", accepting.elapsed_s);
}
