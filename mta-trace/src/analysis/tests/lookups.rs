//! DNS look-ups as one wait each.

use super::trace::*;
use crate::event::*;
use crate::proto::dns::tests::message;
use crate::report::{Cause, Outcome, Wait};
use mta_trace_common::syscalls::Call;

const FIRST: &str = "192.0.2.53:53";
const SECOND_SERVER: &str = "192.0.2.54:53";

fn waits(work: impl FnOnce(&mut Trace)) -> Vec<Wait> {
    let mut trace = Trace::greeted();
    trace.line("MAIL FROM:<a@example.com>\r\n");
    work(&mut trace);
    trace.reply("250 ok\r\n");
    trace.quit();
    command(&trace.session(), "MAIL").waits.clone()
}

#[test]
fn the_second_server_answers() {
    let waits = waits(|trace| {
        trace.udp(4, 41, FIRST);
        trace.ask(4, 41, FIRST, 7, "example.com", 1);
        trace.poll(4, 0, 5 * SECOND);
        trace.udp(8, 42, SECOND_SERVER);
        trace.ask(8, 42, SECOND_SERVER, 7, "example.com", 1);
        trace.poll(8, 1, 3 * MS);
        trace.answer(8, 42, SECOND_SERVER, 7, 0, "example.com", 1);
    });
    assert_eq!(waits.len(), 1);
    let wait = &waits[0];
    assert_eq!((wait.outcome, wait.attempts, wait.target.as_deref(), wait.timer_s), (Outcome::Ok, Some(2), Some(FIRST), None));
    let dns = wait.dns.as_ref().expect("dns");
    assert_eq!(dns.rcode.as_deref(), Some("NOERROR"));
    let answered: Vec<_> = dns.servers.iter().map(|server| (server.address.as_str(), server.attempts, server.answered)).collect();
    assert_eq!(answered, [(FIRST, 1, false), (SECOND_SERVER, 1, true)]);
    near(dns.servers[0].waited_s.expect("time"), 5.0);
    near(dns.servers[1].waited_s.expect("time"), 0.003);
}

#[test]
fn a_late_answer_to_the_first_try() {
    let waits = waits(|trace| {
        trace.udp(4, 41, FIRST);
        trace.ask(4, 41, FIRST, 7, "example.com", 1);
        trace.poll(4, 0, 5 * SECOND);
        trace.ask(4, 41, FIRST, 7, "example.com", 1);
        trace.poll(4, 1, 2 * SECOND);
        trace.answer(4, 41, FIRST, 7, 3, "example.com", 1);
    });
    assert_eq!(waits.len(), 1);
    assert_eq!((waits[0].outcome, waits[0].attempts), (Outcome::Ok, Some(2)));
    assert_eq!(waits[0].dns.as_ref().expect("dns").rcode.as_deref(), Some("NXDOMAIN"));
    near(waits[0].elapsed_s, 7.0);
}

#[test]
fn servfail_is_asked_again_at_once() {
    let waits = waits(|trace| {
        for inode in [41, 42] {
            trace.udp(4, inode, FIRST);
            trace.ask(4, inode, FIRST, 7, "example.com", 1);
            trace.poll(4, 1, 30 * MS);
            trace.answer(4, inode, FIRST, 7, 2, "example.com", 1);
            trace.close(4);
        }
        trace.lookup(8, "example.com", 15, 5 * MS);
    });
    assert_eq!(waits.len(), 2);
    assert_eq!((waits[0].outcome, waits[0].attempts), (Outcome::Error, Some(2)));
    assert_eq!(waits[0].dns.as_ref().expect("dns").rcode.as_deref(), Some("SERVFAIL"));
    near(waits[0].elapsed_s, 0.06);
    assert_eq!(waits[1].dns.as_ref().expect("dns").qtype, "MX");
}

#[test]
fn a_truncated_answer_goes_on_over_tcp() {
    let waits = waits(|trace| {
        trace.udp(4, 41, FIRST);
        trace.ask(4, 41, FIRST, 7, "example.com", 16);
        trace.answer(4, 41, FIRST, 7, 0x0200, "example.com", 16);
        trace.close(4);
        let tcp = socket(43, Proto::Tcp);
        let connect = trace.blocked(Call::Connect, 0, 2 * MS);
        connect.args.fd = Some(4);
        connect.socket = Some(tcp.clone());
        connect.peer = Some(endpoint(FIRST));
        let query = message(7, 0x0100, "example.com", 16);
        let mut framed = u16::try_from(query.len()).expect("short").to_be_bytes().to_vec();
        framed.extend(query);
        let send = trace.call(Call::Writev, 31);
        send.args.fd = Some(4);
        send.socket = Some(tcp.clone());
        send.peer = Some(endpoint(FIRST));
        send.data = Some(Bytes(framed));
        for (ret, data, ns) in [(2, vec![0, 99], 3 * SECOND), (99, message(7, 0x8180, "example.com", 16), 0)] {
            let read = if ns > 0 { trace.blocked(Call::Read, ret, ns) } else { trace.call(Call::Read, ret) };
            read.args.fd = Some(4);
            read.socket = Some(tcp.clone());
            read.peer = Some(endpoint(FIRST));
            read.data = Some(Bytes(data));
        }
    });
    assert_eq!(waits.len(), 1);
    assert_eq!((waits[0].cause, waits[0].outcome, waits[0].attempts), (Cause::Dns, Outcome::Ok, Some(2)));
    near(waits[0].elapsed_s, 3.002);
    assert_eq!(waits[0].syscalls, ["connect", "read"]);
}

#[test]
fn a_and_aaaa_at_once_are_one_wait() {
    let waits = waits(|trace| {
        trace.udp(4, 41, "127.0.0.53:53");
        trace.ask(4, 41, "127.0.0.53:53", 7, "example.com", 1);
        trace.ask(4, 41, "127.0.0.53:53", 8, "example.com", 28);
        trace.poll(4, 1, 20 * MS);
        trace.answer(4, 41, "127.0.0.53:53", 7, 0, "example.com", 1);
        trace.poll(4, 1, 10 * MS);
        trace.answer(4, 41, "127.0.0.53:53", 8, 0, "example.com", 28);
    });
    assert_eq!(waits.len(), 1);
    assert_eq!((waits[0].target.as_deref(), waits[0].outcome), (Some("127.0.0.53:53"), Outcome::Ok));
    assert_eq!(waits[0].dns.as_ref().expect("dns").qtype, "A+AAAA");
    near(waits[0].elapsed_s, 0.03);
}

#[test]
fn sendmmsg_hides_its_second_question() {
    let waits = waits(|trace| {
        trace.udp(4, 41, FIRST);
        let send = trace.ask(4, 41, FIRST, 7, "example.com", 1);
        send.call = Call::Sendmmsg;
        send.ret = 2;
        trace.poll(4, 1, 20 * MS);
        trace.answer(4, 41, FIRST, 7, 0, "example.com", 1);
        trace.poll(4, 1, 10 * MS);
        trace.answer(4, 41, FIRST, 8, 0, "example.com", 28);
    });
    assert_eq!(waits.len(), 1);
    assert_eq!((waits[0].attempts, waits[0].dns.as_ref().expect("dns").qtype.as_str()), (Some(2), "A+AAAA"));
}

#[test]
fn aaaa_then_a_are_two_waits() {
    let waits = waits(|trace| {
        trace.lookup(7, "example.com", 28, 20 * MS);
        trace.lookup(8, "example.com", 1, 20 * MS);
    });
    assert_eq!(waits.len(), 2);
}

#[test]
fn a_refused_query() {
    let waits = waits(|trace| {
        trace.udp(4, 41, FIRST);
        trace.ask(4, 41, FIRST, 7, "example.com", 1);
        trace.poll(4, 1, 20 * MS);
        let receive = trace.answer(4, 41, FIRST, 7, 0, "example.com", 1);
        receive.ret = -111;
        receive.data = None;
    });
    assert_eq!((waits[0].cause, waits[0].outcome), (Cause::Dns, Outcome::Refused));
}

#[test]
fn a_page_fault_does_not_split_a_lookup() {
    let waits = waits(|trace| {
        trace.udp(4, 41, FIRST);
        trace.ask(4, 41, FIRST, 7, "example.com", 1);
        trace.poll(4, 0, 5 * SECOND);
        let since = trace.t;
        let fault = trace.blocked(Call::Read, 0, 3 * MS);
        let (t, at, at_start) = (fault.t, fault.at(), fault.at_start);
        trace.records.pop();
        trace.records.push(Record::Block(Box::new(Block {
            t,
            pid: CHILD,
            tid: CHILD,
            nr: -1,
            call: None,
            since,
            cause: Some("page-fault".into()),
            unfinished: false,
            args: None,
            at,
            at_start,
            socket: None,
            peer: None,
        })));
        trace.ask(4, 41, FIRST, 7, "example.com", 1);
        trace.poll(4, 0, 5 * SECOND);
    });
    assert_eq!(waits.len(), 1);
    near(waits[0].elapsed_s, 10.003);
}

#[test]
fn a_fast_answer_is_a_short_wait() {
    let mut trace = Trace::greeted();
    trace.line("MAIL FROM:<a@example.com>\r\n");
    trace.lookup(7, "example.com", 28, MS / 2);
    trace.reply("250 ok\r\n");
    trace.quit();
    let session = trace.session();
    let mail = command(&session, "MAIL");
    assert!(mail.waits.is_empty());
    near(mail.short_waits_s, 0.0005);
}

#[test]
fn a_stray_answer_with_another_id_is_none() {
    let waits = waits(|trace| {
        trace.udp(4, 41, FIRST);
        trace.ask(4, 41, FIRST, 7, "example.com", 1);
        trace.poll(4, 1, 20 * MS);
        trace.answer(4, 41, FIRST, 6, 0, "example.com", 28);
        trace.poll(4, 1, 30 * MS);
        trace.answer(4, 41, FIRST, 7, 0, "example.com", 1);
    });
    assert_eq!(waits.len(), 1);
    near(waits[0].elapsed_s, 0.05);
    assert_eq!(waits[0].dns.as_ref().expect("dns").qtype, "A");
}

/// TCP to the name server after a truncated answer: the connection, the question.
fn ask_over_tcp(trace: &mut Trace, inode: u64, qtype: u16) {
    let tcp = socket(inode, Proto::Tcp);
    let connect = trace.blocked(Call::Connect, 0, 2 * MS);
    connect.args.fd = Some(4);
    connect.socket = Some(tcp.clone());
    connect.peer = Some(endpoint(FIRST));
    let query = message(7, 0x0100, "example.com", qtype);
    let mut framed = u16::try_from(query.len()).expect("short").to_be_bytes().to_vec();
    framed.extend(query);
    let send = trace.call(Call::Writev, 31);
    send.args.fd = Some(4);
    send.socket = Some(tcp);
    send.peer = Some(endpoint(FIRST));
    send.data = Some(Bytes(framed));
}

fn truncated(trace: &mut Trace) {
    trace.udp(4, 41, FIRST);
    trace.ask(4, 41, FIRST, 7, "example.com", 15);
    trace.answer(4, 41, FIRST, 7, 0x0200, "example.com", 15);
    trace.close(4);
}

fn findings(work: impl FnOnce(&mut Trace)) -> (Wait, crate::report::Finding) {
    let mut trace = Trace::greeted();
    trace.line("MAIL FROM:<a@example.com>\r\n");
    work(&mut trace);
    trace.reply("250 ok\r\n");
    trace.quit();
    let session = trace.session();
    (command(&session, "MAIL").waits[0].clone(), session.findings.into_iter().next().expect("a finding"))
}

#[test]
fn regress_truncated_and_then_silent_over_tcp_is_told_so() {
    let (wait, finding) = findings(|trace| {
        truncated(trace);
        let connect = trace.blocked(Call::Connect, -110, 127 * SECOND);
        connect.args.fd = Some(4);
        connect.socket = Some(socket(43, Proto::Tcp));
        connect.peer = Some(endpoint(FIRST));
    });
    assert_eq!(wait.outcome, Outcome::Timeout);
    assert_eq!(finding.rule, "dns-truncated");
    assert_eq!(
        finding.summary,
        "MAIL waited 127.00 s for DNS: MX of example.com, answered by 192.0.2.53:53 over UDP, but truncated; over TCP it never answered"
    );
    assert!(finding.remedy.contains("TCP"), "{}", finding.remedy);
    let check = finding.check.as_deref().unwrap_or_default();
    assert!(check.starts_with("dig @192.0.2.53 example.com MX +tcp +tries=1 +time=5; echo '/canon example.com' | sendmail -bt -d8.8"), "{check}");
}

#[test]
fn regress_truncated_and_then_refused_over_tcp_is_told_so() {
    let (wait, finding) = findings(|trace| {
        truncated(trace);
        trace.short_wait(200 * MS);
        let connect = trace.blocked(Call::Connect, -111, 200 * MS);
        connect.args.fd = Some(4);
        connect.socket = Some(socket(43, Proto::Tcp));
        connect.peer = Some(endpoint(FIRST));
    });
    assert_eq!((wait.outcome, finding.rule.as_str()), (Outcome::Refused, "dns-truncated"));
    assert!(finding.summary.ends_with("over UDP, but truncated; over TCP it could not be reached"), "{}", finding.summary);
}

#[test]
fn regress_one_of_two_questions_was_not_answered() {
    let (wait, finding) = findings(|trace| {
        trace.udp(4, 41, FIRST);
        let send = trace.ask(4, 41, FIRST, 7, "example.com", 1);
        send.call = Call::Sendmmsg;
        send.ret = 2;
        trace.poll(4, 1, 20 * MS);
        trace.answer(4, 41, FIRST, 7, 0, "example.com", 1);
        trace.poll(4, 0, 5 * SECOND);
    });
    assert_eq!((wait.outcome, wait.dns.as_ref().expect("dns").unanswered), (Outcome::Timeout, Some(1)));
    assert_eq!(finding.rule, "dns-partial");
    assert_eq!(
        finding.summary,
        "MAIL waited 5.02 s for DNS: A of example.com and what was asked at once with it, two attempts, answered only in part by 192.0.2.53:53"
    );
}

#[test]
fn regress_a_slow_answer_over_tcp_is_told_so() {
    let (wait, finding) = findings(|trace| {
        truncated(trace);
        ask_over_tcp(trace, 43, 15);
        for (ret, data, ns) in [(2, vec![0, 99], 3 * SECOND), (99, message(7, 0x8180, "example.com", 15), 0)] {
            let read = if ns > 0 { trace.blocked(Call::Read, ret, ns) } else { trace.call(Call::Read, ret) };
            read.args.fd = Some(4);
            read.socket = Some(socket(43, Proto::Tcp));
            read.peer = Some(endpoint(FIRST));
            read.data = Some(Bytes(data));
        }
    });
    let server = &wait.dns.as_ref().expect("dns").servers[0];
    assert_eq!((server.attempts, server.tcp_attempts, server.truncated), (2, Some(1), true));
    assert_eq!(
        finding.summary,
        "MAIL waited 3.00 s for DNS: MX of example.com, answered by 192.0.2.53:53 only after 3.00 s, over TCP after a truncated answer"
    );
}

/// Whoever can forge answers must not make the analysis slow: without a bound this does not end.
#[test]
fn regress_a_flood_of_answers_is_bounded() {
    let waits = waits(|trace| {
        trace.udp(4, 41, FIRST);
        trace.ask(4, 41, FIRST, 7, "example.com", 1);
        for id in 0..5_000_u32 {
            trace.poll(4, 1, MS / 1000);
            trace.answer(4, 41, FIRST, 8 + u16::try_from(id).expect("small"), 0, "example.com", 1);
        }
        trace.poll(4, 1, SECOND);
        trace.answer(4, 41, FIRST, 7, 0, "example.com", 1);
    });
    assert_eq!((waits.len(), waits[0].outcome, waits[0].attempts), (1, Outcome::Ok, Some(1)));
    assert_eq!(waits[0].dns.as_ref().expect("dns").qname, "example.com");
}

#[test]
fn an_error_is_an_answer_to_its_question() {
    let waits = waits(|trace| {
        trace.udp(4, 41, FIRST);
        trace.ask(4, 41, FIRST, 7, "example.com", 1);
        trace.ask(4, 41, FIRST, 8, "example.com", 28);
        trace.poll(4, 1, 20 * MS);
        trace.answer(4, 41, FIRST, 7, 0, "example.com", 1);
        trace.poll(4, 1, 20 * MS);
        trace.answer(4, 41, FIRST, 8, 2, "example.com", 28);
    });
    assert_eq!((waits[0].outcome, waits[0].dns.as_ref().expect("dns").unanswered), (Outcome::Error, None));
}

/// With `fentry` a call that blocks while another tracer comes or goes has no exit event; what is left is the scheduler's block.
#[test]
fn regress_a_poll_whose_end_was_not_told() {
    let untold = |trace: &mut Trace, ns: u64, timeout_ns: u64| {
        let (since, at_start) = (trace.t, trace.call(Call::Alarm, 0).at());
        trace.records.pop();
        trace.short_wait(ns);
        let (t, at) = (trace.t, trace.call(Call::Alarm, 0).at());
        trace.records.pop();
        let args = Args { timeout_ns: Some(timeout_ns), ..Args::default() };
        trace.records.push(Record::Block(Box::new(Block {
            t,
            pid: trace.pid,
            tid: trace.pid,
            nr: 7,
            call: Some("poll".into()),
            since,
            cause: None,
            unfinished: false,
            args: Some(args),
            at,
            at_start: Some(at_start),
            socket: None,
            peer: None,
        })));
    };
    let waits = waits(|trace| {
        trace.udp(4, 41, FIRST);
        trace.ask(4, 41, FIRST, 7, "example.com", 28);
        untold(trace, 5 * SECOND, 5 * SECOND);
        trace.ask(4, 41, FIRST, 7, "example.com", 28);
        untold(trace, 5 * SECOND, 5 * SECOND);
        trace.close(4);
    });
    let [wait] = waits.as_slice() else { panic!("{waits:?}") };
    assert_eq!((wait.cause, wait.outcome, wait.attempts, wait.timer_s), (Cause::Dns, Outcome::Timeout, Some(2), Some(5.0)));
    near(wait.elapsed_s, 10.0);
}
