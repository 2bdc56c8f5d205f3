//! The words that the timeline and the summary share: what a wait is, where a command's time went.
//!
//! In: structures of the report. Out: short texts, escaped. Not here: columns (`layout.rs`).

use super::{
    escape::escape,
    layout::{Row, TEXT, TEXT_WIDE, clip},
};
use crate::report::{Cause, Command, Dns, Outcome, SessionEnd, Verb, Wait};

/// A line of the dialogue longer than this is cut in a view; the log and the JSON have it whole.
pub const LINE: usize = 400;

/// A wait as a row.
pub fn wait_row(wait: &Wait, level: usize) -> Row {
    Row {
        at_s: Some(wait.start_s),
        text: format!("{}{}", "  ".repeat(level), wait_text(wait)),
        elapsed_s: Some(wait.elapsed_s),
        detail: outcome(wait),
    }
}

/// A wait of the server's own between two commands as a row.
pub fn between_row(wait: &Wait) -> Row {
    let row = wait_row(wait, 1);
    let detail = if row.detail.is_empty() { "between commands".to_owned() } else { format!("{}, between commands", row.detail) };
    Row { detail, ..row }
}

/// `dns AAAA example.com @10.99.0.1`, `ident 10.99.0.1:113`, `file-lock /etc/mail/access.db`.
pub fn wait_text(wait: &Wait) -> String {
    let name = wait.cause.name();
    if let Some(dns) = &wait.dns {
        let qname = if dns.qname.is_empty() { "." } else { &dns.qname };
        let server = wait.target.as_deref().map(|target| format!(" @{}", escape(without_dns_port(target)))).unwrap_or_default();
        return format!("{name} {} {}{server}", escape(&dns.qtype), escape(qname));
    }
    let stage = wait.milter.as_ref().map(|milter| milter.stage.as_str()).filter(|&stage| stage != "unknown");
    let stage = stage.map(|stage| format!(" {}", escape(stage))).unwrap_or_default();
    let target = wait.waited_for().map(|whom| format!(" {}", escape(whom))).unwrap_or_default();
    let calls = match wait.cause {
        Cause::Sleep | Cause::Unknown if !wait.syscalls.is_empty() => format!(" in {}", escape(&wait.syscalls.join(", "))),
        _ => String::new(),
    };
    format!("{name}{stage}{target}{calls}")
}

fn without_dns_port(target: &str) -> &str {
    let host = target.strip_suffix(":53").unwrap_or(target);
    host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host)
}

/// `no answer, 2 attempts`, `connect timed out`, `NXDOMAIN`, `continue`; empty where all was well.
pub fn outcome(wait: &Wait) -> String {
    let mut parts: Vec<String> = Vec::new();
    let verb = if wait.connected == Some(false) { "connect " } else { "" };
    if let Some(dns) = &wait.dns {
        parts.push(look_up_outcome(wait, dns));
        if wait.attempts.is_some_and(|attempts| attempts > 1) {
            parts.push(format!("{} attempts", wait.attempts.unwrap_or_default()));
        }
    } else {
        let reply = wait.milter.as_ref().and_then(|milter| milter.reply.as_deref());
        match (wait.outcome, reply) {
            (Outcome::Ok | Outcome::Denied, Some(reply)) => parts.push(escape(reply).into_owned()),
            (Outcome::Ok, None) => {}
            (Outcome::Timeout, _) => parts.push(format!("{verb}timed out")),
            (other, _) => parts.push(outcome_word(other).to_owned()),
        }
        if wait.attempts.is_some_and(|attempts| attempts > 1) {
            parts.push(format!("{} attempts", wait.attempts.unwrap_or_default()));
        }
    }
    parts.join(", ")
}

/// How a look-up ended. That it did comes before what one of its answers said.
fn look_up_outcome(wait: &Wait, dns: &Dns) -> String {
    let of_target = dns.servers.iter().find(|server| Some(&server.address) == wait.target.as_ref());
    let is_truncated = of_target.is_some_and(|server| server.truncated);
    match (wait.outcome, &dns.rcode) {
        (Outcome::Ok, Some(rcode)) if rcode == "NOERROR" => match dns.servers.iter().find(|server| server.answered) {
            Some(other) if of_target.is_none_or(|target| !target.answered) => format!("answered by {}", escape(without_dns_port(&other.address))),
            Some(_) | None if is_truncated => "ok over TCP".to_owned(),
            Some(_) | None => "ok".to_owned(),
        },
        (Outcome::Ok | Outcome::Error | Outcome::Denied, Some(rcode)) => escape(rcode).into_owned(),
        (Outcome::Timeout | Outcome::Ok, None) => "no answer".to_owned(),
        (Outcome::Timeout, Some(_)) if is_truncated => "truncated, no answer over TCP".to_owned(),
        (other, Some(_)) if is_truncated => format!("truncated, over TCP {}", outcome_word(other)),
        (Outcome::Timeout, Some(_)) if dns.unanswered.is_some() => "answered in part".to_owned(),
        (Outcome::Timeout, Some(rcode)) => format!("{}, then no answer", escape(rcode)),
        (other, _) => outcome_word(other).to_owned(),
    }
}

fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Timeout => "timed out",
        Outcome::Refused => "refused",
        Outcome::Unreachable => "unreachable",
        Outcome::Reset => "reset",
        Outcome::Denied => "denied",
        Outcome::Error => "error",
        Outcome::Interrupted => "interrupted",
        Outcome::Unfinished => "not over",
    }
}

/// `dns 10.010, ident 4.999, cpu 0.021`: largest first, nothing below a millisecond.
pub fn breakdown(command: &Command) -> String {
    let mut sums: Vec<(&str, f64)> = Vec::new();
    for wait in &command.waits {
        let name = wait.cause.name();
        match sums.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += wait.elapsed_s,
            None => sums.push((name, wait.elapsed_s)),
        }
    }
    sums.sort_by(|a, b| b.1.total_cmp(&a.1));
    sums.extend([
        ("cpu", command.cpu_s),
        ("run queue", command.runqueue_s),
        ("short waits", command.short_waits_s),
        ("unexplained", command.unexplained_s),
    ]);
    let parts: Vec<String> = sums.iter().filter(|(_, s)| *s >= 0.001).map(|(name, s)| format!("{name} {s:.3}")).collect();
    parts.join(", ")
}

/// What the client said.
pub fn said(verb: Verb, line: Option<&str>, bytes: Option<usize>) -> String {
    match (verb, line) {
        (_, Some(line)) => format!("C {}", clip(&escape(line), LINE)),
        (Verb::Connect, None) => "accept".to_owned(),
        (Verb::Body, None) => "C (message)".to_owned(),
        (Verb::Eom, None) => "C .".to_owned(),
        (Verb::Tls, None) => "TLS handshake".to_owned(),
        (Verb::Disconnect, None) => "closing".to_owned(),
        (Verb::Opaque, None) => "C (not readable)".to_owned(),
        (Verb::Invalid, None) => match bytes {
            Some(bytes) => format!("C (no known command, {bytes} bytes, not recorded)"),
            None => "C (no known command, not recorded)".to_owned(),
        },
        (other, None) => format!("C {}", other.name()),
    }
}

/// The end of a command as a row: what the server answered, after how long, and where that time went.
pub fn answer_row(command: &Command) -> Row {
    let detail = if command.elapsed_s < 0.01 { String::new() } else { breakdown(command) };
    // Where nothing stands behind the duration, the reply has that place.
    let width = if detail.is_empty() { TEXT_WIDE } else { TEXT };
    Row { at_s: Some(command.start_s + command.elapsed_s), text: answered(command, width), elapsed_s: Some(command.elapsed_s), detail }
}

/// What the server answered. What went well is told by its beginning, in `width` columns; a refusal is read to its end.
pub fn answered(command: &Command, width: usize) -> String {
    match (&command.reply, command.reply_code, command.verb) {
        (Some(reply), Some(..400), _) => clip(&format!("S {}", escape(reply)), width),
        (Some(reply), _, _) => format!("S {}", clip(&escape(reply), LINE)),
        (None, Some(code), _) => format!("S {code}"),
        (None, None, Verb::Body) => "message received".to_owned(),
        (None, None, Verb::Tls) => "TLS handshake over".to_owned(),
        (None, None, Verb::Disconnect) => "closed".to_owned(),
        (None, None, Verb::Opaque) => "S (not readable)".to_owned(),
        (None, None, _) => "(no reply)".to_owned(),
    }
}

/// How a session ended.
pub fn ended(end: SessionEnd) -> &'static str {
    match end {
        SessionEnd::Quit => "ended by QUIT",
        SessionEnd::ClientClosed => "the client closed it",
        SessionEnd::ServerClosed => "the server closed it",
        SessionEnd::Killed => "the serving process was killed",
        SessionEnd::Detached => "still open when the trace ended",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::samples;

    #[test]
    fn regress_a_look_up_that_was_answered_in_part_is_not_ok() {
        let mut wait = samples::silent("MX", "example.com", 0.0);
        let told = |wait: &Wait| outcome(wait);
        assert_eq!(told(&wait), "no answer, 2 attempts");
        let set = |wait: &mut Wait, outcome, truncated, unanswered| {
            let dns = wait.dns.as_mut().expect("dns");
            (dns.rcode, dns.unanswered) = (Some("NOERROR".to_owned()), unanswered);
            (dns.servers[0].answered, dns.servers[0].truncated) = (true, truncated);
            wait.outcome = outcome;
        };
        for (outcome, truncated, unanswered, expected) in [
            (Outcome::Ok, false, None, "ok, 2 attempts"),
            (Outcome::Ok, true, None, "ok over TCP, 2 attempts"),
            (Outcome::Timeout, true, None, "truncated, no answer over TCP, 2 attempts"),
            (Outcome::Refused, true, None, "truncated, over TCP refused, 2 attempts"),
            (Outcome::Timeout, false, Some(1), "answered in part, 2 attempts"),
            (Outcome::Unfinished, false, Some(1), "not over, 2 attempts"),
        ] {
            set(&mut wait, outcome, truncated, unanswered);
            assert_eq!(told(&wait), expected);
        }
        set(&mut wait, Outcome::Timeout, false, None);
        wait.dns.as_mut().expect("dns").rcode = Some("SERVFAIL".to_owned());
        assert_eq!(told(&wait), "SERVFAIL, then no answer, 2 attempts");
    }
}
