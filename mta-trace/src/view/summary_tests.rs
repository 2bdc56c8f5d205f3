//! The text report of made-up sessions, as it looks.

use super::*;
use crate::view::samples;

fn shown(report: &Report) -> String {
    text(report, &Accepted::default())
}

#[test]
fn the_whole_report() {
    samples::check("summary", &shown(&samples::report(vec![samples::slow_session()])));
}

/// As the analysis does it.
fn report_of(sessions: Vec<Session>) -> Report {
    let mut tallies = crate::diagnosis::Tallies::default();
    for session in &sessions {
        tallies.add(session);
    }
    Report { findings: tallies.conclude(), ..samples::report(sessions) }
}

#[test]
fn what_several_sessions_have_in_common_stands_first() {
    let mut second = samples::slow_session();
    second.id = "14812-2".to_owned();
    second.client = "10.99.0.1:54713".to_owned();
    // Here one look-up only: its check is another one.
    second.commands[2].waits.remove(0);
    second.commands[2].elapsed_s -= 10.01;
    second.findings = crate::diagnosis::findings(&second, &crate::diagnosis::Settings::default());
    let report = report_of(vec![samples::slow_session(), second]);
    samples::check("summary-common", &shown(&report));
    assert_eq!(shown(&Report { findings: Vec::new(), ..report.clone() }).matches("nc -vz").count(), 2);
    assert_eq!(shown(&report).matches("nc -vz").count(), 1, "a check that stands above is not said again");
}

#[test]
fn one_session_has_nothing_in_common_with_another() {
    let session = samples::slow_session();
    assert_eq!(shown(&report_of(vec![session.clone()])), shown(&samples::report(vec![session])));
}

#[test]
fn commands_that_are_left_out_are_counted() {
    use crate::report::{CauseSum, LeftOutCommands, VerbSum};
    let mut session = samples::slow_session();
    let sum = |verb, commands, server_s| VerbSum { verb, commands, server_s };
    let lock = CauseSum { cause: Cause::FileLock, target: Some("/x".to_owned()), verb: Some(Verb::Mail), elapsed_s: 7.0, waits: 9 };
    session.left_out = Some(LeftOutCommands {
        commands: 30,
        elapsed_s: 9.0,
        verbs: vec![sum(Verb::Mail, 10, 8.0), sum(Verb::Rset, 20, 1.0)],
        waits: vec![lock],
        ..LeftOutCommands::default()
    });
    let before_s = samples::slow_session().server_s();
    let text = shown(&samples::report(vec![session.clone(), session]));
    let expected = "  of 34 commands 4 are shown; the others, which cost least, took 9.000 s of the\n  server's time: 20 RSET, 10 MAIL\n";
    assert!(text.contains(expected), "{text}");
    assert!(text.contains(&format!("the server's time {:.3}", before_s + 9.0)), "{text}");
    let rows = text.split_once("where it went").map_or("", |(_, rows)| rows);
    assert!(rows.contains("file-lock /x") && rows.contains("14.000 s  18 waits"), "{text}");
}

#[test]
fn many_findings_of_all_sessions_are_counted() {
    let mut report = report_of(vec![samples::slow_session(), samples::slow_session()]);
    let one = report.findings[0].clone();
    report.findings = (0..COMMON + 2).map(|n| crate::report::CommonFinding { remedy: format!("remedy {n}"), ..one.clone() }).collect();
    report.findings[3].remedy = "remedy 0".to_owned();
    let text = shown(&report);
    assert!(text.contains("\nand 2 smaller findings;") && text.contains("remedy 19") && !text.contains("remedy 20"), "{text}");
    assert_eq!(text.matches("remedy 0").count(), 1, "{text}");
}

#[test]
fn eighty_columns_but_for_checks() {
    let text = shown(&report_of(vec![samples::slow_session(), samples::hostile_session()]));
    for line in text.lines().filter(|line| !line.trim_start().starts_with("check ")) {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
}

#[test]
fn hostile_text_is_escaped() {
    let text = shown(&report_of(vec![samples::hostile_session(), samples::hostile_session()]));
    assert!(!text.chars().any(|c| c != '\n' && crate::view::escape::is_hostile(c)), "{text}");
    assert!(text.contains("\\x1b") && text.contains("\\u{202e}"), "{text}");
}

#[test]
fn what_is_missing_stands_first() {
    let mut report = samples::report(vec![samples::slow_session()]);
    report.log =
        LogSummary { lost: 3, unfinished: true, unreadable: 1, unknown: 2, truncated: 4, switches: 5, exits: 6, unmatched: 14, ..report.log };
    let text = shown(&report);
    assert!(text.starts_with("note: 3 events were LOST"), "{text}");
    for part in ["has no end", "1 record could", "2 records are", "of 4 events", "of 5 waits", "of 6 calls", "14 connections of others"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_same_remedy_is_said_once() {
    let mut session = samples::slow_session();
    let mut second = session.findings.first().cloned().expect("a finding");
    second.summary = "another".to_owned();
    session.findings = vec![session.findings.swap_remove(0), second];
    let text = shown(&samples::report(vec![session]));
    assert_eq!(text.matches("remedy ").count(), 2, "{text}");
    assert_eq!(text.matches(" above\n").count(), 1, "{text}");
}

#[test]
fn a_fast_session_says_so() {
    let mut session = samples::slow_session();
    session.findings.clear();
    session.commands.clear();
    assert!(shown(&samples::report(vec![session])).contains("nothing to report"));
}

#[test]
fn regress_the_client_s_time_inside_commands_is_its_own() {
    let mut session = samples::slow_session();
    let client = samples::wait(Cause::Client, "", 38.1, 30.0, crate::report::Outcome::Ok);
    let at = session.commands.len();
    session.commands.push(samples::command(at, Verb::Body, None, "", 38.1, vec![client]));
    let before: f64 = session.commands.iter().take(at).map(|command| command.elapsed_s).sum();
    session.elapsed_s += 30.002;
    let text = shown(&samples::report(vec![session.clone(), session.clone()]));
    let server_s = before + 0.002;
    assert!(text.contains(&format!("the server's time {server_s:.3}, the client's {:.3}", session.elapsed_s - server_s)), "{text}");
    assert!(text.contains(&format!("all 2 sessions: server {:.3} s", 2.0 * server_s)), "{text}");
}

#[test]
fn regress_waits_between_commands_are_shown() {
    let mut session = samples::slow_session();
    session.between.push(samples::wait(Cause::FileLock, "/etc/mail/access.db", 16.3, 1.0, crate::report::Outcome::Ok));
    let text = shown(&samples::report(vec![session]));
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"));
    assert!(at("S 250 m1.example.test Hello") < at("file-lock /etc/mail/access.db"), "{text}");
    assert!(at("file-lock /etc/mail/access.db") < at("C MAIL FROM"), "{text}");
    assert!(text.contains("between commands"), "{text}");
}

#[test]
fn regress_nothing_to_report_only_where_that_was_seen() {
    let fast = |elapsed_s: f64, complete: bool| {
        let mut session = samples::slow_session();
        session.findings.clear();
        session.commands.truncate(1);
        session.commands[0].waits.clear();
        (session.commands[0].elapsed_s, session.commands[0].cpu_s) = (elapsed_s, elapsed_s);
        session.complete = complete;
        shown(&samples::report(vec![session]))
    };
    assert!(fast(0.05, true).contains("nothing to report: no command waited for 0.1 s or longer"));
    for text in [fast(20.0, true), fast(0.05, false)] {
        assert!(text.contains("  no finding") && !text.contains("nothing to report"), "{text}");
    }
}

#[test]
fn regress_what_cannot_be_read_is_not_called_encrypted() {
    let mut session = samples::slow_session();
    session.commands.push(samples::command(4, Verb::Opaque, None, "", 40.0, Vec::new()));
    let text = shown(&samples::report(vec![session]));
    assert!(text.contains("C (not readable)") && text.contains("S (not readable)"), "{text}");
    assert!(!text.contains("encrypted"), "{text}");
}

#[test]
fn regress_a_long_kernel_release_is_wrapped() {
    let mut report = samples::report(vec![samples::slow_session()]);
    report.tool.kernel = "6.1.0-41-cloud-amd64-with-a-very-long-local-version-name".to_owned();
    assert!(shown(&report).lines().filter(|line| !line.contains("check ")).all(|line| line.chars().count() <= 80));
}

#[test]
fn regress_sessions_that_are_left_out_are_counted() {
    let mut report = samples::report(vec![samples::slow_session()]);
    let sum =
        crate::report::CauseSum { cause: Cause::FileLock, target: Some("/etc/mail/access.db".to_owned()), verb: None, elapsed_s: 9.5, waits: 7 };
    report.left_out = Some(crate::report::LeftOut { sessions: 99, server_s: 12.0, waits: vec![sum] });
    let text = shown(&report);
    assert!(text.starts_with("note: of 100 sessions the worst 1 is shown"), "{text}");
    assert!(text.contains("all 100 sessions: server "), "{text}");
    assert!(text.contains("file-lock /etc/mail/access.db"), "{text}");
}
