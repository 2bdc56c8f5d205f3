//! Ends that were lost: what is left of sessions and processes has a bound, and nobody gets what belonged to another.

use super::super::MAX_LIVE;
use super::trace::*;
use crate::event::*;
use crate::report::SessionEnd;

/// The loss of everything behind this point, counted.
fn lose(trace: &mut Trace) {
    trace.records.push(Record::Loss(Loss { t: trace.t, ring: 9, ..Loss::default() }));
}

#[test]
fn a_process_number_that_is_given_again_ends_the_session_before() {
    let mut trace = Trace::greeted();
    trace.exchange("HELO client", "250 hello");
    lose(&mut trace);
    trace.pid = DAEMON;
    trace.cpu(MS);
    trace.accept(CLIENT_INODE + 1, "10.99.0.1:54713");
    trace.fork(CHILD, true);
    trace.pid = CHILD;
    trace.cpu(MS);
    let reply = trace.reply("220 m1.example.test ESMTP\r\n");
    reply.socket = Some(socket(CLIENT_INODE + 1, Proto::Tcp));
    trace.exit(None);
    trace.end();
    let (report, _) = trace.report();
    let [first, second] = report.sessions.as_slice() else { panic!("{:#?}", report.sessions) };
    assert_eq!((first.client.as_str(), first.end, first.complete), ("10.99.0.1:54712", SessionEnd::ServerClosed, false));
    assert_eq!(verbs(first), ["CONNECT", "HELO", "DISCONNECT"]);
    assert_eq!((second.client.as_str(), second.end), ("10.99.0.1:54713", SessionEnd::ServerClosed));
    assert_eq!(verbs(second)[0], "CONNECT");
}

#[test]
fn sessions_whose_ends_were_lost_have_a_bound() {
    let mut trace = Trace::empty();
    for n in 0..u32::try_from(MAX_LIVE).unwrap() + 10 {
        trace.pid = DAEMON;
        trace.accept(u64::from(n) + 1, "10.99.0.1:54712");
        trace.fork(1000 + n, true);
    }
    let mut analysis = super::super::Analysis::new();
    let mut updates = Vec::new();
    for record in &trace.records {
        analysis.feed(record, &mut updates);
    }
    assert_eq!((analysis.live.len(), analysis.ended_sessions()), (MAX_LIVE, 10));
}
