//! How sessions end.

use super::trace::*;
use crate::event::*;
use crate::report::{Cause, Outcome, SessionEnd};
use crate::update::Update;
use mta_trace_common::syscalls::Call;

#[test]
fn a_client_that_leaves_in_a_wait_still_gets_its_reply() {
    let mut trace = Trace::greeted();
    trace.await_client(10 * MS);
    trace.line("MAIL FROM:<a@example.com>\r\n");
    trace.silent_lookup(1, "example.com", 28);
    trace.read(0, SmtpMode::Command);
    trace.close(5);
    trace.cpu(MS);
    trace.reply("250 Sender ok\r\n");
    trace.cpu(2 * MS);
    trace.exit(None);
    let session = trace.session();
    assert_eq!(verbs(&session), ["CONNECT", "MAIL", "DISCONNECT"]);
    assert_eq!(command(&session, "MAIL").reply_code, Some(250));
    assert_eq!((session.end, session.complete), (SessionEnd::ClientClosed, true));
    near(command(&session, "DISCONNECT").elapsed_s, 0.002);
}

#[test]
fn a_client_that_leaves_between_commands() {
    let mut trace = Trace::greeted();
    trace.await_client(10 * MS);
    trace.read(0, SmtpMode::Command);
    trace.cpu(3 * MS);
    trace.hang_up();
    let session = trace.session();
    assert_eq!(verbs(&session), ["CONNECT", "DISCONNECT"]);
    assert_eq!(session.end, SessionEnd::ClientClosed);
    near(command(&session, "DISCONNECT").elapsed_s, 0.003);
}

#[test]
fn a_killed_session_has_an_unfinished_wait() {
    let mut trace = Trace::greeted();
    trace.line("MAIL FROM:<a@example.com>\r\n");
    trace.udp(4, 7, "192.0.2.53:53");
    trace.ask(4, 7, "192.0.2.53:53", 1, "example.com", 28);
    let since = trace.t;
    trace.short_wait(2 * SECOND);
    let exit = trace.exit(Some(9));
    exit.call = Some("poll".into());
    exit.since = Some(since);
    let session = trace.session();
    let mail = command(&session, "MAIL");
    assert_eq!((mail.reply_code, mail.waits.len()), (None, 1));
    assert_eq!((mail.waits[0].cause, mail.waits[0].outcome), (Cause::Dns, Outcome::Unfinished));
    near(mail.waits[0].elapsed_s, 2.0);
    assert_eq!((session.end, session.complete), (SessionEnd::Killed, false));
}

#[test]
fn a_trace_that_ends_first_leaves_the_session_unfinished() {
    let mut trace = Trace::greeted();
    trace.line("MAIL FROM:<a@example.com>\r\n");
    trace.udp(4, 7, "192.0.2.53:53");
    trace.ask(4, 7, "192.0.2.53:53", 1, "example.com", 28);
    let block = trace.untold(Call::Poll, 2 * SECOND);
    block.unfinished = true;
    block.args = Some(Args { fds: vec![PollFd { fd: 4, events: vec!["POLLIN".into()], revents: vec![] }], ..Args::default() });
    trace.end();
    let (report, updates) = trace.report();
    let session = &report.sessions[0];
    assert_eq!((session.end, session.complete), (SessionEnd::Detached, false));
    let wait = &command(session, "MAIL").waits[0];
    assert_eq!((wait.cause, wait.outcome), (Cause::Dns, Outcome::Unfinished));
    near(wait.elapsed_s, 2.0);
    let began = updates.iter().find_map(|update| match update {
        Update::WaitBegan { command, wait, .. } => Some((*command, wait.cause, wait.outcome)),
        _ => None,
    });
    assert_eq!(began, Some((Some(1), Cause::Dns, Outcome::Unfinished)));
}

#[test]
fn a_421_greeting_ends_the_session() {
    let mut trace = Trace::accepted();
    trace.reply("421 4.3.2 too many\r\n");
    trace.cpu(MS);
    trace.hang_up();
    let session = trace.session();
    assert_eq!(verbs(&session), ["CONNECT", "DISCONNECT"]);
    assert_eq!((session.commands[0].reply_code, session.end), (Some(421), SessionEnd::ServerClosed));
}

#[test]
fn a_421_of_its_own_accord() {
    let mut trace = Trace::greeted();
    trace.await_client(3600 * SECOND).ret = 0;
    trace.reply("421 4.4.1 timeout\r\n");
    trace.hang_up();
    let session = trace.session();
    assert_eq!(verbs(&session), ["CONNECT", "DISCONNECT"]);
    assert_eq!(session.commands[1].reply_code, Some(421));
    assert_eq!(session.end, SessionEnd::ServerClosed);
}

#[test]
fn a_connection_closed_without_a_reply() {
    let mut trace = Trace::empty();
    trace.accept(CLIENT_INODE, "10.99.0.1:54712");
    trace.cpu(MS);
    trace.hang_up();
    let session = trace.session();
    assert_eq!(verbs(&session), ["CONNECT"]);
    assert_eq!((session.commands[0].reply_code, session.pid), (None, DAEMON));
}

#[test]
fn a_session_that_is_killed_while_the_client_thinks() {
    let mut trace = Trace::greeted();
    let since = trace.t;
    trace.short_wait(2 * SECOND);
    let exit = trace.exit(Some(15));
    exit.call = Some("pselect6".into());
    exit.since = Some(since);
    let session = trace.session();
    assert_eq!((session.end, verbs(&session)), (SessionEnd::Killed, vec!["CONNECT"]));
    near(session.client_s, 2.0);
}

#[test]
fn a_call_that_a_killing_signal_interrupts_is_unfinished() {
    for ret in [-516, -4] {
        let mut trace = Trace::greeted();
        trace.line("MAIL FROM:<a@example.com>\r\n");
        trace.udp(4, 7, "192.0.2.53:53");
        trace.ask(4, 7, "192.0.2.53:53", 1, "example.com", 28);
        trace.poll(4, ret, 2 * SECOND);
        trace.cpu(MS / 10);
        trace.exit(Some(9));
        let session = trace.session();
        let wait = &command(&session, "MAIL").waits[0];
        assert_eq!((wait.cause, wait.outcome), (Cause::Dns, Outcome::Unfinished));
    }
}
