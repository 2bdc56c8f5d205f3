//! Ends that were lost: what is left of sessions and processes has a bound, and nobody gets what belonged to another.

use super::super::MAX_LIVE;
use super::trace::*;
use crate::event::*;
use crate::report::{SessionEnd, Verb};
use crate::session::MAX_COMMANDS;
use crate::update::Update;
use mta_trace_common::syscalls::Call;

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

/// Hours of RSET, MAIL and RCPT in one session: the report has a bound, and its sums close.
fn commands_by_the_thousand(rounds: usize, loses: bool) -> crate::report::Session {
    let mut trace = Trace::greeted();
    let (mut analysis, mut updates) = (super::super::Analysis::new(), Vec::new());
    let mut told = 0;
    let mut feed = |trace: &mut Trace, updates: &mut Vec<Update>| {
        for record in trace.records.drain(..) {
            analysis.feed(&record, updates);
        }
        told += updates.drain(..).filter(|update| matches!(update, Update::CommandEnded { .. })).count();
    };
    for n in 0..rounds {
        for line in ["RSET", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>"] {
            trace.await_client(50 * MS);
            trace.line(&format!("{line}\r\n"));
            trace.cpu(MS);
            trace.short_wait(MS / 10);
            if line.starts_with("MAIL") {
                trace.blocked(Call::Flock, 0, if n == 77 { SECOND } else { 3 * MS }).args.fd = Some(9);
            }
            trace.reply("250 ok\r\n");
        }
        feed(&mut trace, &mut updates);
    }
    if loses {
        lose(&mut trace);
    }
    trace.quit();
    feed(&mut trace, &mut updates);
    let report = analysis.finish(&mut updates);
    assert_eq!(told, 3 * rounds + 3, "live, each of them is told");
    report.sessions.into_iter().next().expect("a session")
}

#[test]
fn commands_of_a_long_session_have_a_bound() {
    let session = commands_by_the_thousand(33_333, false);
    check_identity(&session);
    assert_eq!((session.commands.len(), session.command_count()), (MAX_COMMANDS, 100_002));
    let slow = session.commands.iter().find(|command| command.elapsed_s > 1.0).expect("the slow one");
    assert_eq!((slow.index, slow.verb), (77 * 3 + 2, Verb::Mail));
    assert_eq!(session.findings.iter().map(|finding| finding.command).collect::<Vec<_>>(), [slow.index]);
    assert_eq!(session.command(slow.index), Some(slow));
    let left_out = session.left_out.as_ref().expect("most are left out");
    let [mail, ..] = left_out.waits.as_slice() else { panic!("{left_out:#?}") };
    assert_eq!((left_out.waits.len(), mail.verb), (1, Some(Verb::Mail)));
    // All but QUIT have one.
    near(left_out.short_waits_s, (left_out.commands - 1) as f64 * 1e-4);
    near(session.server_s() + session.client_s, session.elapsed_s);
    // The finding's share is of all commands.
    let server_s = 100_002.0 * 0.0011 + 33_333.0 * 0.003 + 1.0;
    assert!((session.findings[0].share - slow.elapsed_s / server_s).abs() < 0.002, "{:#?}", session.findings);
}

#[test]
fn where_something_was_lost_short_waits_of_commands_that_are_left_out_are_not_explained() {
    let session = commands_by_the_thousand(5_000, true);
    check_identity(&session);
    let left_out = session.left_out.as_ref().expect("most are left out");
    near(left_out.short_waits_s, 0.0);
    near(left_out.unexplained_s, (left_out.commands - 1) as f64 * 1e-4);
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
