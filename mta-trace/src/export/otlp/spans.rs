//! A session as spans: session > command > wait > what the process at the far end waited for.
//!
//! In: a session of the report. Out: fewer than [`MAX_SPANS`] spans, the longest, each with its parent; what was left out is summed in the span around
//! it. Names of attributes are OpenTelemetry's where it has one (semantic conventions 1.37), else `mta_trace.*`. Times are the wall clock at accept and
//! the report's seconds. Not here: bytes, batches.

use super::ids;
use super::proto::{CLIENT, ERROR, Event, INTERNAL, KeyValue, SERVER, Span, Status, Value, attribute};
use crate::export::slices::word;
use crate::report::{Cause, Command, Finding, Outcome, Session, Wait};
use crate::view::escape::escape;
use std::net::SocketAddr;

/// Jaeger and others show no more of a trace, or take long.
pub(super) const MAX_SPANS: usize = 1_000;

/// Whose span it is: `service.name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Service {
    /// The mail server's own.
    Server { name: String, version: Option<String> },
    /// A process that it waited for.
    Helper { name: String },
}

/// A span and whose it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Owned {
    pub service: Service,
    pub span: Span,
    /// Its parent, among the spans of the session.
    parent: Option<usize>,
}

impl Owned {
    fn length(&self) -> u64 {
        self.span.end_time_unix_nano.saturating_sub(self.span.start_time_unix_nano)
    }
}

/// All spans of a session.
pub(super) fn of(session: &Session) -> Vec<Owned> {
    let accept: Option<jiff::Timestamp> = session.started.parse().ok();
    let accept_ns = accept.and_then(|accept| u64::try_from(accept.as_nanosecond()).ok()).unwrap_or(0);
    let trace = ids::trace(&session.id, &session.started, &session.client, &session.server);
    let server = Service::Server {
        name: escape(&session.mta).into_owned(),
        version: session.mta_version.as_deref().map(|version| escape(version).into_owned()),
    };
    let mut all = All { accept_ns, trace, spans: Vec::new() };
    let root = all.add(None, &server, "session", 0, SERVER, (0.0, session.elapsed_s), "SMTP session".to_owned(), of_session(session));
    for command in &session.commands {
        let span = (command.start_s, command.elapsed_s);
        let at = all.add(Some(root), &server, "command", command.index, INTERNAL, span, command.verb.name().to_owned(), of_command(command));
        let found = session.findings.iter().filter(|finding| finding.command == command.index);
        let events = found.map(|finding| all.finding(finding, command)).collect();
        if let Some(owned) = all.spans.get_mut(at) {
            owned.span.events = events;
        }
        for (index, wait) in command.waits.iter().enumerate() {
            all.wait(at, &server, "wait", index, wait);
        }
    }
    for (index, wait) in session.between.iter().enumerate() {
        all.wait(root, &server, "between", index, wait);
    }
    all.bounded()
}

struct All {
    accept_ns: u64,
    trace: [u8; 16],
    spans: Vec<Owned>,
}

impl All {
    fn time(&self, seconds: f64) -> u64 {
        // Times before 1970 and behind 2554 are none.
        let ns = (seconds * 1e9).round().clamp(-9e18, 9e18);
        #[expect(clippy::cast_possible_truncation, reason = "clamped, and `as` saturates")]
        self.accept_ns.saturating_add_signed(ns as i64)
    }

    #[expect(clippy::too_many_arguments, reason = "what a span is made of")]
    fn add(
        &mut self,
        parent: Option<usize>,
        service: &Service,
        kind: &str,
        index: usize,
        span_kind: i32,
        (start_s, elapsed_s): (f64, f64),
        name: String,
        attributes: Vec<KeyValue>,
    ) -> usize {
        let parent_id = parent.and_then(|at| self.spans.get(at)).map(|owned| owned.span.span_id.clone()).unwrap_or_default();
        let start = self.time(start_s);
        let span = Span {
            trace_id: self.trace.to_vec(),
            span_id: ids::span(&self.trace, &parent_id, kind, index).to_vec(),
            parent_span_id: parent_id,
            name,
            kind: span_kind,
            start_time_unix_nano: start,
            end_time_unix_nano: self.time(start_s + elapsed_s).max(start),
            attributes,
            events: Vec::new(),
            status: None,
        };
        self.spans.push(Owned { service: service.clone(), span, parent });
        self.spans.len() - 1
    }

    fn wait(&mut self, parent: usize, service: &Service, kind: &str, index: usize, wait: &Wait) {
        let is_asked = is_endpoint(wait.cause);
        let span = (wait.start_s, wait.elapsed_s);
        let at = self.add(Some(parent), service, kind, index, if is_asked { CLIENT } else { INTERNAL }, span, name_of(wait), of_wait(wait));
        if let (Some(error), Some(owned)) = (error_of(wait.outcome), self.spans.get_mut(at)) {
            owned.span.attributes.push(attribute("error.type", error));
            owned.span.status = Some(Status { message: format!("{}: {error}", wait.cause.name()), code: ERROR });
        }
        let Some(peer) = wait.peer.as_ref().filter(|_| !wait.inner.is_empty()) else { return };
        let helper = Service::Helper { name: escape(&peer.comm).into_owned() };
        for (index, inner) in wait.inner.iter().enumerate() {
            self.wait(at, &helper, "inner", index, inner);
        }
    }

    fn finding(&self, finding: &Finding, command: &Command) -> Event {
        let severity = format!("{:?}", finding.severity).to_lowercase();
        let mut attributes = vec![
            attribute("mta_trace.finding.rule", shown(&finding.rule)),
            attribute("mta_trace.finding.severity", severity),
            attribute("mta_trace.finding.summary", shown(&finding.summary)),
            attribute("mta_trace.finding.remedy", shown(&finding.remedy)),
        ];
        attributes.extend(finding.check.as_deref().map(|check| attribute("mta_trace.finding.check", shown(check))));
        Event { time_unix_nano: self.time(command.start_s + command.elapsed_s), name: "finding".to_owned(), attributes }
    }

    /// The longest, and with each whoever is around it.
    fn bounded(mut self) -> Vec<Owned> {
        if self.spans.len() < MAX_SPANS {
            return self.spans;
        }
        let mut order: Vec<usize> = (0..self.spans.len()).collect();
        // A parent stands before its children and is at least as long, in a report that does not contradict itself.
        order.sort_by_key(|at| {
            std::cmp::Reverse(self.spans.get(*at).map_or(0, |owned| if owned.parent.is_none() { u64::MAX } else { owned.length() }))
        });
        let mut is_kept = vec![false; self.spans.len()];
        let mut kept = 0;
        for at in order {
            let parent = self.spans.get(at).and_then(|owned| owned.parent);
            let has_parent = parent.is_none_or(|parent| is_kept.get(parent) == Some(&true));
            if kept < MAX_SPANS - 1
                && has_parent
                && let Some(flag) = is_kept.get_mut(at)
            {
                *flag = true;
                kept += 1;
            }
        }
        self.sum_up(&is_kept);
        let mut flags = is_kept.into_iter();
        self.spans.retain(|_| flags.next() == Some(true));
        self.spans
    }

    /// What is left out stands in the span around it that is kept; time within what is left out is not counted twice.
    fn sum_up(&mut self, is_kept: &[bool]) {
        let kept = |at: usize| is_kept.get(at) == Some(&true);
        let mut sums = vec![(0_u64, 0_u64); self.spans.len()];
        for at in (0..self.spans.len()).filter(|at| !kept(*at)) {
            let own_parent = self.spans.get(at).and_then(|owned| owned.parent);
            let mut around = own_parent;
            while let Some(parent) = around.filter(|parent| !kept(*parent)) {
                around = self.spans.get(parent).and_then(|owned| owned.parent);
            }
            let length = self.spans.get(at).map_or(0, Owned::length);
            if let Some((count, ns)) = around.and_then(|around| sums.get_mut(around)) {
                *count += 1;
                *ns = ns.saturating_add(if around == own_parent { length } else { 0 });
            }
        }
        for (owned, (count, ns)) in self.spans.iter_mut().zip(sums).filter(|(_, (count, _))| *count > 0) {
            owned.span.attributes.push(attribute("mta_trace.left_out.spans", count));
            owned.span.attributes.push(attribute("mta_trace.left_out.s", ns as f64 / 1e9));
        }
    }
}

/// Text from the network is hostile: as in every view.
fn shown(text: &str) -> String {
    escape(text).into_owned()
}

fn list(texts: &[String]) -> Value {
    Value::from(texts.iter().map(|text| shown(text)).collect::<Vec<_>>().as_slice())
}

fn of_session(session: &Session) -> Vec<KeyValue> {
    let mut all = vec![
        attribute("network.protocol.name", "smtp"),
        attribute("network.transport", "tcp"),
        attribute("process.pid", session.pid),
        attribute("mta_trace.session.id", shown(&session.id)),
        attribute("mta_trace.session.end", word(&session.end)),
        attribute("mta_trace.session.began", word(&session.began)),
        attribute("mta_trace.session.complete", session.complete),
        attribute("mta_trace.daemon.pid", session.daemon_pid),
        attribute("mta_trace.client_s", session.client_s),
        attribute("mta_trace.server_s", session.server_s()),
    ];
    endpoint(&mut all, ["client.address", "client.port"], &session.client);
    endpoint(&mut all, ["network.peer.address", "network.peer.port"], &session.client);
    endpoint(&mut all, ["server.address", "server.port"], &session.server);
    if !session.queue_ids.is_empty() {
        all.push(attribute("mta_trace.queue_ids", list(&session.queue_ids)));
    }
    all.extend(session.before_accept_s.map(|s| attribute("mta_trace.before_accept_s", s)));
    all.extend(session.tls.as_ref().map(|tls| attribute("mta_trace.tls.start_s", tls.start_s)));
    if let Some(left_out) = &session.left_out {
        all.push(attribute("mta_trace.commands_left_out", left_out.commands));
        all.push(attribute("mta_trace.commands_left_out_s", left_out.elapsed_s));
    }
    all
}

fn of_command(command: &Command) -> Vec<KeyValue> {
    let mut all = vec![
        attribute("mta_trace.command.verb", command.verb.name()),
        attribute("mta_trace.command.index", command.index),
        attribute("mta_trace.cpu_s", command.cpu_s),
        attribute("mta_trace.runqueue_s", command.runqueue_s),
        attribute("mta_trace.short_waits_s", command.short_waits_s),
        attribute("mta_trace.unexplained_s", command.unexplained_s),
    ];
    all.extend(command.line.as_deref().map(|line| attribute("mta_trace.command.line", shown(line))));
    all.extend(command.reply_code.map(|code| attribute("mta_trace.reply.code", code)));
    all.extend(command.reply.as_deref().map(|reply| attribute("mta_trace.reply.text", shown(reply))));
    all.extend(command.queue_id.as_deref().map(|id| attribute("mta_trace.queue_id", shown(id))));
    if command.boundary.is_some() {
        all.push(attribute("mta_trace.command.boundary", "inferred"));
    }
    all
}

fn of_wait(wait: &Wait) -> Vec<KeyValue> {
    let mut all = vec![attribute("mta_trace.wait.cause", wait.cause.name()), attribute("mta_trace.wait.outcome", word(&wait.outcome))];
    if let Some(target) = &wait.target {
        match (target.parse::<SocketAddr>(), is_endpoint(wait.cause)) {
            (Ok(_), _) => {
                endpoint(&mut all, ["server.address", "server.port"], target);
                endpoint(&mut all, ["network.peer.address", "network.peer.port"], target);
            }
            (Err(_), true) if target.starts_with(['/', '@']) => {
                all.extend([
                    attribute("server.address", shown(target)),
                    attribute("network.peer.address", shown(target)),
                    attribute("network.transport", "unix"),
                ]);
            }
            (Err(_), false) if target.starts_with('/') => all.push(attribute("file.path", shown(target))),
            (Err(_), _) => all.push(attribute("mta_trace.wait.target", shown(target))),
        }
    }
    let transport = wait.descriptor.as_deref().and_then(|text| text.split(": ").nth(1)?.split(' ').next());
    all.extend(transport.filter(|it| matches!(*it, "tcp" | "udp")).map(|it| attribute("network.transport", it)));
    all.extend(wait.attempts.map(|attempts| attribute("mta_trace.wait.attempts", attempts)));
    all.extend(wait.timer_s.map(|s| attribute("mta_trace.wait.timer_s", s)));
    if !wait.syscalls.is_empty() {
        all.push(attribute("mta_trace.wait.syscalls", list(&wait.syscalls)));
    }
    all.extend(wait.descriptor.as_deref().map(|text| attribute("mta_trace.wait.descriptor", shown(text))));
    if let Some(dns) = &wait.dns {
        all.push(attribute("dns.question.name", shown(&dns.qname)));
        all.push(attribute("mta_trace.dns.question.type", shown(&dns.qtype)));
        all.extend(dns.rcode.as_deref().map(|rcode| attribute("mta_trace.dns.response.code", shown(rcode))));
        all.extend(dns.purpose.as_deref().map(|purpose| attribute("mta_trace.dns.purpose", shown(purpose))));
        let servers: Vec<String> = dns.servers.iter().map(|server| server.address.clone()).collect();
        all.push(attribute("mta_trace.dns.servers", list(&servers)));
    }
    if let Some(milter) = &wait.milter {
        all.push(attribute("mta_trace.milter.stage", shown(&milter.stage)));
        all.extend(milter.reply.as_deref().map(|reply| attribute("mta_trace.milter.reply", shown(reply))));
    }
    if let Some(peer) = &wait.peer {
        all.push(attribute("mta_trace.peer.pid", peer.pid));
        all.push(attribute("mta_trace.peer.command", shown(&peer.comm)));
    }
    all
}

/// One word for many waits, as names of spans are to be: `dns AAAA`, `milter envrcpt`.
fn name_of(wait: &Wait) -> String {
    let more = wait.dns.as_ref().map(|dns| &dns.qtype).or(wait.milter.as_ref().map(|milter| &milter.stage));
    more.map_or_else(|| wait.cause.name().to_owned(), |more| format!("{} {}", wait.cause.name(), shown(more)))
}

/// Whether somebody is asked.
fn is_endpoint(cause: Cause) -> bool {
    match cause {
        Cause::Dns
        | Cause::Ident
        | Cause::Callback
        | Cause::Relay
        | Cause::Milter
        | Cause::Sasl
        | Cause::Ldap
        | Cause::Sql
        | Cause::Map
        | Cause::Policy
        | Cause::ContentFilter
        | Cause::NameService
        | Cause::Mta
        | Cause::Network => true,
        Cause::SpoolSync | Cause::FileLock | Cause::FileIo | Cause::Child | Cause::Sleep | Cause::Tls | Cause::Client | Cause::Unknown => false,
    }
}

/// What makes a span one that failed. A filter that says no has worked.
fn error_of(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Timeout => Some("timeout"),
        Outcome::Refused => Some("refused"),
        Outcome::Unreachable => Some("unreachable"),
        Outcome::Reset => Some("reset"),
        Outcome::Error => Some("error"),
        Outcome::Ok | Outcome::Denied | Outcome::Interrupted | Outcome::Unfinished => None,
    }
}

fn endpoint(all: &mut Vec<KeyValue>, [address, port]: [&str; 2], text: &str) {
    match text.parse::<SocketAddr>() {
        Ok(at) => all.extend([attribute(address, at.ip().to_string()), attribute(port, at.port())]),
        Err(_) => all.push(attribute(address, shown(text))),
    }
}
