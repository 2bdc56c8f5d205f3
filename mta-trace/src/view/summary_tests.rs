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

#[test]
fn eighty_columns_but_for_checks() {
    let text = shown(&samples::report(vec![samples::slow_session(), samples::hostile_session()]));
    for line in text.lines().filter(|line| !line.trim_start().starts_with("check ")) {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
}

#[test]
fn hostile_text_is_escaped() {
    let text = shown(&samples::report(vec![samples::hostile_session()]));
    assert!(!text.chars().any(|c| c != '\n' && crate::view::escape::is_hostile(c)), "{text}");
    assert!(text.contains("\\x1b") && text.contains("\\u{202e}"), "{text}");
}

#[test]
fn what_is_missing_stands_first() {
    let mut report = samples::report(vec![samples::slow_session()]);
    report.log = LogSummary { lost: 3, unfinished: true, unreadable: 1, unknown: 2, truncated: 4, unmatched: 14, ..report.log };
    let text = shown(&report);
    assert!(text.starts_with("note: 3 events were LOST"), "{text}");
    for part in ["has no end", "1 record could", "2 records are", "of 4 events", "14 connections of others"] {
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
