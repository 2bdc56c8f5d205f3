//! One wait of a report against what was expected of it and what a neighbour measured.

use crate::measure::{Measured, slack_s};
use crate::report::{Command, Dns, Wait};
use crate::scenario::{ExpectCommand, ExpectWait, IGNORE_S};

/// Which wait of a command is which expected one.
pub struct Pairing<'a> {
    /// Both, in order.
    pub pairs: Vec<(&'a ExpectWait, &'a Wait)>,
    /// What is expected and not there.
    pub missing: Vec<&'a ExpectWait>,
    /// What is there and not mentioned.
    pub others: Vec<&'a Wait>,
}

/// Pairs them in order, by cause, question and stage; target and time are compared afterwards.
pub fn pair<'a>(expected: &'a ExpectCommand, command: &'a Command, measured_s: impl Fn(&ExpectWait) -> Option<f64>) -> Pairing<'a> {
    let mut rest = expected.waits.iter().peekable();
    let (mut pairs, mut others) = (Vec::new(), Vec::new());
    for wait in &command.waits {
        match rest.next_if(|next| is_meant(next, wait) && !is_by_the_way(wait, measured_s(next))) {
            Some(next) => pairs.push((next, wait)),
            None => others.push(wait),
        }
    }
    Pairing { pairs, missing: rest.collect(), others }
}

/// A wait that nobody has to mention, where one is expected that is much longer: on a slow disk a look at a file may be told before the
/// operation that is delayed. If the long one does not come, it is missing.
fn is_by_the_way(wait: &Wait, measured_s: Option<f64>) -> bool {
    wait.elapsed_s < IGNORE_S && measured_s.is_some_and(|measured_s| measured_s > 5.0 * IGNORE_S)
}

fn is_meant(expected: &ExpectWait, wait: &Wait) -> bool {
    let ExpectWait { cause, question, stage, .. } = expected;
    let asked = wait.dns.as_ref().map(|dns| format!("{} {}", dns.qtype, dns.qname));
    *cause == wait.cause
        && question.as_ref().is_none_or(|question| asked.as_ref() == Some(question))
        && stage.as_ref().is_none_or(|stage| wait.milter.as_ref().is_some_and(|milter| milter.stage == *stage))
}

/// All differences of one wait.
pub fn wait_problems(expected: &ExpectWait, measured: Result<Measured, String>, wait: &Wait) -> Vec<String> {
    let mut problems = Vec::new();
    let mut differ = |what: &str, wanted: Option<String>, found: Option<String>| {
        if wanted.is_some() && wanted != found {
            problems.push(format!("{}: expected {what} {}, found {}", expected.cause, shown(wanted), shown(found)));
        }
    };
    differ("outcome", expected.outcome.clone(), Some(wait.outcome.clone()));
    differ("attempts", expected.attempts.map(|n| n.to_string()), wait.attempts.map(|n| n.to_string()));
    let rcode = wait.dns.as_ref().map(|dns| dns.rcode.clone().unwrap_or_else(|| "none".into()));
    differ("rcode", expected.rcode.clone(), rcode);
    differ("reply", expected.reply.clone(), wait.milter.as_ref().and_then(|milter| milter.reply.clone()));
    let servers = (!expected.servers.is_empty()).then(|| expected.servers.join(", "));
    differ("servers", servers, wait.dns.as_ref().map(servers_text));
    if let Some(target) = &expected.target
        && !is_target(target, wait.target.as_deref())
    {
        differ("target", Some(target.clone()), wait.target.clone());
    }
    if let Some(timer_s) = expected.timer_s
        && wait.timer_s.is_none_or(|found| (found - timer_s).abs() > 0.001)
    {
        differ("timer_s", Some(timer_s.to_string()), wait.timer_s.map(|found| found.to_string()));
    }
    differ("peer", expected.peer.clone(), wait.peer.as_ref().map(|peer| peer.comm.clone()));
    problems.extend(inner_problems(expected, wait));
    match measured {
        Err(error) => problems.push(format!("{}: {error}", expected.cause)),
        Ok(Measured { elapsed_s, attempts }) => {
            if (elapsed_s - wait.elapsed_s).abs() > slack_s(elapsed_s) {
                problems.push(format!("{}: measured {elapsed_s:.6} s, found {:.6} s", expected.cause, wait.elapsed_s));
            }
            if attempts.is_some() && attempts != wait.attempts {
                problems.push(format!("{}: the name servers saw {attempts:?} questions, found {:?}", expected.cause, wait.attempts));
            }
        }
    }
    problems
}

/// A process is looked for after so long, and found at the next look.
const FOUND_S: f64 = 0.15;

/// What the process at the far end waited for, one after another; short ones may stand between them.
fn inner_problems(expected: &ExpectWait, wait: &Wait) -> Vec<String> {
    let inner: Vec<&Wait> = wait.inner.iter().filter(|inner| inner.elapsed_s >= IGNORE_S).collect();
    if !expected.inner.is_empty() && expected.inner.len() != inner.len() {
        let found: Vec<&str> = inner.iter().map(|inner| inner.cause.as_str()).collect();
        return vec![format!("{}: expected {} waits at its far end, found {}", expected.cause, expected.inner.len(), found.join(", "))];
    }
    let mut problems = Vec::new();
    for (wanted, found) in expected.inner.iter().zip(inner) {
        let question = found.dns.as_ref().map(|dns| format!("{} {}", dns.qtype, dns.qname));
        if found.cause != wanted.cause || wanted.question.is_some() && wanted.question != question {
            problems.push(format!("inner: expected {} {:?}, found {} {question:?}", wanted.cause, wanted.question, found.cause));
        }
        let elapsed_s = wanted.elapsed_s.unwrap_or(0.0);
        let late_s = wanted.late_s.unwrap_or(FOUND_S) + slack_s(elapsed_s);
        if found.elapsed_s > elapsed_s + slack_s(elapsed_s) || found.elapsed_s < elapsed_s - late_s {
            problems.push(format!("inner: {} of {elapsed_s} s, at most {late_s:.3} s shorter, lasted {:.6} s", wanted.cause, found.elapsed_s));
        }
        // Its length is compared above, so that only the words are here.
        problems.extend(wait_problems(wanted, Ok(Measured { elapsed_s: found.elapsed_s, attempts: None }), found));
    }
    problems
}

fn shown(value: Option<String>) -> String {
    value.unwrap_or_else(|| "nothing".to_owned())
}

/// Whether a target is the expected one, in which each `*` is any text.
pub fn is_target(expected: &str, found: Option<&str>) -> bool {
    let Some(found) = found else { return false };
    let Some((before, mut pattern)) = expected.split_once('*') else { return expected == found };
    let Some(mut rest) = found.strip_prefix(before) else { return false };
    while let Some((part, more)) = pattern.split_once('*') {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        (rest, pattern) = (behind, more);
    }
    rest.ends_with(pattern)
}

fn servers_text(dns: &Dns) -> String {
    let text = |server: &crate::report::Server| {
        let answered = if server.answered { "answered" } else { "silent" };
        format!("{} {} {answered}", server.address, server.attempts)
    };
    dns.servers.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait() -> Wait {
        serde_json::from_value(serde_json::json!({
            "cause": "dns", "target": "10.99.0.1:53", "elapsed_s": 10.01, "outcome": "timeout", "attempts": 2,
            "dns": {"qname": "example.com", "qtype": "A", "rcode": null,
                "servers": [{"address": "10.99.0.1:53", "attempts": 2, "answered": false}]}
        }))
        .expect("a wait")
    }

    #[test]
    fn a_wait_is_held_against_the_neighbours_clock() {
        let expected = ExpectWait { cause: "dns".into(), rcode: Some("none".into()), target: Some("*:53".into()), ..ExpectWait::default() };
        let measured = |elapsed_s| Ok(Measured { elapsed_s, attempts: Some(2) });
        assert_eq!(wait_problems(&expected, measured(10.1), &wait()), Vec::<String>::new());
        assert_eq!(wait_problems(&expected, measured(10.3), &wait()).len(), 1);
    }

    #[test]
    fn a_star_in_a_target_is_any_text() {
        for (expected, found, is_it) in [
            ("/run/milter", "/run/milter", true),
            ("/run/milter", "/run/milter2", false),
            ("*/mux", "/run/mux", true),
            ("*/mqueue/df*", "/var/spool/mqueue/df6AP", true),
            ("*/mqueue/df*", "/var/spool/mqueue/qf6AP", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
        ] {
            assert_eq!(is_target(expected, Some(found)), is_it, "{expected} {found}");
        }
        assert!(!is_target("*", None));
    }

    #[test]
    fn servers_are_compared_in_order() {
        let servers = vec!["10.99.0.1:53 1 silent".to_owned()];
        let expected = ExpectWait { cause: "dns".into(), servers, ..ExpectWait::default() };
        let problems = wait_problems(&expected, Ok(Measured { elapsed_s: 10.0, attempts: None }), &wait());
        assert_eq!(problems, ["dns: expected servers 10.99.0.1:53 1 silent, found 10.99.0.1:53 2 silent"]);
    }
}
