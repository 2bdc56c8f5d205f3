//! Findings of many sessions: counts, percentiles, bounds.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn finding(rule: &str, target: Option<&str>, command: usize, elapsed_s: f64) -> Finding {
    let severity = if rule == "greet-pause" { Severity::Intended } else { Severity::High };
    Finding {
        rule: rule.to_owned(),
        severity,
        command,
        cause: if rule == "child" { Cause::Child } else { Cause::Ident },
        target: target.map(str::to_owned),
        elapsed_s,
        share: 1.0,
        summary: format!("{rule} of {elapsed_s}"),
        evidence: String::new(),
        remedy: format!("remedy of {elapsed_s}"),
        settings: Vec::new(),
        check: None,
    }
}

/// Its commands are CONNECT, RCPT and RCPT.
fn session(id: &str, findings: Vec<Finding>) -> Session {
    let command = |index: usize, verb: &str| {
        json!({"index": index, "verb": verb, "line": null, "reply_code": 250, "reply": null, "start_s": 0.0, "elapsed_s": 1.0,
            "short_waits_s": 0.0, "cpu_s": 1.0, "runqueue_s": 0.0, "unexplained_s": 0.0, "waits": []})
    };
    let session = json!({"id": id, "mta": "sendmail", "mta_version": null, "pid": 1, "daemon_pid": 1, "client": "", "server": "", "started": "",
        "elapsed_s": 3.0, "client_s": 0.0, "complete": true, "began": "accept", "end": "quit", "tls": null, "queue_ids": [],
        "commands": [command(0, "CONNECT"), command(1, "RCPT"), command(2, "RCPT")], "findings": []});
    Session { findings, ..serde_json::from_value(session).expect("a session") }
}

fn conclude(sessions: &[Session]) -> Vec<CommonFinding> {
    let mut tallies = Tallies::default();
    for session in sessions {
        tallies.add(session);
    }
    tallies.conclude()
}

#[test]
fn one_session_has_its_own_findings() {
    assert_eq!(conclude(&[session("1-1", vec![finding("ident-timeout", Some("c:113"), 0, 5.0)])]), []);
    assert_eq!(conclude(&[session("1-1", vec![]), session("1-2", vec![])]), []);
}

#[test]
fn the_same_cause_and_target_is_one_finding() {
    let slow = |n: u32| session(&format!("1-{n}"), vec![finding("ident-timeout", Some("c:113"), 0, 5.0 + f64::from(n) / 1e4)]);
    let sessions: Vec<Session> = (0..37).map(slow).chain((0..3).map(|n| session(&format!("2-{n}"), vec![]))).collect();
    let [found] = conclude(&sessions).try_into().expect("one finding");
    assert_eq!(found.summary, "ident-timeout: 37 of 40 sessions, median 5.00 s, 95th percentile 5.00 s");
    assert_eq!((found.verb, found.target.as_deref(), found.targets), (Verb::Connect, Some("c:113"), None));
    assert!((found.max_s - 5.0036).abs() < 1e-9 && (found.total_s - 185.0666).abs() < 1e-6, "{found:#?}");
    assert_eq!(found.evidence, "longest in session 1-36: ident-timeout of 5.0036");
    assert_eq!(found.remedy, "remedy of 5.0036");
}

#[test]
fn a_session_counts_once() {
    let twice = session("1-1", vec![finding("dns-timeout", Some("s:53"), 1, 10.0), finding("dns-timeout", Some("s:53"), 2, 20.0)]);
    let [found] = conclude(&[twice, session("1-2", vec![])]).try_into().expect("one finding");
    assert_eq!(found.summary, "dns-timeout: 1 of 2 sessions, 30.00 s");
    assert_eq!((found.verb, found.remedy.as_str()), (Verb::Rcpt, "remedy of 20"));
}

#[test]
fn verbs_and_targets_are_told_apart_and_what_is_intended_comes_last() {
    let of = || {
        session(
            "1-1",
            vec![
                finding("greet-pause", None, 0, 30.0),
                finding("dns-timeout", Some("a:53"), 0, 1.0),
                finding("dns-timeout", Some("b:53"), 0, 2.0),
                finding("dns-timeout", Some("a:53"), 1, 3.0),
            ],
        )
    };
    let found = conclude(&[of(), of()]);
    let told: Vec<_> = found.iter().map(|it| (it.verb.name(), it.target.as_deref(), it.severity == Severity::Intended)).collect();
    assert_eq!(told, [("RCPT", Some("a:53"), false), ("CONNECT", Some("b:53"), false), ("CONNECT", Some("a:53"), false), ("CONNECT", None, true)]);
}

#[test]
fn a_child_is_known_by_its_name() {
    let of = |pid: u32| session(&format!("{pid}-1"), vec![finding("child", Some(&format!("{pid} mail.local")), 1, 1.0)]);
    let [found] = conclude(&[of(11), of(12)]).try_into().expect("one finding");
    assert_eq!((found.target.as_deref(), found.sessions), (Some("mail.local"), 2));
}

/// Session `n` waits for a target of its own.
fn own(n: u64) -> Session {
    session(&format!("{n}-1"), vec![finding("ident-timeout", Some(&format!("10.0.0.{n}:113")), 0, 5.0)])
}

#[test]
fn a_few_targets_of_one_session_each_are_named_and_more_are_told_together() {
    let sessions: Vec<Session> = (0..3).map(own).collect();
    assert_eq!(conclude(&sessions).iter().map(|it| (it.sessions, it.targets)).collect::<Vec<_>>(), [(1, None); 3]);
    let often = finding("ident-timeout", Some("10.1.0.1:113"), 0, 4.0);
    let sessions: Vec<Session> = (0..4).map(own).chain([session("8-1", vec![often.clone()]), session("9-1", vec![often])]).collect();
    let [together, apart] = conclude(&sessions).try_into().expect("two findings");
    assert_eq!(together.summary, "ident-timeout: 4 of 6 sessions, median 5.00 s, 95th percentile 5.00 s");
    assert_eq!((together.target, together.targets), (None, Some(4)));
    assert_eq!((apart.sessions, apart.target.as_deref()), (2, Some("10.1.0.1:113")));
}

#[test]
fn a_session_with_several_targets_that_are_told_together_counts_once() {
    let both = |n: u64| {
        let of = |host: &str| finding("dns-timeout", Some(&format!("{host}{n}:53")), 0, 1.0);
        session(&format!("{n}-1"), vec![of("a"), of("b")])
    };
    // More of them than are told apart.
    for sessions in [2, 32, 33, 100] {
        let all: Vec<Session> = (0..sessions).map(both).collect();
        let [found] = conclude(&all).try_into().expect("one finding");
        assert_eq!((found.sessions, found.targets), (sessions, Some(2 * sessions)));
        assert!((found.median_s - 2.0).abs() < 1e-9 && (found.max_s - 2.0).abs() < 1e-9, "{found:#?}");
    }
}

#[test]
fn bounded_and_a_rule_s_many_targets_do_not_take_the_place_of_another_rule() {
    let mut tallies = Tallies::default();
    (0..10_000).for_each(|n| tallies.add(&own(n)));
    for n in 0..3 {
        tallies.add(&session(&format!("{n}-2"), vec![finding("dns-timeout", Some("s:53"), 0, 2.0)]));
    }
    assert_eq!(tallies.targets, MAX_TARGETS + 1);
    let [ident, dns] = tallies.conclude().try_into().expect("two findings");
    assert_eq!((ident.sessions, ident.of, ident.targets), (10_000, 10_003, Some(10_000)));
    assert_eq!((dns.sessions, dns.target.as_deref()), (3, Some("s:53")));
    // Rules and verbs are few; should they be many, there is one bound for all.
    for rule in 0..1_000 {
        tallies.add(&session("1-1", vec![finding(&format!("rule-{rule}"), Some("s:53"), 0, 2.0)]));
    }
    assert_eq!(tallies.targets, MAX_ALL);
}

proptest! {
    /// Whatever comes: each session with a finding of a rule is counted, none twice, and no time is lost.
    #[test]
    fn counts_and_sums_close(sessions in proptest::collection::vec(proptest::collection::vec((0_u8..90, 0..3_usize, 0.1..60.0_f64), 0..4), 2..120)) {
        let of = |(n, waits): (usize, &Vec<(u8, usize, f64)>)| {
            let findings = waits.iter().map(|(target, command, elapsed_s)| finding("dns-timeout", Some(&format!("s{target}:53")), *command, *elapsed_s));
            session(&format!("{n}-1"), findings.collect())
        };
        let sessions: Vec<Session> = sessions.iter().enumerate().map(of).collect();
        let found = conclude(&sessions);
        let total_s: f64 = sessions.iter().flat_map(|session| &session.findings).map(|finding| finding.elapsed_s).sum();
        prop_assert!((found.iter().map(|it| it.total_s).sum::<f64>() - total_s).abs() < 1e-3);
        for verb in [Verb::Connect, Verb::Rcpt] {
            let of_verb: Vec<&CommonFinding> = found.iter().filter(|it| it.verb == verb).collect();
            let has = |session: &&Session| session.findings.iter().any(|it| (it.command == 0) == (verb == Verb::Connect));
            let with = u64::try_from(sessions.iter().filter(has).count()).unwrap();
            prop_assert!(of_verb.iter().all(|it| it.sessions <= with), "{:#?}", of_verb);
            prop_assert!(of_verb.iter().map(|it| it.sessions).sum::<u64>() >= with, "{:#?}", of_verb);
        }
        for it in &found {
            prop_assert!(it.median_s <= it.p95_s && it.p95_s <= it.max_s && it.max_s <= it.total_s + 1e-6, "{:#?}", it);
        }
    }
}
