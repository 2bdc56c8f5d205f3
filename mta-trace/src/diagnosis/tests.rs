//! Findings of small made-up sessions.

use super::*;
use crate::report::{Began, Dns, DnsServer, Milter, Outcome, SessionEnd, Verb};

pub(super) fn wait(cause: Cause, target: &str, elapsed_s: f64, outcome: Outcome) -> Wait {
    Wait { elapsed_s, ..Wait::bare(cause, (!target.is_empty()).then(|| target.to_owned()), outcome) }
}

fn look_up(qtype: &str, qname: &str, elapsed_s: f64, rcode: Option<&str>, servers: &[(&str, u32, bool)]) -> Wait {
    let outcome = match rcode {
        None => Outcome::Timeout,
        Some("SERVFAIL") => Outcome::Error,
        Some(_) => Outcome::Ok,
    };
    let mut it = wait(Cause::Dns, servers.first().map_or("", |server| server.0), elapsed_s, outcome);
    it.attempts = Some(servers.iter().map(|server| server.1).sum());
    it.syscalls = vec!["poll".to_owned()];
    it.dns = Some(Dns {
        qname: qname.to_owned(),
        qtype: qtype.to_owned(),
        rcode: rcode.map(str::to_owned),
        servers: servers
            .iter()
            .map(|(address, attempts, answered)| DnsServer {
                address: (*address).to_owned(),
                attempts: *attempts,
                answered: *answered,
                waited_s: None,
                tcp_attempts: None,
                truncated: false,
            })
            .collect(),
        unanswered: None,
        purpose: None,
        zone: None,
    });
    it
}

fn command(index: usize, verb: Verb, waits: Vec<Wait>) -> Command {
    Command {
        index,
        verb,
        line: None,
        line_bytes: None,
        reply_code: Some(250),
        reply: None,
        start_s: 0.0,
        elapsed_s: waits.iter().map(|wait| wait.elapsed_s).sum::<f64>() + 0.001,
        short_waits_s: 0.0,
        cpu_s: 0.001,
        runqueue_s: 0.0,
        unexplained_s: 0.0,
        waits,
        queue_id: None,
        boundary: None,
        absent: Vec::new(),
    }
}

fn found_in(session: &Session) -> Vec<Finding> {
    findings(session, &Settings::default())
}

fn session(commands: Vec<Command>) -> Session {
    Session {
        id: "14811-1".to_owned(),
        mta: "sendmail".to_owned(),
        mta_version: Some("8.17.1.9".to_owned()),
        pid: 14811,
        daemon_pid: 13633,
        client: "10.99.0.1:54712".to_owned(),
        server: "10.99.0.2:25".to_owned(),
        started: "2026-03-21T04:43:26.521219Z".to_owned(),
        elapsed_s: commands.iter().map(|command| command.elapsed_s).sum(),
        client_s: 0.0,
        complete: true,
        began: Began::Accept,
        end: SessionEnd::Quit,
        tls: None,
        queue_ids: Vec::new(),
        commands,
        left_out: None,
        findings: Vec::new(),
        between: Vec::new(),
        before_accept_s: None,
        inherited_by: Vec::new(),
        probe: None,
    }
}

const DEAD: &[(&str, u32, bool)] = &[("10.99.0.1:53", 2, false)];

#[test]
fn the_reported_case() {
    let mail = command(
        1,
        Verb::Mail,
        vec![
            look_up("AAAA", "example.com", 10.011, None, DEAD),
            look_up("A", "example.com", 10.01, None, DEAD),
            look_up("MX", "example.com", 0.002, Some("NOERROR"), &[("10.99.0.1:53", 1, true)]),
        ],
    );
    let found = found_in(&session(vec![mail]));
    assert_eq!(found.len(), 1);
    let it = &found[0];
    assert_eq!(it.summary, "MAIL waited 20.02 s for DNS: AAAA and A of example.com, two attempts each, never answered by 10.99.0.1:53");
    assert_eq!((it.rule.as_str(), it.severity, it.command, it.elapsed_s), ("dns-timeout", Severity::High, 1, 20.021));
    assert!(it.remedy.contains("10.99.0.1") && it.remedy.contains("nocanonify") && it.remedy.contains("confTO_RESOLVER_RETRY"));
    assert!(it.evidence.contains("AAAA example.com: no answer from 10.99.0.1:53, two attempts, 10.01 s"), "{}", it.evidence);
    assert_eq!(it.check.as_deref(), Some("dig @10.99.0.1 example.com AAAA +tries=1 +time=5"));
}

#[test]
fn the_first_of_two_servers_is_silent() {
    let servers = &[("10.99.0.1:53", 1, false), ("10.99.0.2:53", 1, true)];
    let mail = command(1, Verb::Mail, vec![look_up("MX", "example.com", 5.005, Some("NOERROR"), servers)]);
    let found = found_in(&session(vec![mail]));
    assert_eq!(found[0].rule, "dns-server-silent");
    assert_eq!(
        found[0].summary,
        "MAIL waited 5.00 s for DNS: MX of example.com not answered by 10.99.0.1:53, which is asked before 10.99.0.2:53 that answered"
    );
}

#[test]
fn a_stub_resolver_is_named_as_such() {
    let mail = command(1, Verb::Mail, vec![look_up("A", "example.com", 3.0, Some("SERVFAIL"), &[("127.0.0.53:53", 1, true)])]);
    let found = found_in(&session(vec![mail]));
    assert_eq!(found[0].rule, "dns-error");
    assert!(found[0].evidence.contains("stub resolver"));
    assert!(found[0].remedy.contains("resolvectl"));
}

#[test]
fn reverse_names_are_told_apart() {
    for (qname, part) in [
        ("1.0.99.10.in-addr.arpa", "each client's address"),
        ("2.0.99.10.in-addr.arpa", "its own address"),
        ("1.0.99.10.bl.example", "dnsbl"),
        ("client.example.com", "leads back"),
    ] {
        let connect = command(0, Verb::Connect, vec![look_up("PTR", qname, 10.01, None, DEAD)]);
        let found = found_in(&session(vec![connect]));
        assert!(found[0].remedy.contains(part), "{qname}: {}", found[0].remedy);
    }
}

#[test]
fn ident_names_the_port() {
    let mut it = wait(Cause::Ident, "10.99.0.1:113", 4.999, Outcome::Timeout);
    it.timer_s = Some(5.0);
    it.syscalls = vec!["connect".to_owned()];
    let found = found_in(&session(vec![command(0, Verb::Connect, vec![it])]));
    assert_eq!(found[0].rule, "ident-timeout");
    assert_eq!(found[0].check.as_deref(), Some("nc -vz -w 6 10.99.0.1 113"));
    assert!(found[0].remedy.contains("confTO_IDENT"));
    assert!(found[0].evidence.contains("the server's own timer of 5.00 s ended it (Timeout.ident=5s)"));
}

#[test]
fn forty_milliseconds_each_are_one_finding() {
    let callback = |stage: &str| {
        let mut it = wait(Cause::Milter, "127.0.0.1:7357", 0.044, Outcome::Ok);
        it.milter = Some(Milter { stage: stage.to_owned(), reply: Some("continue".to_owned()), writes: Some(2) });
        it
    };
    let commands = vec![
        command(0, Verb::Connect, vec![callback("connect")]),
        command(1, Verb::Mail, vec![callback("envfrom")]),
        command(2, Verb::Eom, vec![callback("header"), callback("eoh"), callback("eom")]),
    ];
    let found = found_in(&session(commands));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].rule.as_str(), found[0].command), ("milter-nagle", 2));
    assert!(found[0].remedy.contains("unix socket"));
    assert!(found[0].summary.contains("five callbacks of about 44 ms"), "{}", found[0].summary);
    // Over a unix socket there is no Nagle.
    let mut local = callback("connect");
    local.target = Some("/run/milter.sock".to_owned());
    assert!(found_in(&session(vec![command(0, Verb::Eom, vec![local.clone(), local])])).is_empty());
}

#[test]
fn the_syncs_of_one_message_are_one_finding() {
    let names = ["/var/spool/mqueue/dfX", "/var/spool/mqueue/qfX", "/var/spool/mqueue"];
    let syncs = names.iter().map(|path| wait(Cause::SpoolSync, path, 1.5, Outcome::Ok)).collect();
    let found = found_in(&session(vec![command(0, Verb::Eom, syncs)]));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].target.as_deref(), Some("/var/spool/mqueue"));
    assert_eq!(found[0].summary, "EOM waited 4.50 s for the disk: three fsyncs in /var/spool/mqueue");
}

#[test]
fn configured_delays_are_intended_and_come_last() {
    let mut pause = wait(Cause::Sleep, "", 6.0, Outcome::Ok);
    pause.syscalls = vec!["pselect6".to_owned()];
    let mut throttle = wait(Cause::Sleep, "", 1.0, Outcome::Ok);
    throttle.syscalls = vec!["clock_nanosleep".to_owned()];
    let lock = wait(Cause::FileLock, "/etc/mail/access.db", 0.2, Outcome::Ok);
    let mut refused = command(1, Verb::Rcpt, Vec::new());
    refused.reply_code = Some(550);
    let found = found_in(&session(vec![
        command(0, Verb::Connect, vec![pause]),
        refused,
        command(2, Verb::Rcpt, vec![throttle.clone(), lock]),
        command(3, Verb::Noop, vec![throttle]),
    ]));
    let rules: Vec<(&str, Severity)> = found.iter().map(|it| (it.rule.as_str(), it.severity)).collect();
    assert_eq!(
        rules,
        [("sleep", Severity::Medium), ("file-lock", Severity::Low), ("greet-pause", Severity::Intended), ("rcpt-throttle", Severity::Intended)]
    );
}

#[test]
fn severity_follows_the_limits() {
    for (elapsed_s, share, expected) in [
        (0.1, 1.0, Severity::Low),
        (0.5, 1.0, Severity::Medium),
        (1.0, 0.19, Severity::Medium),
        (1.0, 0.2, Severity::High),
        (5.0, 0.01, Severity::High),
    ] {
        assert_eq!(severity("dns-timeout", elapsed_s, share), expected, "{elapsed_s} {share}");
    }
}

#[test]
fn a_fast_session_and_the_client_have_none() {
    let fast = command(0, Verb::Mail, vec![look_up("MX", "example.com", 0.099, Some("NOERROR"), &[("10.99.0.1:53", 1, true)])]);
    let body = command(1, Verb::Body, vec![wait(Cause::Client, "", 30.0, Outcome::Ok)]);
    assert!(found_in(&session(vec![fast, body])).is_empty());
}

#[test]
fn many_names_are_counted_and_hostile_ones_quoted() {
    let mut waits: Vec<Wait> = (0..6).map(|n| look_up("A", &format!("n{n}.example"), 1.0, None, DEAD)).collect();
    waits.push(look_up("A", "-f/etc/x'$(id)", 2.0, None, DEAD));
    let found = found_in(&session(vec![command(0, Verb::Rcpt, waits)]));
    assert!(found[0].summary.contains("A of n3.example and three more names"), "{}", found[0].summary);
    assert_eq!(found[0].check.as_deref(), Some(r"dig @10.99.0.1 -q '-f/etc/x'\''$(id)' A +tries=1 +time=5"));
}

/// All that a finding can be about.
fn causes() -> impl Iterator<Item = Cause> {
    Cause::ALL.iter().copied().filter(|cause| *cause != Cause::Client)
}

#[test]
fn every_cause_has_text() {
    let outcomes = [
        Outcome::Ok,
        Outcome::Timeout,
        Outcome::Refused,
        Outcome::Unreachable,
        Outcome::Reset,
        Outcome::Denied,
        Outcome::Error,
        Outcome::Interrupted,
        Outcome::Unfinished,
    ];
    for cause in causes() {
        for outcome in outcomes {
            for target in ["", "10.99.0.1:9", "/run/x"] {
                let found = found_in(&session(vec![command(0, Verb::Data, vec![wait(cause, target, 1.0, outcome)])]));
                assert_eq!(found.len(), 1);
                let it = &found[0];
                assert!(it.summary.starts_with("DATA waited 1.00 s") && !it.evidence.is_empty() && !it.remedy.is_empty(), "{it:?}");
                let others = causes().filter(|other| ![cause, Cause::Unknown].contains(other));
                assert_eq!(others.map(Cause::name).find(|name| it.rule.starts_with(&format!("{name}-"))), None, "{cause:?} is told as {}", it.rule);
            }
        }
    }
}

#[test]
fn regress_who_accepted_the_connection_did_not_refuse_to() {
    for (connected, part) in [
        (Some(false), "which never answered the connection attempt"),
        (Some(true), "which accepted the connection and never answered the query"),
        (None, "which never answered"),
    ] {
        let mut it = wait(Cause::Ident, "10.99.0.1:113", 4.999, Outcome::Timeout);
        it.syscalls = vec!["connect".to_owned(), "read".to_owned()];
        it.connected = connected;
        let found = found_in(&session(vec![command(0, Verb::Connect, vec![it])]));
        assert!(found[0].summary.ends_with(part), "{}", found[0].summary);
    }
}

#[test]
fn regress_what_was_not_over_did_not_time_out() {
    for (cause, target) in [
        (Cause::Dns, "10.99.0.1:53"),
        (Cause::Ident, "10.99.0.1:113"),
        (Cause::Callback, "10.99.0.1:25"),
        (Cause::Milter, "10.99.0.1:8891"),
        (Cause::Sasl, "/run/saslauthd/mux"),
        (Cause::Network, "10.99.0.1:389"),
    ] {
        for (outcome, part) in [(Outcome::Unfinished, "when the trace of it ended"), (Outcome::Interrupted, "when a signal interrupted it")] {
            let found = found_in(&session(vec![command(0, Verb::Connect, vec![wait(cause, target, 0.2, outcome)])]));
            assert_eq!(found[0].rule, format!("{}-unfinished", cause.name()));
            assert!(found[0].summary.ends_with(part), "{}", found[0].summary);
            assert!(!found[0].summary.contains("never"), "{}", found[0].summary);
        }
    }
}

#[test]
fn regress_a_throttle_needs_a_refusal_before_it() {
    let throttled = |verb, code| {
        let mut first = command(0, verb, Vec::new());
        first.reply_code = Some(code);
        let mut sleep = wait(Cause::Sleep, "", 1.0, Outcome::Ok);
        sleep.syscalls = vec!["clock_nanosleep".to_owned()];
        found_in(&session(vec![first, command(1, verb, vec![sleep])]))[0].rule.clone()
    };
    assert_eq!(throttled(Verb::Rcpt, 550), "rcpt-throttle");
    assert_eq!(throttled(Verb::Auth, 535), "auth-throttle");
    // Above the load of DelayLA every RCPT sleeps, though none was refused.
    assert_eq!(throttled(Verb::Rcpt, 250), "sleep");
    assert_eq!(throttled(Verb::Auth, 235), "sleep");
}

#[test]
fn regress_a_unix_socket_is_no_network_and_an_errno_no_answer() {
    let found =
        |target, outcome| found_in(&session(vec![command(0, Verb::Rcpt, vec![wait(Cause::Network, target, 1.0, outcome)])]))[0].summary.clone();
    assert_eq!(found("/var/run/nscd/socket", Outcome::Ok), "RCPT waited 1.00 s for /var/run/nscd/socket: answered");
    assert_eq!(found("10.99.0.1:389", Outcome::Error), "RCPT waited 1.00 s for 10.99.0.1:389 over the network: failed with an error");
    let mut failed = look_up("A", "example.com", 1.0, None, DEAD);
    failed.outcome = Outcome::Error;
    failed.dns.as_mut().expect("dns").servers[0].answered = true;
    let found = found_in(&session(vec![command(0, Verb::Rcpt, vec![failed])]));
    assert!(!found[0].summary.contains("answered"), "{}", found[0].summary);
}

#[test]
fn every_finding_has_a_check_by_hand() {
    for cause in causes() {
        for target in ["", "10.99.0.1:9", "/run/x", "@abstract", "relative"] {
            for verb in [Verb::Connect, Verb::Rcpt, Verb::Auth, Verb::Data] {
                let found = found_in(&session(vec![command(0, verb, vec![wait(cause, target, 1.0, Outcome::Ok)])]));
                assert!(found[0].check.is_some(), "{cause:?} {target:?}");
            }
        }
    }
}

#[test]
fn a_connection_that_was_accepted_late_is_told() {
    let mut late = session(vec![command(0, Verb::Connect, Vec::new())]);
    late.before_accept_s = Some(1.5);
    let found = found_in(&late);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].rule.as_str(), found[0].cause, found[0].elapsed_s), (backlog::RULE, Cause::Mta, 1.5));
    assert!(found[0].summary.contains("1.50 s") && found[0].remedy.contains("ConnectionRateThrottle"), "{found:#?}");
    late.before_accept_s = Some(0.05);
    assert!(found_in(&late).is_empty());
}

#[test]
fn a_pause_that_watches_the_client_is_configured() {
    let paused = |descriptor: &str| {
        let mut sleep = wait(Cause::Sleep, "", 3.0, Outcome::Ok);
        sleep.syscalls = vec!["poll".to_owned()];
        sleep.descriptor = Some(descriptor.to_owned());
        let mut session = session(vec![command(0, Verb::Rcpt, vec![sleep])]);
        session.mta = "exim".to_owned();
        session.client = "10.99.0.1:2500".to_owned();
        found_in(&session).remove(0)
    };
    let found = paused("fd 5: tcp 10.99.0.2:25 -> 10.99.0.1:2500");
    assert_eq!((found.rule.as_str(), found.severity), ("tarpit", Severity::Intended));
    assert!(found.remedy.contains("acl_smtp_rcpt"), "{found:#?}");
    assert_eq!(paused("fd 5: tcp 10.99.0.2:25 -> 10.99.0.1:25").rule, "sleep");
}

#[test]
fn exim_is_told_in_its_own_words() {
    for (cause, target, words) in
        [(Cause::Callback, "10.99.0.3:25", "callout=8s of a `verify` in an ACL"), (Cause::Ident, "10.99.0.1:113", "rfc1413_query_timeout=8s")]
    {
        let mut it = wait(cause, target, 8.0, Outcome::Timeout);
        it.timer_s = Some(8.0);
        let mut session = session(vec![command(0, Verb::Rcpt, vec![it])]);
        session.mta = "exim".to_owned();
        let found = found_in(&session);
        assert!(found[0].evidence.contains(words) && !found[0].remedy.contains("sendmail"), "{found:#?}");
    }
}
