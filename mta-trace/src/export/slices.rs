//! What a timeline shows: slices that lie in one another, of a session and of whom it waited for.
//!
//! In: a session of the report, when it began, the calls of its thread. Out: trees of [`Slice`], by the monotonic clock.
//! Invariant: what [`nest`] gives lies whole in what is around it and does not overlap its neighbour, whatever came in.
//! Not here: on which track a tree is drawn (`tracks.rs`), bytes of a format.

use crate::report::{Command, Finding, Session, Wait};
use crate::view::escape::escape;
use crate::view::words;
use std::cmp::Reverse;

/// What a slice is; what comes later lies in what comes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Category {
    Session,
    /// A process for whom another one waits.
    FarEnd,
    Command,
    Wait,
    Call,
}

impl Category {
    pub fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::FarEnd => "far-end",
            Self::Command => "command",
            Self::Wait => "wait",
            Self::Call => "syscall",
        }
    }
}

/// What is said of a slice.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Real(f64),
    Count(u64),
    Flag(bool),
    List(Vec<String>),
}

/// One thing on a track; without a length it is a mark.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slice {
    pub start: u64,
    pub end: u64,
    pub category: Category,
    pub name: String,
    pub notes: Vec<(&'static str, Value)>,
    /// An arrow that begins here.
    pub flow: Option<u64>,
    /// An arrow that ends here.
    pub flow_from: Option<u64>,
    /// In order, without overlap.
    pub inside: Vec<Slice>,
}

impl Slice {
    pub fn new(category: Category, name: String, start: u64, end: u64) -> Self {
        Self { start, end: end.max(start), category, name, notes: Vec::new(), flow: None, flow_from: None, inside: Vec::new() }
    }

    pub fn is_mark(&self) -> bool {
        self.start == self.end
    }

    pub fn text(&mut self, name: &'static str, text: &str) {
        self.notes.push((name, Value::Text(escape(text).into_owned())));
    }

    fn text_if(&mut self, name: &'static str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    pub fn note(&mut self, name: &'static str, value: Value) {
        self.notes.push((name, value));
    }

    fn count_if(&mut self, name: &'static str, count: Option<impl Into<u64>>) {
        if let Some(count) = count {
            self.note(name, Value::Count(count.into()));
        }
    }

    fn list(&mut self, name: &'static str, texts: impl Iterator<Item = String>) {
        let texts: Vec<String> = texts.map(|text| escape(&text).into_owned()).collect();
        if !texts.is_empty() {
            self.note(name, Value::List(texts));
        }
    }

    /// A reply that leaves stands at the end of what it ends, not in what begins then; so does a command that took no time.
    fn is_last_word(&self) -> bool {
        self.is_mark() && (self.category != Category::Call || self.name.starts_with("write") || self.name.starts_with("send"))
    }
}

/// Nanoseconds of a figure of the report; of one that makes no sense 0.
pub(super) fn ns(seconds: f64) -> u64 {
    std::time::Duration::try_from_secs_f64(seconds).map_or(0, |it| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX))
}

/// Puts slices into one another by time and category. What would stick out is cut.
pub(super) fn nest(mut slices: Vec<Slice>) -> Vec<Slice> {
    slices.sort_by_key(|it| (it.start, !it.is_last_word(), Reverse(it.end), it.category));
    let (mut roots, mut open) = (Vec::new(), Vec::<Slice>::new());
    for mut slice in slices {
        while let Some(around) = open.last_mut() {
            let is_over = if slice.is_mark() { around.end < slice.start } else { around.end <= slice.start };
            if !is_over && around.category < slice.category {
                break;
            }
            around.end = around.end.min(slice.start);
            close(&mut open, &mut roots);
        }
        match open.last_mut() {
            Some(around) if slice.is_mark() => around.inside.push(slice),
            None if slice.is_mark() => roots.push(slice),
            around => {
                slice.end = around.map_or(slice.end, |around| slice.end.min(around.end));
                open.push(slice);
            }
        }
    }
    while !open.is_empty() {
        close(&mut open, &mut roots);
    }
    roots
}

fn close(open: &mut Vec<Slice>, roots: &mut Vec<Slice>) {
    let Some(slice) = open.pop() else { return };
    match open.last_mut() {
        Some(around) => around.inside.push(slice),
        None => roots.push(slice),
    }
}

/// A process at the far end of a wait, with what it waited for itself.
pub(super) struct FarEnd {
    pub pid: u32,
    pub comm: String,
    pub slices: Vec<Slice>,
}

/// Makes the slices of one session.
pub(super) struct Drawn<'a> {
    session: &'a Session,
    /// When it began.
    t: u64,
    /// The last arrow that was drawn.
    flow: &'a mut u64,
    far: Vec<FarEnd>,
}

/// All slices of a session, not yet in one another; and whom it waited for.
pub(super) fn of_session(session: &Session, t: u64, flow: &mut u64) -> (Vec<Slice>, Vec<FarEnd>) {
    let mut of = Drawn { session, t, flow, far: Vec::new() };
    let mut slices = vec![of.whole()];
    for command in &session.commands {
        slices.push(of.command(command));
        slices.extend(command.waits.iter().map(|wait| of.wait(wait)));
    }
    slices.extend(session.between.iter().map(|wait| of.wait(wait)));
    (slices, of.far)
}

impl Drawn<'_> {
    fn whole(&self) -> Slice {
        let Session { id, mta, mta_version, client, server, elapsed_s, client_s, complete, end, tls, queue_ids, left_out, findings, .. } =
            self.session;
        let name = format!("session {} from {}", escape(id), escape(client));
        let mut slice = Slice::new(Category::Session, name, self.t, self.t.saturating_add(ns(*elapsed_s)));
        slice.text("client", client);
        slice.text("server", server);
        slice.text("mta", &mta_version.as_ref().map_or_else(|| mta.clone(), |version| format!("{mta} {version}")));
        slice.note("server_s", Value::Real(self.session.server_s()));
        slice.note("client_s", Value::Real(*client_s));
        slice.note("complete", Value::Flag(*complete));
        slice.text("end", words::ended(*end));
        if let Some(tls) = tls {
            slice.note("tls_start_s", Value::Real(tls.start_s));
        }
        if let Some(waited) = self.session.before_accept_s {
            slice.note("before_accept_s", Value::Real(waited));
        }
        slice.list("queue_ids", queue_ids.iter().cloned());
        slice.count_if("commands_left_out", left_out.as_ref().map(|it| it.commands));
        slice.list("findings", findings.iter().map(finding));
        slice
    }

    fn command(&self, command: &Command) -> Slice {
        let start = self.t.saturating_add(ns(command.start_s));
        let end = start.saturating_add(ns(command.elapsed_s));
        let mut slice = Slice::new(Category::Command, command.verb.name().to_owned(), start, end);
        slice.text_if("line", command.line.as_deref());
        slice.count_if("line_bytes", command.line_bytes.and_then(|bytes| u64::try_from(bytes).ok()));
        slice.count_if("reply_code", command.reply_code);
        slice.text_if("reply", command.reply.as_deref());
        slice.text_if("queue_id", command.queue_id.as_deref());
        for (name, seconds) in [
            ("cpu_s", command.cpu_s),
            ("runqueue_s", command.runqueue_s),
            ("short_waits_s", command.short_waits_s),
            ("unexplained_s", command.unexplained_s),
        ] {
            slice.note(name, Value::Real(seconds));
        }
        if command.boundary.is_some() {
            slice.text("boundary", "inferred");
        }
        slice.list("absent", command.absent.iter().cloned());
        let own = self.session.findings.iter().filter(|finding| finding.command == command.index);
        slice.list("findings", own.map(finding));
        slice
    }

    /// A wait; who stands at its far end is told besides.
    fn wait(&mut self, wait: &Wait) -> Slice {
        let start = self.t.saturating_add(ns(wait.start_s));
        let end = start.saturating_add(ns(wait.elapsed_s));
        let mut slice = Slice::new(Category::Wait, words::wait_text(wait), start, end);
        evidence(&mut slice, wait);
        if let Some(peer) = &wait.peer {
            *self.flow = self.flow.saturating_add(1);
            slice.flow = Some(*self.flow);
            let mut root = Slice::new(Category::FarEnd, format!("waited for by session {}", escape(&self.session.id)), start, end);
            root.flow_from = slice.flow;
            root.text("wait", &words::wait_text(wait));
            root.text_if("serves", peer.path.as_deref());
            root.text_if("unclear", peer.unclear.as_deref());
            root.text_if("left_out", peer.left_out.map(|number| number.to_string()).as_deref());
            let mut slices = vec![root];
            slices.extend(wait.inner.iter().map(|inner| self.wait(inner)));
            self.far.push(FarEnd { pid: peer.pid, comm: peer.comm.clone(), slices });
        }
        slice
    }
}

fn finding(finding: &Finding) -> String {
    format!("{}: {}; {}", word(&finding.severity), finding.summary, finding.remedy)
}

fn evidence(slice: &mut Slice, wait: &Wait) {
    slice.text("cause", wait.cause.name());
    slice.text_if("target", wait.target.as_deref());
    slice.text("outcome", &word(&wait.outcome));
    slice.count_if("attempts", wait.attempts);
    if let Some(timer_s) = wait.timer_s {
        slice.note("timer_s", Value::Real(timer_s));
    }
    if let Some(connected) = wait.connected {
        slice.note("connected", Value::Flag(connected));
    }
    if let Some(dns) = &wait.dns {
        slice.text("dns.qname", &dns.qname);
        slice.text("dns.qtype", &dns.qtype);
        slice.text_if("dns.rcode", dns.rcode.as_deref());
        slice.text_if("dns.purpose", dns.purpose.as_deref());
        let server = |it: &crate::report::DnsServer| {
            let waited = it.waited_s.map(|waited| format!(", {waited:.3} s")).unwrap_or_default();
            format!("{}: {} attempts, {}{waited}", it.address, it.attempts, if it.answered { "answered" } else { "no answer" })
        };
        slice.list("dns.servers", dns.servers.iter().map(server));
    }
    if let Some(milter) = &wait.milter {
        slice.text("milter.stage", &milter.stage);
        slice.text_if("milter.reply", milter.reply.as_deref());
        slice.count_if("milter.writes", milter.writes);
    }
    slice.list("syscalls", wait.syscalls.iter().cloned());
    slice.text_if("descriptor", wait.descriptor.as_deref());
    if let Some(peer) = &wait.peer {
        slice.text("peer", &format!("{} (pid {})", peer.comm, peer.pid));
    }
}

/// A word of the vocabulary, as the report's JSON has it.
pub(super) fn word(of: &impl serde::Serialize) -> String {
    serde_json::to_value(of).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
#[path = "slices_tests.rs"]
mod tests;
