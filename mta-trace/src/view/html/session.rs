//! What is said of a session as a whole: who, when, how it ended.
//!
//! In: a session. Out: pairs of words for `session.html`; among several sessions also the fold around it. Not here: what happened in it.

use super::{Shown, evidence::Fact, findings::severity, number::seconds};
use crate::report::Session;
use crate::view::summary::session_notes;
use crate::view::words::ended;
use askama::Template;

/// The part of the page.
#[derive(Template)]
#[template(path = "session.html")]
pub struct Head<'a> {
    shown: &'a Shown<'a>,
    /// It is one of several.
    is_fold: bool,
    server_s: String,
    severity: &'static str,
    finding: &'a str,
    facts: Vec<Fact>,
    notes: Vec<String>,
}

impl<'a> Head<'a> {
    /// Of a session.
    pub fn new(shown: &'a Shown<'a>, is_fold: bool) -> Self {
        let session = shown.session;
        let worst = session.findings.first();
        let mut notes = session_notes(session);
        notes.extend(shown.note.clone());
        Self {
            shown,
            is_fold,
            server_s: seconds(session.server_s()),
            severity: worst.map_or("none", |finding| severity(finding.severity)),
            finding: worst.map_or("", |finding| &finding.summary),
            facts: facts(session),
            notes,
        }
    }
}

fn facts(session: &Session) -> Vec<Fact> {
    let fact = |label, text: String| Fact { label, text };
    let version = session.mta_version.as_deref().map(|it| format!(" {it}")).unwrap_or_default();
    let daemon = if session.daemon_pid == session.pid { String::new() } else { format!(", of daemon {}", session.daemon_pid) };
    let mut facts = vec![
        fact("session", session.id.clone()),
        fact("client", session.client.clone()),
        fact("server", session.server.clone()),
        fact("mail server", format!("{}{version}, pid {}{daemon}", session.mta, session.pid)),
        fact("began", session.started.clone()),
        fact("end", ended(session.end).to_owned()),
    ];
    if !session.queue_ids.is_empty() {
        facts.push(fact("queued as", session.queue_ids.join(", ")));
    }
    if !session.inherited_by.is_empty() {
        let pids: Vec<String> = session.inherited_by.iter().map(ToString::to_string).collect();
        facts.push(fact("inherited by", format!("pid {}", pids.join(", "))));
    }
    facts
}
