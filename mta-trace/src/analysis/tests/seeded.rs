//! Sessions that had begun before the trace.

use super::trace::*;
use crate::event::*;
use crate::report::{Began, Cause, SessionEnd};
use mta_trace_common::syscalls::Call;

fn seeded(verb: Option<&str>) -> Trace {
    let mut trace = Trace::empty();
    let mut process = seed_process(CHILD, DAEMON, "session");
    process.verb = verb.map(str::to_owned);
    trace.records.push(Record::SeedProc(process));
    for fd in [3, 5] {
        let id = SocketId {
            inode: CLIENT_INODE,
            proto: Proto::Tcp,
            local: Some(endpoint("10.99.0.2:25")),
            peer: Some(endpoint("10.99.0.1:54712")),
            peer_inode: None,
        };
        trace.records.push(Record::SeedFd(SeedFd { pid: CHILD, fd, path: None, socket: Some(id), client: true }));
    }
    // Traced half a second before it was ready.
    trace.t = 3 * SECOND / 2;
    trace.pid = CHILD;
    trace
}

#[test]
fn between_commands() {
    let mut trace = seeded(None);
    trace.await_client(2 * SECOND);
    trace.read(6, SmtpMode::Unknown);
    trace.cpu(MS);
    trace.reply("250 ok\r\n");
    trace.quit_of_two();
    let session = trace.session();
    assert_eq!(verbs(&session), ["OPAQUE", "QUIT", "DISCONNECT"]);
    assert_eq!((session.began, session.complete, session.end), (Began::Seeded, false, SessionEnd::Quit));
    assert_eq!((session.id.as_str(), session.client.as_str()), ("200-1", "10.99.0.1:54712"));
    near(session.client_s, 1.55);
    near(session.commands[0].elapsed_s, 0.001);
    assert_eq!(session.started, "2026-03-21T04:43:28.000000Z");
}

#[test]
fn inside_a_command() {
    let mut trace = seeded(Some("MAIL"));
    trace.ask(4, 41, "192.0.2.53:53", 7, "example.com", 28);
    trace.poll(4, 0, 5 * SECOND);
    trace.reply("250 ok\r\n");
    trace.quit_of_two();
    let session = trace.session();
    assert_eq!(verbs(&session), ["MAIL", "QUIT", "DISCONNECT"]);
    assert_eq!(session.commands[0].waits[0].cause, Cause::Dns);
    // Counted from ready.
    near(session.commands[0].waits[0].elapsed_s, 4.5);
    near(session.commands[0].elapsed_s, 4.5);
}

fn seeded_lookup() -> Trace {
    let mut trace = seeded(Some("MAIL"));
    let id = SocketId { inode: 41, proto: Proto::Udp, local: None, peer: Some(endpoint("192.0.2.53:53")), peer_inode: None };
    trace.records.push(Record::SeedFd(SeedFd { pid: CHILD, fd: 4, path: None, socket: Some(id), client: false }));
    trace
}

#[test]
fn inside_a_look_up_that_is_asked_again() {
    let mut trace = seeded_lookup();
    trace.poll(4, 0, 3 * SECOND);
    trace.ask(4, 41, "192.0.2.53:53", 7, "example.com", 28);
    trace.poll(4, 0, 5 * SECOND);
    trace.reply("250 ok\r\n");
    trace.quit_of_two();
    let session = trace.session();
    let waits = &session.commands[0].waits;
    assert_eq!((waits.len(), waits[0].cause), (1, Cause::Dns));
    near(waits[0].elapsed_s, 7.5);
    near(waits[0].dns.as_ref().expect("dns").servers[0].waited_s.expect("time"), 7.5);
}

#[test]
fn inside_a_look_up_that_is_answered() {
    let mut trace = seeded_lookup();
    trace.poll(4, 1, 3 * SECOND);
    trace.answer(4, 41, "192.0.2.53:53", 7, 0, "example.com", 28);
    trace.reply("250 ok\r\n");
    trace.quit_of_two();
    let session = trace.session();
    let wait = &session.commands[0].waits[0];
    assert_eq!((wait.cause, wait.attempts, wait.dns.as_ref().expect("dns").qname.as_str()), (Cause::Dns, Some(1), "example.com"));
}

#[test]
fn inside_the_message() {
    let mut trace = seeded(Some("DATA"));
    trace.await_client(2 * SECOND);
    trace.read(4096, SmtpMode::Unknown);
    trace.cpu(MS);
    trace.reply("250 2.0.0 1234 Message accepted for delivery\r\n");
    trace.quit_of_two();
    let session = trace.session();
    assert_eq!(verbs(&session), ["BODY", "EOM", "QUIT", "DISCONNECT"]);
    assert_eq!(session.commands[0].waits[0].cause, Cause::Client);
    assert_eq!(session.queue_ids, ["1234"]);
}

#[test]
fn inside_auth() {
    let mut trace = seeded(Some("AUTH"));
    trace.await_client(2 * SECOND);
    trace.read(12, SmtpMode::Unknown);
    trace.reply("535 5.7.0 words\r\n");
    trace.quit_of_two();
    let session = trace.session();
    assert_eq!(verbs(&session), ["AUTH", "QUIT", "DISCONNECT"]);
    assert_eq!(session.commands[0].reply.as_deref(), Some("535"));
}

impl Trace {
    fn quit_of_two(&mut self) {
        self.await_client(50 * MS);
        self.line("QUIT\r\n");
        self.reply("221 bye\r\n");
        self.call(Call::Close, 0).args.fd = Some(5);
        self.close(3);
        self.end();
    }
}
