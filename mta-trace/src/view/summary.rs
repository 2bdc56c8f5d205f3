//! The report as text: per session what it took, command by command where the time went, and the findings.
//!
//! In: a [`Report`]. Out: text of 80 columns without any colour, the same live and from a saved log. Invariant: what
//! is missing (lost events, a cut log) stands at the top. Not here: how findings are made.

use super::{
    accepted::Accepted,
    escape::escape,
    layout::{Row, WIDTH},
    probe,
    words::{answer_row, between_row, ended, said, wait_row},
};
use crate::report::{
    Began, Boundary, Cause, Command, CommonFinding, DaemonFinding, DaemonReport, Finding, LeftOutCommands, LogSummary, Report, Session, Severity,
    Verb, VerbSum, Wait,
};
use std::fmt::Write;

/// So many findings of all sessions are shown; the rest are counted.
pub(super) const COMMON: usize = 20;

/// A row over the whole width.
fn row(it: &Row) -> Vec<String> {
    super::layout::row(it, WIDTH)
}

fn labelled(indent: usize, label: &str, text: &str) -> Vec<String> {
    super::layout::labelled(indent, label, text, WIDTH)
}

/// The whole report.
pub fn text(report: &Report, accepted: &Accepted) -> String {
    let mut out = String::new();
    for line in head(report) {
        push(&mut out, &line);
    }
    for line in report.daemon.iter().flat_map(daemon_lines) {
        push(&mut out, &line);
    }
    let common = report.findings.get(..COMMON).unwrap_or(&report.findings);
    for line in common_lines(common, report.findings.len()) {
        push(&mut out, &line);
    }
    for session in &report.sessions {
        push(&mut out, "");
        for line in session_lines(session, common) {
            push(&mut out, &line);
        }
    }
    if report.sessions.is_empty() {
        push(&mut out, "");
        for line in labelled(0, "", &accepted.sentence()) {
            push(&mut out, &line);
        }
    }
    if let Some(it) = &report.probe {
        push(&mut out, "");
        for line in probe::alone(it) {
            push(&mut out, &line);
        }
    } else if report.session_count() > 1 {
        push(&mut out, "");
        for line in overview(report) {
            push(&mut out, &line);
        }
    }
    out
}

fn push(out: &mut String, line: &str) {
    let written = writeln!(out, "{line}");
    debug_assert!(written.is_ok(), "a String takes everything");
}

/// What recorded it, and first of all what is missing.
fn head(report: &Report) -> Vec<String> {
    let mut lines = gaps(&report.log, !report.sessions.is_empty());
    if report.left_out.is_some() {
        let (all, kept) = (report.session_count(), report.sessions.len());
        let are = if kept == 1 { "is" } else { "are" };
        let text = format!("of {all} sessions the worst {kept} {are} shown; of the others, the sums below; `report --format json` of a log has all");
        lines.extend(labelled(0, "note: ", &text));
    }
    let tool = &report.tool;
    let sessions = report.session_count();
    let what = format!(
        "mta-trace {}, Linux {}, {} hooks: {}, {}",
        escape(&tool.version),
        escape(&tool.kernel),
        escape(&tool.hooks),
        counted(sessions, "session", "sessions"),
        counted(report.log.events, "event", "events"),
    );
    lines.extend(labelled(0, "", &what));
    lines
}

/// `1 session`, `2 sessions`.
pub(super) fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

fn gaps(log: &LogSummary, has_sessions: bool) -> Vec<String> {
    missing(log, has_sessions).iter().flat_map(|text| labelled(0, "note: ", text)).collect()
}

/// What is lost, cut or was not understood, a sentence each.
pub(super) fn missing(log: &LogSummary, has_sessions: bool) -> Vec<String> {
    let LogSummary { events: _, lost, truncated, unfinished, unreadable, unknown, switches, exits, unmatched } = *log;
    let mut texts: Vec<String> = Vec::new();
    if lost > 0 {
        texts.push(format!("{} LOST: times and causes below may be wrong or missing", counted(lost, "event was", "events were")));
    }
    if unfinished {
        texts.push("the log has no end: the tracer was stopped; what was written before that is used".to_owned());
    }
    if unreadable > 0 {
        texts.push(format!("{} could not be read: passed over", counted(unreadable, "record", "records")));
    }
    if unknown > 0 {
        let records = counted(unknown, "record is of a kind", "records are of kinds");
        texts.push(format!("{records} that this version does not know; a newer one may tell more"));
    }
    if truncated > 0 {
        texts.push(format!(
            "of {} only the beginning was copied (long lines, long lists of descriptors, long paths)",
            counted(truncated, "event", "events")
        ));
    }
    if switches > 0 {
        texts.push(format!("of {} the end was seen late, at the next call: the scheduler's switch was not told", counted(switches, "wait", "waits")));
    }
    if exits > 0 {
        let calls = counted(exits, "call", "calls");
        texts.push(format!("of {calls} the end was not told, nor what came of it: another eBPF program came or went at the same kernel function"));
    }
    // Where nobody matched, the sentence below says more.
    if unmatched > 0 && has_sessions {
        let others = counted(unmatched, "connection", "connections");
        texts.push(format!("{others} of others did not match --client and were not traced"));
    }
    texts
}

fn session_lines(session: &Session, common: &[CommonFinding]) -> Vec<String> {
    let mut lines = session_head(session);
    let mut between = session.between.iter().peekable();
    for command in &session.commands {
        while let Some(wait) = between.next_if(|wait| wait.start_s < command.start_s) {
            lines.extend(row(&between_row(wait)));
        }
        lines.extend(command_lines(command));
    }
    for (index, finding) in session.findings.iter().enumerate() {
        lines.push(String::new());
        let earlier = session.findings.get(..index).unwrap_or_default();
        lines.extend(finding_lines(session, finding, earlier, common));
    }
    if session.findings.is_empty() {
        lines.push(String::new());
        lines.push(format!("  {}", nothing_found(session)));
    }
    if let Some(probe) = &session.probe {
        lines.push(String::new());
        lines.extend(probe::beside(probe));
    }
    lines
}

/// That nothing was slow is said only where all was seen, and nothing was.
pub(super) fn nothing_found(session: &Session) -> &'static str {
    let is_fast = session.commands.iter().all(|command| command.server_s() < 0.1);
    if session.complete && is_fast { "nothing to report: no command waited for 0.1 s or longer" } else { "no finding" }
}

fn session_head(session: &Session) -> Vec<String> {
    let version = session.mta_version.as_deref().map(|it| format!(" {}", escape(it))).unwrap_or_default();
    let mut lines = labelled(
        0,
        &format!("session {}  ", escape(&session.id)),
        &format!("{} -> {}  {}{version}, pid {}", escape(&session.client), escape(&session.server), escape(&session.mta), session.pid),
    );
    let ids: Vec<String> = session.queue_ids.iter().map(|id| escape(id).into_owned()).collect();
    let queued = if ids.is_empty() { String::new() } else { format!("; queued as {}", ids.join(", ")) };
    let when = format!("started {}; {}{queued}", escape(&session.started), ended(session.end));
    lines.extend(labelled(2, "", &when));
    let (server_s, elapsed_s) = (session.server_s(), session.elapsed_s);
    let client_s = elapsed_s - server_s;
    lines.push(format!("  {elapsed_s:.3} s: the server's time {server_s:.3}, the client's {client_s:.3}"));
    lines.extend(session_notes(session).iter().flat_map(|note| labelled(2, "", note)));
    lines
}

/// What else is to be said of a session, a sentence each.
pub(super) fn session_notes(session: &Session) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    if session.began == Began::Seeded {
        notes.push("it had begun before the trace: times count from there".to_owned());
    } else if !session.complete {
        notes.push("the trace does not hold all of it".to_owned());
    }
    if let Some(s) = session.before_accept_s.filter(|s| *s >= 0.001) {
        notes.push(format!("before that the connection waited {s:.3} s to be accepted"));
    }
    notes.extend(session.left_out.as_ref().map(|left_out| commands_left_out(session, left_out)));
    if let Some(tls) = &session.tls {
        notes.push(format!("TLS from {:.3} s on", tls.start_s));
    }
    notes
}

/// How many commands are not shown, what they were and what they took.
fn commands_left_out(session: &Session, left_out: &LeftOutCommands) -> String {
    let mut verbs: Vec<&VerbSum> = left_out.verbs.iter().collect();
    verbs.sort_by_key(|sum| std::cmp::Reverse(sum.commands));
    let verbs: Vec<String> = verbs.iter().map(|sum| format!("{} {}", sum.commands, sum.verb.name())).collect();
    let (all, kept) = (session.command_count(), session.commands.len());
    let others = verbs.join(", ");
    format!("of {all} commands {kept} are shown; the others, which cost least, took {:.3} s of the server's time: {others}", left_out.server_s())
}

fn command_lines(command: &Command) -> Vec<String> {
    let batch = if command.boundary == Some(Boundary::Inferred) { "  (boundary inferred)" } else { "" };
    let mut lines = Vec::new();
    // At the end of a session nobody says anything more.
    if command.verb != Verb::Disconnect {
        let text = format!("{}{batch}", said(command.verb, command.line.as_deref(), command.line_bytes));
        lines = row(&Row { at_s: Some(command.start_s), text, ..Row::default() });
    }
    for wait in &command.waits {
        lines.extend(wait_lines(wait, 1));
    }
    lines.extend(row(&answer_row(command)));
    lines
}

fn wait_lines(wait: &Wait, level: usize) -> Vec<String> {
    let mut lines = row(&wait_row(wait, level));
    if level < 4 {
        lines.extend(wait.inner.iter().flat_map(|inner| wait_lines(inner, level + 1)));
        if let Some(left_out) = wait.peer.as_ref().and_then(|peer| peer.left_out) {
            lines.extend(row(&Row { text: format!("{}and {left_out} shorter ones", "  ".repeat(level + 1)), ..Row::default() }));
        }
    }
    lines
}

/// One finding; a remedy or a check that stands above already is pointed to, not said again.
fn finding_lines(session: &Session, finding: &Finding, earlier: &[Finding], common: &[CommonFinding]) -> Vec<String> {
    let severity = severity(finding.severity);
    let mut lines = labelled(2, &format!("{severity}  "), &escape(&finding.summary));
    let verb_of = |finding: &Finding| session.command(finding.command).map_or(Verb::Invalid, |command| command.verb).name();
    let verb = verb_of(finding);
    // As in the head: without the client's time inside commands, which the JSON's `share` counts.
    let share = (finding.elapsed_s / session.server_s().max(f64::MIN_POSITIVE)).min(1.0);
    let share = format!("{verb} ({:.0} % of the server's time), rule {}", share * 100.0, escape(&finding.rule));
    lines.extend(labelled(4, "where     ", &share));
    lines.extend(labelled(4, "evidence  ", &escape(&finding.evidence)));
    let of_all = common.iter().find(|it| it.remedy == finding.remedy);
    let remedy = match (of_all, earlier.iter().find(|it| it.remedy == finding.remedy)) {
        (Some(above), _) => format!("as for {} at {} above", escape(&above.rule), above.verb.name()),
        (None, Some(above)) => format!("as for {} above", verb_of(above)),
        (None, None) => escape(&finding.remedy).into_owned(),
    };
    lines.extend(labelled(4, "remedy    ", &remedy));
    if let Some(check) = finding.check.as_ref().filter(|check| !common.iter().any(|it| it.check.as_ref() == Some(check))) {
        // Whole, however long: it is there to be copied.
        lines.push(format!("    check     {}", escape(check)));
    }
    lines
}

/// What the sessions have in common.
fn common_lines(common: &[CommonFinding], all: usize) -> Vec<String> {
    let mut lines: Vec<String> =
        common.iter().enumerate().flat_map(|(index, finding)| common_finding_lines(finding, common.get(..index).unwrap_or_default())).collect();
    let more = all.saturating_sub(common.len());
    if more > 0 {
        let findings = if more == 1 { "finding" } else { "findings" };
        lines.push(String::new());
        lines.extend(labelled(0, "", &format!("and {more} smaller {findings}; `report --format json` of a log has all")));
    }
    lines
}

fn common_finding_lines(finding: &CommonFinding, earlier: &[CommonFinding]) -> Vec<String> {
    let CommonFinding { rule: _, severity: grave, verb, cause, target, targets, total_s, summary, evidence, remedy, check, .. } = finding;
    let mut lines = vec![String::new()];
    lines.extend(labelled(0, &format!("{}  ", severity(*grave)), &escape(summary)));
    let of = match (target, targets) {
        (Some(target), _) => format!(" {}", escape(target)),
        (None, Some(targets)) => format!(" of {}", counted(*targets, "target", "targets")),
        (None, None) => String::new(),
    };
    lines.extend(labelled(2, "where     ", &format!("{}, {}{of}; {total_s:.2} s in all", verb.name(), cause.name())));
    lines.extend(labelled(2, "evidence  ", &escape(evidence)));
    let remedy = match earlier.iter().find(|it| it.remedy == *remedy) {
        Some(above) => format!("as for {} at {} above", escape(&above.rule), above.verb.name()),
        None => escape(remedy).into_owned(),
    };
    lines.extend(labelled(2, "remedy    ", &remedy));
    lines.extend(check.iter().map(|check| format!("  check     {}", escape(check))));
    lines
}

/// What belongs to no session.
fn daemon_lines(daemon: &DaemonReport) -> Vec<String> {
    daemon.findings.iter().flat_map(daemon_finding_lines).collect()
}

fn daemon_finding_lines(finding: &DaemonFinding) -> Vec<String> {
    let mut lines = vec![String::new()];
    lines.extend(labelled(0, &format!("{}  ", severity(finding.severity)), &escape(&finding.summary)));
    lines.extend(labelled(2, "where     ", &format!("before accept, no session's own time, rule {}", escape(&finding.rule))));
    lines.extend(labelled(2, "evidence  ", &escape(&finding.evidence)));
    lines.extend(labelled(2, "remedy    ", &escape(&finding.remedy)));
    lines.extend(finding.check.iter().map(|check| format!("  check     {}", escape(check))));
    lines
}

/// As in the JSON.
pub(super) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Intended => "intended",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "HIGH",
    }
}

/// Several sessions: what they waited for in all.
fn overview(report: &Report) -> Vec<String> {
    let mut sums: Vec<(Cause, Option<&str>, f64, u64)> = Vec::new();
    let kept = report.sessions.iter().flat_map(Session::wait_sums);
    let left_out = report.left_out.iter().flat_map(|it| &it.waits).map(|sum| (sum.cause, sum.target.as_deref(), sum.elapsed_s, sum.waits));
    for (cause, target, elapsed_s, number) in kept.chain(left_out).filter(|sum| sum.0 != Cause::Client) {
        match sums.iter_mut().find(|sum| sum.0 == cause && sum.1 == target) {
            Some(sum) => {
                sum.2 += elapsed_s;
                sum.3 += number;
            }
            None => sums.push((cause, target, elapsed_s, number)),
        }
    }
    sums.sort_by(|a, b| b.2.total_cmp(&a.2));
    let kept_s: f64 = report.sessions.iter().map(Session::server_s).sum();
    let server_s = kept_s + report.left_out.as_ref().map_or(0.0, |left_out| left_out.server_s);
    let mut lines = vec![format!("all {} sessions: server {server_s:.3} s; where it went:", report.session_count())];
    for (cause, target, elapsed_s, number) in sums.into_iter().take(10) {
        let target = target.map(|it| format!(" {}", escape(it))).unwrap_or_default();
        lines.extend(row(&Row {
            at_s: None,
            text: format!("{}{target}", cause.name()),
            elapsed_s: Some(elapsed_s),
            detail: counted(number, "wait", "waits"),
        }));
    }
    lines
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
