//! A report against what was expected and what was measured.
//!
//! In come a scenario, the client's exchanges, the journal and the report; out come sentences about each difference,
//! none if all is well. Every time is compared with a clock of the lab, never with another number of the report.

use crate::client::Played;
use crate::compare_wait::{Pairing, pair, wait_problems};
use crate::emulated::latency_s;
use crate::journal::{Event, What, seconds};
use crate::measure::{measure, slack_s};
use crate::report::{Command, Finding, Report, Session, Wait};
use crate::scenario::{Expect, ExpectCommand, ExpectWait, IGNORE_S, Scenario};
use crate::span::{Span, assign, spans};

/// Between the client's clock and the server's, for the commands of a session (the median of them).
const WIRE_S: f64 = 0.005;
/// The same for each single command: until the serving process has a processor to read it, a command is on its way, and that is not the
/// server's time. On two processors with 39 labs a delay of 6 ms was seen about once in 200 sessions.
const ONE_WIRE_S: f64 = 0.02;
/// What no wait explains may be this long in commands of which 1 % is less: the child reads one byte from its parent's pipe before it
/// greets, and on a busy machine that takes longer than the shortest wait that is told.
const UNEXPLAINED_S: f64 = 0.002;

/// All differences.
pub fn problems(scenario: &Scenario, played: &Played, events: &[Event], report: &Report) -> Vec<String> {
    let [session] = report.sessions.as_slice() else {
        return vec![format!("expected one session, the report has {}", report.sessions.len())];
    };
    let expect = &scenario.expect;
    let mut problems = session_problems(expect, played, report, session);
    problems.extend(backlog_problem(expect, events, session));
    let of_daemon: Vec<&String> = report.daemon.findings.iter().map(|finding| &finding.rule).collect();
    if of_daemon != expect.daemon_findings.iter().collect::<Vec<_>>() {
        problems.push(format!("expected the daemon's findings {:?}, found {of_daemon:?}", expect.daemon_findings));
    }
    let verbs: Vec<String> = expect.commands.iter().map(|command| command.verb.clone()).collect();
    let found: Vec<&str> = session.commands.iter().map(|command| command.verb.as_str()).collect();
    let compared = if expect.open_ended { found.get(..verbs.len()).unwrap_or(&found) } else { &found };
    if compared != verbs {
        problems.push(format!("expected the commands {}, found {}", verbs.join(" "), found.join(" ")));
        return problems;
    }
    let all = spans(played);
    let mut differences: Vec<f64> = Vec::new();
    for ((expected, span), command) in expect.commands.iter().zip(assign(&verbs, &all)).zip(&session.commands) {
        let before_s = if command.verb == "CONNECT" { session.before_accept_s } else { 0.0 };
        let difference_s = clock_difference_s(span, before_s, command);
        differences.extend(difference_s);
        let is_far = difference_s.filter(|s| *s > ONE_WIRE_S + latency_s());
        let mut here: Vec<String> = is_far.map(|s| format!("the client's clock differs by {s:.6} s")).into_iter().collect();
        here.extend(command_problems(expect, expected, span, events, command));
        here.extend(finding_problems(expect, expected, session, command));
        if !here.is_empty() {
            problems.extend(here.iter().map(|problem| format!("{}: {}: {problem}", command.index, command.verb)));
            problems.push(format!("{command:#?}"));
        }
    }
    differences.sort_by(f64::total_cmp);
    let median_s = differences.get(differences.len() / 2).filter(|s| **s > WIRE_S + latency_s());
    problems.extend(median_s.map(|s| format!("the client's clock differs by {s:.6} s in the median of the commands")));
    problems.extend(client_problem(expect, played, session));
    problems.extend(batch_problems(&expect.commands, &assign(&verbs, &all), session));
    problems.extend(share_problems(expect, session));
    let missing = expect.findings_anywhere.iter().filter(|rule| !session.findings.iter().any(|found| found.rule == **rule));
    problems.extend(missing.map(|rule| format!("expected a finding {rule} for the session")));
    problems
}

fn session_problems(expect: &Expect, played: &Played, report: &Report, session: &Session) -> Vec<String> {
    let mut problems = Vec::new();
    let end = expect.end.as_deref().unwrap_or("quit");
    if session.end != end {
        problems.push(format!("expected the session to end by {end}, found {}", session.end));
    }
    if session.client != played.local {
        problems.push(format!("the client was {}, the report has {}", played.local, session.client));
    }
    if session.complete == expect.incomplete || session.began != "accept" || report.log.lost != 0 {
        problems.push(format!("complete {}, began {}, lost {}", session.complete, session.began, report.log.lost));
    }
    let sum = session.client_s + session.commands.iter().map(|command| command.elapsed_s).sum::<f64>();
    if (session.elapsed_s - sum).abs() > identity_slack_s(session.elapsed_s) {
        problems.push(format!("session: {} s, but commands and client are {sum} s", session.elapsed_s));
    }
    problems
}

/// From the client's being connected to the daemon's going on.
fn backlog_problem(expect: &Expect, events: &[Event], session: &Session) -> Option<String> {
    let time_of = |is: fn(&What) -> bool| events.iter().find(|event| is(&event.what)).map(|event| event.t_ns);
    let since = time_of(|what| matches!(what, What::ClientConnected { .. })).filter(|_| expect.accepted_late)?;
    let Some(until) = time_of(|what| *what == What::Continued) else { return Some("the daemon was not stopped".to_owned()) };
    let (waited_s, found_s) = (seconds(until.saturating_sub(since)), session.before_accept_s);
    ((waited_s - found_s).abs() > slack_s(waited_s)).then(|| format!("the connection waited {waited_s:.6} s to be accepted, found {found_s:.6} s"))
}

/// What was the client's time between the commands, by its own clock: from each reply to the end of the next command. Of a message's
/// body the report makes a command.
fn client_problem(expect: &Expect, played: &Played, session: &Session) -> Option<String> {
    let is_told = expect.end.is_none() && !expect.open_ended;
    let pairs = played.exchanges.iter().zip(played.exchanges.iter().skip(1)).filter(|_| is_told);
    let between = pairs.filter_map(|(one, next)| {
        let (code, replied_ns) = *one.replies.last()?;
        (code != 354 && code != 334).then(|| seconds(next.sent_ns.saturating_sub(replied_ns)))
    });
    let client_s: f64 = between.sum();
    // The server's clock runs from its reply, the client's own from when it had a processor to read it.
    let late_s = seconds(played.exchanges.iter().map(|exchange| exchange.late_ns).sum());
    let difference_s = session.client_s - client_s;
    let is_wrong = is_told && (difference_s < -slack_s(client_s) || difference_s > late_s + slack_s(client_s));
    is_wrong.then(|| format!("the client took {client_s:.6} s between its commands, found {:.6} s", session.client_s))
}

fn identity_slack_s(elapsed_s: f64) -> f64 {
    (elapsed_s * 0.005).max(0.001)
}

/// How far the client's clock and the report are apart, of a command that was sent alone. On a busy machine the client has to wait for a
/// processor when its reply has come, and it cannot see when its connection was accepted: both are counted for it.
fn clock_difference_s(span: Option<&Span>, before_s: f64, command: &Command) -> Option<f64> {
    let span = span.filter(|span| span.batch.is_none())?;
    let difference_s = (span.elapsed_s()? - before_s - command.elapsed_s).abs();
    Some((difference_s - seconds(span.late_ns)).max(0.0))
}

fn command_problems(expect: &Expect, expected: &ExpectCommand, span: Option<&Span>, events: &[Event], command: &Command) -> Vec<String> {
    let mut problems = Vec::new();
    if expected.code.is_some() && expected.code != command.reply_code {
        problems.push(format!("expected the code {:?}, found {:?}", expected.code, command.reply_code));
    }
    if expected.boundary.is_some() && expected.boundary != command.boundary {
        problems.push(format!("expected the boundary {:?}, found {:?}", expected.boundary, command.boundary));
    }
    for name in expected.absent.iter().filter(|name| !command.absent.contains(name)) {
        problems.push(format!("expected {name} to be absent, found absent {:?}", command.absent));
    }
    problems.extend(identity_problems(command, expect));
    problems.extend(waits_problems(expect, expected, span, events, command));
    problems
}

fn identity_problems(command: &Command, expect: &Expect) -> Vec<String> {
    let Command { elapsed_s, short_waits_s, cpu_s, runqueue_s, unexplained_s, waits, .. } = command;
    let mut problems = Vec::new();
    let sum = waits.iter().map(|wait| wait.elapsed_s).sum::<f64>() + short_waits_s + cpu_s + runqueue_s + unexplained_s;
    if (elapsed_s - sum).abs() > identity_slack_s(*elapsed_s) {
        problems.push(format!("takes {elapsed_s} s, but its parts are {sum} s"));
    }
    let unknown: f64 = waits.iter().filter(|wait| wait.cause == "unknown").map(|wait| wait.elapsed_s).sum();
    if unknown + unexplained_s.abs() > (0.01 * elapsed_s).max(UNEXPLAINED_S.max(expect.unexplained_s) + latency_s()) {
        problems.push(format!("of {elapsed_s} s, {} s are unknown or unexplained", unknown + unexplained_s.abs()));
    }
    problems
}

/// Expected waits in order; shorter ones and the client's own may stand between them.
fn waits_problems(expect: &Expect, expected: &ExpectCommand, span: Option<&Span>, events: &[Event], command: &Command) -> Vec<String> {
    let measured_of =
        |next: &ExpectWait| span.map_or_else(|| Err("the client's dialogue has no such command".to_owned()), |span| measure(events, span, next));
    let Pairing { pairs, missing, others } = pair(expected, command, |next| measured_of(next).ok().map(|measured| measured.elapsed_s));
    let usual_s = |wait: &Wait| if wait.cause == "mta" { expect.own_s.max(IGNORE_S) } else { IGNORE_S };
    let is_long = |wait: &&Wait| wait.elapsed_s >= expected.ignore_s.unwrap_or_else(|| usual_s(wait)) + latency_s();
    let mut problems: Vec<String> = pairs.into_iter().flat_map(|(next, wait)| wait_problems(next, measured_of(next), wait)).collect();
    let unexpected = others.into_iter().filter(|wait| is_long(wait) && wait.cause != "client");
    problems.extend(unexpected.map(|wait| format!("a wait that was not expected: {wait:?}")));
    problems.extend(missing.into_iter().map(|missing| format!("a wait is missing: {missing:?}")));
    problems
}

fn finding_problems(expect: &Expect, expected: &ExpectCommand, session: &Session, command: &Command) -> Vec<String> {
    let mut found: Vec<&str> = session
        .findings
        .iter()
        .filter(|finding| finding.command == command.index)
        .filter(|finding| !expect.findings_anywhere.contains(&finding.rule) && !expect.findings_maybe.contains(&finding.rule))
        .map(|finding| finding.rule.as_str())
        .collect();
    let mut wanted: Vec<&str> = expected.findings.iter().map(String::as_str).collect();
    found.sort_unstable();
    wanted.sort_unstable();
    if found == wanted { Vec::new() } else { vec![format!("expected the findings {wanted:?}, found {found:?}")] }
}

/// Each share is that of the finding's time in the server's, and together they are no more than all of it: no second stands in two findings.
pub fn share_problems(expect: &Expect, session: &Session) -> Vec<String> {
    let mut problems = Vec::new();
    for Finding { rule, command, elapsed_s, share } in &session.findings {
        // Time before the accept is in no command.
        let before_s = if rule == "accept-late" { *elapsed_s } else { 0.0 };
        let server_s = before_s + session.commands.iter().map(|command| command.elapsed_s).sum::<f64>();
        // They are rounded to three digits.
        if (share * server_s - elapsed_s).abs() > 0.0006 * server_s {
            problems.push(format!("{rule} of command {command}: {elapsed_s} s of {server_s} s is not the share {share}"));
        }
    }
    for (index, (rule, wanted)) in
        expect.commands.iter().enumerate().flat_map(|(index, command)| command.shares.iter().map(move |share| (index, share)))
    {
        let found: f64 = session.findings.iter().filter(|found| found.command == index && found.rule == *rule).map(|found| found.share).sum();
        if (wanted - found).abs() > 0.02 {
            problems.push(format!("{rule} of command {index}: expected the share {wanted}, found {found}"));
        }
    }
    let all: f64 = session.findings.iter().map(|finding| finding.share).sum();
    if all > 1.0 + 0.001 * session.findings.len() as f64 {
        problems.push(format!("the shares of the findings sum up to {all}"));
    }
    problems
}

/// Of a batch only the sum can be compared: the client sees all replies at once.
fn batch_problems(expected: &[ExpectCommand], spans: &[Option<&Span>], session: &Session) -> Vec<String> {
    let mut sums: Vec<(usize, f64, f64)> = Vec::new();
    for (_, (span, command)) in expected.iter().zip(spans.iter().zip(&session.commands)) {
        let Some((span, batch)) = span.and_then(|span| span.batch.map(|batch| (span, batch))) else { continue };
        match sums.last_mut() {
            Some((last, _, sum)) if *last == batch => *sum += command.elapsed_s,
            _ => sums.push((batch, span.elapsed_s().unwrap_or_default(), command.elapsed_s)),
        }
    }
    sums.into_iter()
        .filter(|(_, client_s, sum)| (client_s - sum).abs() > WIRE_S + slack_s(*client_s))
        .map(|(_, client_s, sum)| format!("the client measured {client_s:.6} s for a batch, its commands are {sum:.6} s"))
        .collect()
}
