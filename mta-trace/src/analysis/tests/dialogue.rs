//! Boundaries of commands.

use super::trace::*;
use crate::event::*;
use crate::report::{Boundary, Cause, Outcome, SessionEnd};
use crate::update::Update;
use mta_trace_common::syscalls::Call;

#[test]
fn the_basic_case() {
    let mut trace = Trace::accepted();
    trace.cpu(20 * MS);
    trace.reply("220 m1.example.test ESMTP\r\n");
    trace.exchange("HELO localhost", "250 m1.example.test Hello");
    trace.await_client(200 * MS);
    trace.line("MAIL FROM:<a@example.com>\r\n");
    trace.silent_lookup(1, "example.com", 28);
    trace.silent_lookup(2, "example.com", 1);
    trace.lookup(3, "example.com", 15, 0);
    trace.cpu(MS);
    trace.reply("250 2.1.0 <a@example.com>... Sender ok\r\n");
    trace.quit();
    let (report, updates) = trace.report();
    let session = &report.sessions[0];
    assert_eq!(verbs(session), ["CONNECT", "HELO", "MAIL", "QUIT", "DISCONNECT"]);
    assert_eq!((session.id.as_str(), session.pid, session.daemon_pid), ("200-1", CHILD, DAEMON));
    assert_eq!((session.end, session.complete), (SessionEnd::Quit, true));
    assert_eq!(session.started, "2026-03-21T04:43:29.000000Z");
    let connect = command(session, "CONNECT");
    assert_eq!((connect.reply_code, connect.line.as_deref()), (Some(220), None));
    near(connect.elapsed_s, 0.0201);
    near(connect.cpu_s, 0.0201);
    let mail = command(session, "MAIL");
    assert_eq!(mail.line.as_deref(), Some("MAIL FROM:<a@example.com>"));
    assert_eq!(mail.reply.as_deref(), Some("250 2.1.0 <a@example.com>... Sender ok"));
    assert_eq!(mail.waits.len(), 2);
    let wait = &mail.waits[0];
    assert_eq!((wait.cause, wait.outcome, wait.attempts), (Cause::Dns, Outcome::Timeout, Some(2)));
    assert_eq!((wait.target.as_deref(), wait.timer_s), (Some("192.0.2.53:53"), Some(5.0)));
    near(wait.elapsed_s, 10.01001);
    let dns = wait.dns.as_ref().expect("dns");
    assert_eq!((dns.qname.as_str(), dns.qtype.as_str(), dns.rcode.as_deref()), ("example.com", "AAAA", None));
    assert_eq!(mail.absent, ["connect", "fsync"]);
    near(session.client_s, 0.3);
    assert!(matches!(&updates[0], Update::SessionBegan { session, pid: CHILD, .. } if &**session == "200-1"));
    let ended = updates.iter().filter(|update| matches!(update, Update::CommandEnded { .. })).count();
    assert_eq!(ended, 5);
    assert!(updates.iter().all(|update| !matches!(update, Update::WaitEnded { session, .. } if &**session != "200-1")));
}

#[test]
fn a_pipelined_batch_is_shared_out() {
    let mut trace = Trace::greeted();
    trace.await_client(10 * MS);
    trace.line("MAIL FROM:<a@one.example>\r\nRCPT TO:<b@two.example>\r\nRCPT TO:<c@two.example>\r\nDATA\r\n");
    trace.cpu(MS);
    trace.lookup(1, "one.example", 28, 2 * SECOND);
    trace.cpu(MS);
    trace.lookup(2, "two.example", 28, 3 * SECOND);
    trace.cpu(MS);
    trace.blocked(Call::Flock, 0, SECOND).args.fd = Some(9);
    trace.reply("250 sender ok\r\n250 rcpt ok\r\n250 rcpt ok\r\n354 go\r\n");
    trace.await_client(10 * MS);
    trace.read(3, SmtpMode::Data).smtp = Some(Smtp { mode: SmtpMode::Data, dot: true, carry: None });
    trace.cpu(MS);
    trace.reply("250 2.0.0 6AO4hfnA018762 Message accepted for delivery\r\n");
    trace.quit();
    let session = trace.session();
    assert_eq!(verbs(&session), ["CONNECT", "MAIL", "RCPT", "RCPT", "DATA", "BODY", "EOM", "QUIT", "DISCONNECT"]);
    let batch = &session.commands[1..5];
    assert!(batch.iter().all(|command| command.boundary == Some(Boundary::Inferred)));
    // What nothing explains goes to the first command.
    let causes: Vec<_> = batch[0].waits.iter().map(|wait| wait.cause).collect();
    assert_eq!(causes, [Cause::Dns, Cause::FileLock]);
    near(batch[0].elapsed_s, 3.002);
    near(batch[1].elapsed_s, 3.001);
    near(batch[1].cpu_s, 0.001);
    assert_eq!((batch[2].elapsed_s, batch[3].elapsed_s), (0.0, 0.0));
    assert_eq!(batch[3].reply_code, Some(354));
    near(batch.iter().map(|command| command.elapsed_s).sum(), 6.003);
    assert_eq!(session.queue_ids, ["6AO4hfnA018762"]);
    assert_eq!(command(&session, "EOM").queue_id.as_deref(), Some("6AO4hfnA018762"));
    assert_eq!(command(&session, "EOM").boundary, None);
    let body = command(&session, "BODY");
    assert_eq!(body.waits[0].cause, Cause::Client);
}

#[test]
fn a_batch_that_is_answered_one_by_one_has_seen_boundaries() {
    let mut trace = Trace::greeted();
    trace.line("MAIL FROM:<a@one.example>\r\nRCPT TO:<b@two.example>\r\n");
    trace.cpu(MS);
    trace.reply("250 ok\r\n");
    trace.cpu(2 * MS);
    trace.reply("250 ok\r\n");
    trace.quit();
    let session = trace.session();
    assert_eq!(command(&session, "RCPT").boundary, None);
    near(command(&session, "MAIL").elapsed_s, 0.001);
    near(command(&session, "RCPT").elapsed_s, 0.002);
}

#[test]
fn bytes_behind_the_final_dot_make_its_boundary_inferred() {
    let mut trace = Trace::greeted();
    trace.exchange("DATA", "354 go");
    trace.await_client(10 * MS);
    trace.read(500, SmtpMode::Data);
    trace.blocked(Call::Fsync, 0, 100 * MS).args.fd = Some(7);
    trace.reply("250 2.0.0 Ok: queued as 4Fg1\r\n");
    trace.cpu(2 * MS);
    trace.reply("221 bye\r\n");
    trace.hang_up();
    let session = trace.session();
    assert_eq!(verbs(&session), ["CONNECT", "DATA", "BODY", "EOM", "QUIT", "DISCONNECT"]);
    let (body, eom, quit) = (command(&session, "BODY"), command(&session, "EOM"), command(&session, "QUIT"));
    assert_eq!((body.boundary, eom.boundary, quit.boundary), (Some(Boundary::Inferred), Some(Boundary::Inferred), Some(Boundary::Inferred)));
    assert_eq!((body.waits.len(), eom.waits.len()), (1, 1));
    near(eom.elapsed_s, 0.1);
    near(quit.elapsed_s, 0.002);
    assert_eq!((session.end, session.queue_ids.len()), (SessionEnd::Quit, 1));
}

#[test]
fn a_421_while_the_message_comes_in_answers_the_body() {
    let mut trace = Trace::greeted();
    trace.exchange("DATA", "354 go");
    trace.read(500, SmtpMode::Data);
    trace.await_client(SECOND).ret = 0;
    trace.reply("421 4.4.1 timeout\r\n");
    trace.hang_up();
    let session = trace.session();
    assert_eq!(verbs(&session), ["CONNECT", "DATA", "BODY", "DISCONNECT"]);
    assert_eq!(command(&session, "BODY").reply_code, Some(421));
    assert_eq!(session.end, SessionEnd::ServerClosed);
}

#[test]
fn auth_is_one_command_and_keeps_only_codes() {
    let mut trace = Trace::greeted();
    trace.await_client(10 * MS);
    trace.line("AUTH LOGIN\r\n");
    trace.cpu(MS);
    trace.reply("334");
    trace.await_client(700 * MS);
    trace.read(12, SmtpMode::Auth);
    trace.reply("334 \0\0\0\0");
    trace.await_client(300 * MS);
    trace.read(12, SmtpMode::Auth);
    trace.cpu(5 * MS);
    trace.reply("535 5.7.0 secret words\r\n");
    trace.quit();
    let session = trace.session();
    assert_eq!(verbs(&session), ["CONNECT", "AUTH", "QUIT", "DISCONNECT"]);
    let auth = command(&session, "AUTH");
    assert_eq!((auth.line.as_deref(), auth.reply_code, auth.reply.as_deref()), (Some("AUTH LOGIN"), Some(535), Some("535")));
    assert_eq!(auth.waits.iter().map(|wait| wait.cause).collect::<Vec<_>>(), [Cause::Client, Cause::Client]);
    near(auth.cpu_s, 0.006);
    assert!(!format!("{session:?}").contains("secret"));
}

/// The server's flights of a handshake, by their lengths as they were seen on the wire.
fn handshake(trace: &mut Trace, flights: &[usize]) {
    for length in flights {
        trace.await_client(20 * MS);
        trace.read(300, SmtpMode::Opaque);
        trace.cpu(MS);
        trace.reply(&"\x16".repeat(*length));
    }
}

/// Found by the scenario `starttls`: the client's second hello made the end of the handshake an exchange of its own.
#[test]
fn regress_hello_retry_request_is_no_flight() {
    let mut trace = Trace::greeted();
    trace.exchange("STARTTLS", "220 ready");
    handshake(&mut trace, &[99, 1392, 255]);
    trace.await_client(100 * MS);
    trace.read(44, SmtpMode::Opaque);
    trace.reply(&"\x17".repeat(62));
    trace.hang_up();
    assert_eq!(verbs(&trace.session()), ["CONNECT", "STARTTLS", "TLS", "OPAQUE", "DISCONNECT"]);
}

#[test]
fn starttls_then_handshake_then_opaque_exchanges() {
    let mut trace = Trace::greeted();
    trace.exchange("STARTTLS", "220 ready");
    handshake(&mut trace, &[1392, 255]);
    for _ in 0..2 {
        trace.await_client(100 * MS);
        trace.read(5, SmtpMode::Opaque);
        trace.read(40, SmtpMode::Opaque);
        trace.cpu(4 * MS);
        trace.reply("\x17\x03");
    }
    trace.cpu(MS);
    trace.hang_up();
    let session = trace.session();
    assert_eq!(verbs(&session), ["CONNECT", "STARTTLS", "TLS", "OPAQUE", "OPAQUE", "DISCONNECT"]);
    near(command(&session, "TLS").elapsed_s, 0.042);
    near(command(&session, "OPAQUE").elapsed_s, 0.004);
    assert!(session.tls.is_some());
    assert_eq!(session.end, SessionEnd::Quit);
    near(session.client_s, 0.25);
}

#[test]
fn an_unknown_line_is_invalid_and_keeps_its_length() {
    let mut trace = Trace::greeted();
    trace.line("\0\0\0\0\0\0\r\n");
    trace.reply("500 5.5.1 Command unrecognized\r\n");
    trace.quit();
    let session = trace.session();
    let invalid = command(&session, "INVALID");
    assert_eq!((invalid.line.as_deref(), invalid.line_bytes, invalid.reply_code), (None, Some(6), Some(500)));
}

#[test]
fn a_line_that_comes_in_pieces_begins_with_its_last_byte() {
    let mut trace = Trace::greeted();
    trace.line("\0\0");
    trace.await_client(500 * MS);
    trace.line("IL FROM:<a@b>\r").smtp = Some(Smtp { mode: SmtpMode::Command, dot: false, carry: Some(Bytes(b"MA".to_vec())) });
    trace.await_client(500 * MS);
    trace.line("\n");
    trace.cpu(MS);
    trace.reply("250 ok\r\n");
    trace.quit();
    let session = trace.session();
    let mail = command(&session, "MAIL");
    assert_eq!(mail.line.as_deref(), Some("MAIL FROM:<a@b>"));
    near(mail.elapsed_s, 0.001);
}

#[test]
fn an_early_talker_waits_for_the_greeting() {
    let mut trace = Trace::accepted();
    trace.line("HELO x\r\n");
    trace.cpu(MS);
    trace.reply("220 hi\r\n");
    trace.cpu(2 * MS);
    trace.reply("250 hello\r\n");
    trace.quit();
    let session = trace.session();
    near(command(&session, "HELO").elapsed_s, 0.002);
    assert_eq!(command(&session, "HELO").reply_code, Some(250));
}

#[test]
fn bdat_has_a_body_and_an_end() {
    let mut trace = Trace::greeted();
    trace.line("BDAT 100 LAST\r\n\0\0\0\0");
    trace.await_client(50 * MS);
    trace.read(96, SmtpMode::Pending);
    trace.cpu(MS);
    trace.reply("250 2.0.0 1234 Message accepted\r\n");
    trace.quit();
    let session = trace.session();
    assert_eq!(verbs(&session), ["CONNECT", "BDAT", "BODY", "EOM", "QUIT", "DISCONNECT"]);
    near(command(&session, "BODY").elapsed_s, 0.05);
    assert_eq!(command(&session, "EOM").queue_id.as_deref(), Some("1234"));
}

#[test]
fn time_in_the_backlog_is_told_apart() {
    let mut trace = Trace::empty();
    let (t, peer) = (trace.t, endpoint("10.99.0.1:54712"));
    trace.records.push(Record::Backlog(Backlog { t, peer, since: t - 3 * SECOND }));
    trace.accept(CLIENT_INODE, "10.99.0.1:54712");
    trace.close(5);
    assert_eq!(trace.session().before_accept_s, Some(3.0));
}

#[test]
fn regress_a_long_line_does_not_swallow_the_next_command() {
    for beginning in ["NOOP AAAA", "\0\0\0\0\0\0\0\0\0"] {
        let mut trace = Trace::greeted();
        trace.await_client(10 * MS);
        trace.line(beginning).cut = true;
        for _ in 0..3 {
            trace.await_client(10 * MS);
            trace.read(4096, SmtpMode::Unknown);
        }
        trace.cpu(MS);
        trace.reply("500 5.5.4 Line too long\r\n");
        trace.await_client(10 * MS);
        trace.line("MAIL FROM:<a@example.com>\r\n");
        trace.reply("250 ok\r\n");
        trace.quit();
        let session = trace.session();
        assert_eq!(verbs(&session), ["CONNECT", "OPAQUE", "MAIL", "QUIT", "DISCONNECT"]);
        assert_eq!(command(&session, "MAIL").line.as_deref(), Some("MAIL FROM:<a@example.com>"));
        // The request is complete with its last byte: until then it was the client's time.
        near(command(&session, "OPAQUE").elapsed_s, 0.001);
    }
}

/// A message that comes slowly makes a pause of each of its pieces, and there may be any number of them.
#[test]
fn regress_the_pauses_of_a_message_are_bounded() {
    let mut trace = Trace::greeted();
    trace.exchange("DATA", "354 go");
    for _ in 0..10_000 {
        trace.await_client(2 * MS);
        trace.read(500, SmtpMode::Data);
        trace.cpu(MS);
    }
    trace.await_client(2 * MS);
    trace.read(3, SmtpMode::Data).smtp = Some(Smtp { mode: SmtpMode::Data, dot: true, carry: None });
    trace.reply("250 2.0.0 6AO4hfnA018762 Message accepted for delivery\r\n");
    trace.quit();
    let session = trace.session();
    let body = command(&session, "BODY");
    assert_eq!(body.waits.len(), 100);
    near(body.waits.iter().map(|wait| wait.elapsed_s).sum(), 20.002);
    near(body.cpu_s, 10.0);
    near(body.server_s(), 10.0);
}

/// What was peeked at was taken for read: the line stood twice in the dialogue, and all later replies at the wrong command.
#[test]
fn regress_bytes_that_stay_are_no_line() {
    let mut trace = Trace::greeted();
    let peeked = trace.read(20, SmtpMode::Command);
    peeked.call = Call::Recvfrom;
    peeked.args.flags = vec!["MSG_PEEK".into()];
    trace.exchange("HELO client.lab.test", "250 hello");
    trace.exchange("MAIL FROM:<a@example.com>", "250 ok");
    trace.quit();
    let session = trace.session();
    assert_eq!(verbs(&session), ["CONNECT", "HELO", "MAIL", "QUIT", "DISCONNECT"]);
    assert_eq!(command(&session, "MAIL").reply_code, Some(250));
}
