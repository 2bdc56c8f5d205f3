//! Other mail servers and services that a session waits for: where a message goes on, who knows whether an address exists, TLS.

use super::trace::*;
use crate::event::*;
use crate::report::{Cause, Outcome, Session, Wait};
use mta_trace_common::syscalls::Call;

fn of_mta(trace: &mut Trace, mta: &str) {
    if let Some(Record::Header(header)) = trace.records.first_mut() {
        header.target.mta = mta.into();
    }
}

fn connects(trace: &mut Trace, fd: i32, inode: u64, proto: Proto, peer: &str) {
    let sys = trace.blocked(Call::Connect, 0, MS);
    sys.args.fd = Some(fd);
    sys.args.addr = Some(endpoint(peer));
    sys.socket = Some(socket(inode, proto));
    sys.peer = Some(endpoint(peer));
}

/// The next hop is slow behind the end of the message.
fn delivery(mta: &str, peer: &str) -> Wait {
    let mut trace = Trace::greeted();
    of_mta(&mut trace, mta);
    trace.exchange("DATA", "354 go on");
    trace.read(100, SmtpMode::Data).smtp = Some(Smtp { mode: SmtpMode::Data, dot: true, carry: None });
    connects(&mut trace, 4, 40, Proto::Tcp, peer);
    trace.poll(4, 1, SECOND);
    trace.cpu(MS / 10);
    trace.poll(4, 1, 2 * SECOND);
    trace.reply("250 accepted\r\n");
    trace.quit();
    let waits = command(&trace.session(), "EOM").waits.clone();
    assert_eq!(waits.len(), 1, "{waits:#?}");
    waits[0].clone()
}

#[test]
fn sendmail_hands_a_message_on_before_its_reply() {
    for peer in ["10.99.0.3:25", "[fd99::3]:587"] {
        let wait = delivery("sendmail", peer);
        assert_eq!((wait.cause, wait.target.as_deref(), wait.outcome, wait.attempts), (Cause::Relay, Some(peer), Outcome::Ok, Some(1)));
        near(wait.elapsed_s, 3.0011);
    }
    assert_eq!(delivery("sendmail", "10.99.0.3:10024").cause, Cause::Network);
}

#[test]
fn whoever_does_not_deliver_by_himself_may_ask_about_an_address() {
    assert_eq!(delivery("exim", "10.99.0.3:25").cause, Cause::Network);
    assert_eq!(delivery("postfix", "10.99.0.3:25").cause, Cause::Network);
}

fn sleeps(trace: &mut Trace, ns: u64) {
    trace.blocked(Call::ClockNanosleep, 0, ns).args.timeout_ns = Some(ns);
}

fn verified(work: impl FnOnce(&mut Trace)) -> Vec<Wait> {
    let mut trace = Trace::greeted();
    of_mta(&mut trace, "postfix");
    trace.line("MAIL FROM:<a@example.com>\r\n");
    connects(&mut trace, 7, 70, Proto::Unix, "private/verify");
    trace.poll(7, 1, 5 * MS);
    work(&mut trace);
    trace.reply("250 ok\r\n");
    trace.quit();
    command(&trace.session(), "MAIL").waits.clone()
}

#[test]
fn a_sleep_between_two_requests_to_verify_is_a_callback() {
    let waits = verified(|trace| {
        for _ in 0..2 {
            sleeps(trace, 3 * SECOND);
            trace.poll(7, 1, 2 * MS);
        }
    });
    let told: Vec<_> = waits.iter().map(|wait| (wait.cause, wait.target.as_deref())).collect();
    assert_eq!(told, [(Cause::Callback, Some("verify"))]);
    near(waits[0].elapsed_s, 6.01);
}

/// The connection is older than the session, and all answers come at once: only the requests are told.
#[test]
fn requests_alone_prove_what_a_sleep_is_for() {
    let asks = |trace: &mut Trace, service: &str| {
        let sys = trace.call(Call::Write, 40);
        sys.args.fd = Some(7);
        sys.socket = Some(socket(70, Proto::Unix));
        sys.peer = Some(endpoint(service));
    };
    let of = |service: &str, requests: usize| {
        let mut trace = Trace::greeted();
        of_mta(&mut trace, "postfix");
        trace.line("MAIL FROM:<a@example.com>\r\n");
        for _ in 0..requests {
            asks(&mut trace, service);
            sleeps(&mut trace, SECOND);
        }
        asks(&mut trace, service);
        trace.reply("250 ok\r\n");
        trace.quit();
        command(&trace.session(), "MAIL").waits.iter().map(|wait| (wait.cause, wait.attempts)).collect::<Vec<_>>()
    };
    assert_eq!(of("private/verify", 2), [(Cause::Callback, Some(3))]);
    assert_eq!(of("private/rewrite", 2), [(Cause::Sleep, None), (Cause::Sleep, None)]);
}

#[test]
fn what_main_cf_names_as_its_filter_is_a_content_filter() {
    let of = |newer: bool, value: &str| {
        let mut trace = Trace::greeted();
        of_mta(&mut trace, "postfix");
        let setting = SeedSetting { name: "smtp/inet/smtpd_proxy_filter".to_owned(), value: Some(value.to_owned()), line: 1 };
        let settings = SeedSettings { file: "/etc/postfix/master.cf".to_owned(), whole: false, newer, settings: vec![setting] };
        trace.records.insert(1, Record::SeedSettings(settings));
        trace.line("MAIL FROM:<a@example.com>\r\n");
        connects(&mut trace, 4, 40, Proto::Tcp, "127.0.0.1:10024");
        trace.poll(4, 1, SECOND);
        trace.reply("250 ok\r\n");
        trace.quit();
        command(&trace.session(), "MAIL").waits[0].cause
    };
    assert_eq!(of(false, "localhost:10024"), Cause::ContentFilter);
    assert_eq!(of(false, "inet:127.0.0.1:10024"), Cause::ContentFilter);
    // What the running server does not know yet, another port, and what is no address.
    assert_eq!(of(true, "127.0.0.1:10024"), Cause::Network);
    assert_eq!(of(false, "127.0.0.1:10025"), Cause::Network);
    assert_eq!(of(false, "filter.example:10024"), Cause::Network);
}

#[test]
fn a_sleep_behind_the_last_answer_of_verify_is_a_sleep() {
    let waits = verified(|trace| sleeps(trace, SECOND));
    let told: Vec<_> = waits.iter().map(|wait| wait.cause).collect();
    assert_eq!(told, [Cause::Mta, Cause::Sleep]);
    near(waits[1].elapsed_s, 1.0);
}

/// Reads of the client and writes to it, in sizes.
fn turns(trace: &mut Trace, reads: &[usize], write: usize) {
    trace.await_client(10 * MS);
    for read in reads {
        trace.read(*read, SmtpMode::Opaque);
    }
    trace.cpu(MS);
    if write > 0 {
        trace.reply(&"\x17".repeat(write));
    }
}

fn handshake_of(second_flight: &[usize], answer: usize) -> Session {
    let mut trace = Trace::greeted();
    trace.exchange("STARTTLS", "220 ready");
    turns(&mut trace, &[5, 233], 1232);
    turns(&mut trace, second_flight, answer);
    turns(&mut trace, &[5, 39], 177);
    turns(&mut trace, &[5, 44], 30);
    trace.hang_up();
    trace.session()
}

/// Found by `exim-starttls`: its library sent no ticket, and the first EHLO was taken for a part of the handshake.
#[test]
fn regress_a_handshake_without_tickets_ends_with_the_clients_finished() {
    let expected = ["CONNECT", "STARTTLS", "TLS", "OPAQUE", "OPAQUE", "DISCONNECT"];
    for finished in [53, 69] {
        let session = handshake_of(&[5, 1, 5, finished], 0);
        assert_eq!(verbs(&session), expected);
        near(command(&session, "TLS").elapsed_s, 0.021);
    }
    // With tickets, and with TLS 1.2, the server's second flight is the end.
    assert_eq!(verbs(&handshake_of(&[5, 1, 5, 69], 255)), expected);
    assert_eq!(verbs(&handshake_of(&[5, 37, 5, 1, 5, 40], 51)), expected);
}

/// A client that comes back with a session ticket (TLS 1.2) has said its last word of the handshake, and lets the server wait for its EHLO: that is the
/// client's time, and no stalled handshake.
#[test]
fn regress_what_may_be_behind_a_handshake_is_no_tls_wait() {
    let mut trace = Trace::greeted();
    trace.exchange("STARTTLS", "220 ready");
    turns(&mut trace, &[5, 233], 1232);
    turns(&mut trace, &[5, 1, 5, 40], 0);
    trace.await_client(5 * SECOND);
    trace.read(44, SmtpMode::Opaque);
    trace.reply(&"\x17".repeat(62));
    trace.hang_up();
    let session = trace.session();
    let waited: Vec<_> = session.waits().filter(|wait| wait.elapsed_s > 1.0).map(|wait| wait.cause).collect();
    assert_eq!((waited, session.findings.len()), (vec![Cause::Client], 0));
}

#[test]
fn a_client_that_is_late_inside_its_handshake_is_a_tls_wait() {
    let mut trace = Trace::greeted();
    trace.exchange("STARTTLS", "220 ready");
    // What it takes before its hello is its own time.
    trace.await_client(2 * SECOND);
    trace.read(233, SmtpMode::Opaque);
    trace.reply(&"\x16".repeat(1232));
    trace.await_client(3 * SECOND);
    trace.read(74, SmtpMode::Opaque);
    trace.reply(&"\x16".repeat(255));
    trace.hang_up();
    let session = trace.session();
    let waits: Vec<_> = command(&session, "TLS").waits.iter().map(|wait| (wait.cause, format!("{:.0}", wait.elapsed_s))).collect();
    assert_eq!(waits, [(Cause::Client, "2".to_owned()), (Cause::Tls, "3".to_owned())]);
    assert_eq!(session.findings.iter().map(|finding| finding.rule.as_str()).collect::<Vec<_>>(), ["tls-slow"]);
}

#[test]
fn where_tls_comes_first_nothing_is_readable() {
    let mut trace = Trace::empty();
    let accept = trace.accept(CLIENT_INODE, "10.99.0.1:54712");
    accept.socket = Some(SocketId { local: Some(endpoint("10.99.0.2:465")), ..socket(CLIENT_INODE, Proto::Tcp) });
    trace.fork(CHILD, true);
    trace.pid = CHILD;
    trace.silent_lookup(1, "1.0.99.10.in-addr.arpa", 12);
    turns(&mut trace, &[5, 233], 1232);
    turns(&mut trace, &[5, 1, 5, 69], 255);
    sleeps(&mut trace, SECOND);
    trace.reply(&"\x17".repeat(50));
    turns(&mut trace, &[5, 39], 177);
    trace.hang_up();
    // The kernel side does not know that it is TLS: it sees lines that begin with no verb.
    for record in &mut trace.records {
        if let Record::Sys(sys) = record {
            sys.smtp.iter_mut().for_each(|smtp| smtp.mode = SmtpMode::Command);
        }
    }
    let session = trace.session();
    assert_eq!(verbs(&session), ["CONNECT", "TLS", "OPAQUE", "OPAQUE", "DISCONNECT"]);
    let causes =
        |index: usize| session.commands[index].waits.iter().filter(|wait| wait.cause != Cause::Client).map(|wait| wait.cause).collect::<Vec<_>>();
    assert_eq!((causes(0), causes(2)), (vec![Cause::Dns], vec![Cause::Sleep]));
    assert!(session.tls.is_some());
}

/// What is waited for at RCPT and behind the end of the message, where that goes over the same connection or another one.
fn cut_through(later: u64) -> Vec<Cause> {
    let mut trace = Trace::greeted();
    of_mta(&mut trace, "exim");
    trace.line("RCPT TO:<b@example.net>\r\n");
    connects(&mut trace, 4, 40, Proto::Tcp, "10.99.0.3:25");
    trace.poll(4, 1, SECOND);
    trace.reply("250 ok\r\n");
    trace.exchange("DATA", "354 go on");
    trace.read(100, SmtpMode::Data).smtp = Some(Smtp { mode: SmtpMode::Data, dot: true, carry: None });
    if later != 40 {
        connects(&mut trace, 5, later, Proto::Tcp, "10.99.0.3:25");
    }
    trace.poll(if later == 40 { 4 } else { 5 }, 1, 2 * SECOND);
    trace.reply("250 accepted\r\n");
    trace.quit();
    let session = trace.session();
    ["RCPT", "EOM"].iter().flat_map(|verb| command(&session, verb).waits.iter().map(|wait| wait.cause)).collect()
}

#[test]
fn exim_hands_a_message_on_over_the_connection_that_it_made_for_the_recipient() {
    assert_eq!(cut_through(40), [Cause::Callback, Cause::Relay]);
    assert_eq!(cut_through(50), [Cause::Callback, Cause::Network]);
}

/// The purpose of a look-up behind these lines of the client.
fn purpose_of(lines: &[&str], qname: &str, qtype: u16) -> Option<String> {
    let mut trace = Trace::greeted();
    for line in lines {
        trace.exchange(line, "250 ok");
    }
    trace.line("RCPT TO:<b@example.net>\r\n");
    trace.lookup(7, qname, qtype, SECOND);
    trace.reply("250 ok\r\n");
    trace.quit();
    let session = trace.session();
    let waits = &command(&session, "RCPT").waits;
    assert_eq!(waits.len(), 1, "{waits:#?}");
    waits[0].dns.as_ref().expect("a look-up").purpose.clone()
}

#[test]
fn a_txt_question_about_the_senders_or_the_clients_domain_is_spf() {
    const TXT: u16 = 16;
    let spf = Some("spf".to_owned());
    let lines = ["EHLO Mail.Client.Example", "MAIL FROM:<a@example.com>"];
    assert_eq!(purpose_of(&lines, "example.COM", TXT), spf);
    assert_eq!(purpose_of(&lines, "mail.client.example", TXT), spf);
    // What it includes, another type, the recipient's domain: no evidence.
    assert_eq!(purpose_of(&lines, "_spf.example.com", TXT), None);
    assert_eq!(purpose_of(&lines, "example.com", 15), None);
    assert_eq!(purpose_of(&lines, "example.net", TXT), None);
    assert_eq!(purpose_of(&["HELO x", "MAIL FROM:<a@example.com>", "RSET"], "example.com", TXT), None);
    assert_eq!(purpose_of(&["HELO x", "MAIL FROM:<a@example.com>", "RSET", "MAIL FROM:<>"], "x", TXT), spf);
    assert_eq!(purpose_of(&lines, "_dmarc.example.com", TXT).as_deref(), Some("dmarc-policy"));
}
