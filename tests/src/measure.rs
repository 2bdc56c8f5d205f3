//! How long an expected wait really was, by what the neighbours noted.
//!
//! In come the journal, the span of the command and the expectation; out comes an interval, and for DNS the number of
//! questions. Where no neighbour can know (a dropped packet, a sleep) the scenario says what is configured.

use crate::emulated::latency_s;
use crate::journal::{Event, What, seconds};
use crate::scenario::{DiskOperation, ExpectWait};
use crate::span::Span;

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Its length in seconds.
    pub elapsed_s: f64,
    /// Questions received, where they can be counted.
    pub attempts: Option<u32>,
}

/// At most 20 ms or 2 %.
pub fn slack_s(measured_s: f64) -> f64 {
    (measured_s * 0.02).max(0.02) + latency_s()
}

/// From the first question for a name to the last answer, s: how long the name server let it wait.
pub fn answered_s(events: &[Event], name: &str) -> Option<f64> {
    let asked = events.iter().find(|event| matches!(&event.what, What::DnsQuery { qname, .. } if qname == name))?;
    let answered = events.iter().rfind(|event| matches!(&event.what, What::DnsReply { qname, .. } if qname == name))?;
    Some(seconds(answered.t_ns.saturating_sub(asked.t_ns)))
}

/// Measures one wait; an error says what is missing in the journal.
pub fn measure(events: &[Event], span: &Span, wait: &ExpectWait) -> Result<Measured, String> {
    let inside: Vec<&Event> = events.iter().filter(|event| event.t_ns >= span.start_ns && span.end_ns.is_none_or(|end| event.t_ns <= end)).collect();
    if let Some(elapsed_s) = wait.elapsed_s {
        return Ok(Measured { elapsed_s, attempts: None });
    }
    match wait.cause.as_str() {
        "dns" => dns(&inside, wait.question.as_deref().unwrap_or_default()),
        "milter" => milter(&inside, wait.stage.as_deref().unwrap_or_default()),
        "ident" => between(&inside, "ident", |what| *what == What::IdentAccept, |what| *what == What::IdentReply),
        "sasl" | "ldap" | "sql" | "map" | "name-service" | "network" | "content-filter" if has_late(&inside) => late(&inside),
        "sasl" => between(&inside, "saslauthd", |what| *what == What::SaslRequest, |what| matches!(what, What::SaslReply { .. })),
        "spool-sync" => nth(&inside, wait, |what, is_end| is_disk(what, is_end, DiskOperation::Fsync)),
        "file-io" => {
            let wanted = wait.operation.ok_or("the scenario does not say which operation of the disk is meant")?;
            nth(&inside, wait, |what, is_end| is_disk(what, is_end, wanted))
        }
        "client" => nth(&inside, wait, |what, is_end| *what == if is_end { What::ClientGoesOn } else { What::ClientPause }),
        "child" => between(&inside, "the mailer", |what| *what == What::MailerBegan, |what| *what == What::MailerMayEnd),
        "network" => between(&inside, "the socket map", |what| matches!(what, What::MapQuery { .. }), |what| *what == What::MapReply),
        "content-filter" => between(&inside, "spamd", |what| *what == What::FilterAccept, |what| *what == What::FilterReply),
        "policy" => between(&inside, "the policy service", |what| *what == What::PolicyRequest, |what| *what == What::PolicyReply),
        "callback" | "relay" => next_hop(&inside),
        "file-lock" => inside
            .iter()
            .find(|event| matches!(event.what, What::Unlocked { .. }))
            .map(|event| interval(span.start_ns, event.t_ns))
            .ok_or_else(|| "the lock was not released inside the command".to_owned()),
        other => Err(format!("nothing in the lab measures {other}; the scenario must give elapsed_s")),
    }
}

/// The n-th of its kind: one follows another, each has a begin and an end.
fn nth(events: &[&Event], wait: &ExpectWait, is: impl Fn(&What, bool) -> bool) -> Result<Measured, String> {
    let number = wait.nth.unwrap_or(1);
    let is = &is;
    let times = |is_end| events.iter().filter(move |event| is(&event.what, is_end)).nth(number.saturating_sub(1)).map(|event| event.t_ns);
    let missing = |what: &str| format!("{} number {number} has no {what} inside the command", wait.cause);
    Ok(interval(times(false).ok_or_else(|| missing("begin"))?, times(true).ok_or_else(|| missing("end"))?))
}

fn is_disk(what: &What, is_end: bool, wanted: DiskOperation) -> bool {
    match what {
        What::DiskBegin { operation, .. } => !is_end && *operation == wanted,
        What::DiskEnd { operation, .. } => is_end && *operation == wanted,
        _ => false,
    }
}

fn has_late(events: &[&Event]) -> bool {
    events.iter().any(|event| matches!(event.what, What::LateRequest { .. }))
}

fn late(events: &[&Event]) -> Result<Measured, String> {
    between(events, "the late service", |what| matches!(what, What::LateRequest { .. }), |what| matches!(what, What::LateReply { .. }))
}

/// From the connection to the last answer: how many commands there are is the MTA's affair.
fn next_hop(events: &[&Event]) -> Result<Measured, String> {
    let is = |event: &&&Event, wanted: &str| matches!(&event.what, What::Sink { event } if event == wanted);
    let start = events.iter().find(|event| is(event, "accept")).ok_or("the next hop was not connected to")?;
    let end = events.iter().rfind(|event| is(event, "answer")).ok_or("the next hop did not answer")?;
    Ok(interval(start.t_ns, end.t_ns))
}

fn interval(start_ns: u64, end_ns: u64) -> Measured {
    Measured { elapsed_s: seconds(end_ns.saturating_sub(start_ns)), attempts: None }
}

fn between(events: &[&Event], name: &str, is_start: impl Fn(&What) -> bool, is_end: impl Fn(&What) -> bool) -> Result<Measured, String> {
    let start = events.iter().find(|event| is_start(&event.what)).ok_or_else(|| format!("{name} was not asked"))?;
    let end = events.iter().find(|event| event.t_ns >= start.t_ns && is_end(&event.what)).ok_or_else(|| format!("{name} did not answer"))?;
    Ok(interval(start.t_ns, end.t_ns))
}

/// From the macros that go ahead of the callback (or the callback, if it has none) to the milter's reply.
fn milter(events: &[&Event], wanted: &str) -> Result<Measured, String> {
    let is_start = |what: &What| match what {
        What::MilterMacros { stage, .. } | What::MilterCall { stage, .. } => stage == wanted,
        _ => false,
    };
    between(events, "the milter", is_start, |what| matches!(what, What::MilterReply { stage, .. } if stage == wanted))
}

/// From the first question to the answer that was used, or to whatever the MTA did next.
fn dns(events: &[&Event], question: &str) -> Result<Measured, String> {
    let is_asked = |event: &&&Event| matches!(&event.what, What::DnsQuery { qtype, qname, .. } if is_question(question, qtype, qname));
    let queries: Vec<&&Event> = events.iter().filter(is_asked).collect();
    let (Some(first), Some(last)) = (queries.first(), queries.last()) else {
        return Err(format!("no name server was asked for {question}"));
    };
    let answer = events.iter().find(|event| {
        matches!(&event.what, What::DnsReply { qtype, qname, is_truncated: false, rcode, .. }
            if is_question(question, qtype, qname)
                // After SERVFAIL and REFUSED the resolver asks again: only the last one is final.
                && (!matches!(rcode.as_str(), "SERVFAIL" | "REFUSED") || event.t_ns >= last.t_ns))
    });
    let end = answer.or_else(|| events.iter().find(|event| event.t_ns > last.t_ns && is_progress(&event.what)));
    let end = end.ok_or_else(|| format!("nothing shows when the look-up of {question} ended"))?;
    Ok(Measured { attempts: u32::try_from(queries.len()).ok(), ..interval(first.t_ns, end.t_ns) })
}

fn is_question(question: &str, qtype: &str, qname: &str) -> bool {
    // `A+AAAA` are two questions.
    question.split_once(' ').is_some_and(|(types, name)| name == qname && types.split('+').any(|one| one == qtype))
}

/// Whether an event shows that the serving process has gone on, or ended.
fn is_progress(what: &What) -> bool {
    match what {
        What::DnsQuery { .. }
        | What::MilterMacros { .. }
        | What::MilterCall { .. }
        | What::SaslRequest
        | What::IdentAccept
        | What::IdentQuery
        | What::DiskBegin { .. }
        | What::MailerBegan
        | What::MapQuery { .. }
        | What::FilterAccept
        | What::PolicyRequest
        | What::LateRequest { .. }
        | What::ClientReply { .. }
        | What::Killed { .. } => true,
        What::DnsReply { .. }
        | What::MilterReply { .. }
        | What::SaslReply { .. }
        | What::IdentReply
        | What::DiskEnd { .. }
        | What::MailerMayEnd
        | What::MapReply
        | What::FilterReply
        | What::PolicyReply
        | What::LateReply { .. }
        | What::Locked { .. }
        | What::Unlocked { .. }
        | What::Sink { .. }
        | What::ClientConnect
        | What::ClientConnected { .. }
        | What::ClientPause
        | What::ClientGoesOn
        | What::ClientSent { .. }
        | What::ClientLeft
        | What::Stopped
        | What::Continued => false,
    }
}
