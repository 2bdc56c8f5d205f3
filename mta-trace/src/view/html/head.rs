//! The top of the page: what is missing, one sentence that says why it was slow, the figures.
//!
//! In: the report. Out: `head.html`, which also has the page's only style, and its policy. Invariant: what is lost or cut stands before everything else.
//! Not here: the parts of the page.

use super::{
    findings::{common, severity},
    number::{percent, seconds},
};
use crate::report::{CommonFinding, DaemonFinding, Finding, Report, Session, Severity};
use crate::view::{
    accepted::Accepted,
    summary::{counted, missing, nothing_found},
};
use askama::Template;

/// Hashes of `page.css` and `page.js` for the page's policy; a test compares them.
pub const STYLE_HASH: &str = "sha256-FVuHkw9mzbHLNHR+N4whGSoFzsYAeOf16kxqpVoVKzI=";
/// Of the script.
pub const SCRIPT_HASH: &str = "sha256-DEqa9z4qJqHiL716lSikJHVOXSEXBxxw/2W9+6jpNCw=";

/// The part of the page.
#[derive(Template)]
#[template(path = "head.html")]
pub struct Head {
    style: &'static str,
    style_hash: &'static str,
    script_hash: &'static str,
    /// What is lost or cut.
    missing: Vec<String>,
    /// What else the page does not hold.
    notes: Vec<String>,
    severity: &'static str,
    headline: String,
    tool: String,
    figures: Vec<Figure>,
    links: Vec<(String, &'static str)>,
}

struct Figure {
    value: String,
    what: String,
}

fn figure(value: impl Into<String>, what: impl Into<String>) -> Figure {
    Figure { value: value.into(), what: what.into() }
}

impl Head {
    /// Of a report; `links`: what else is on the page.
    pub fn new(report: &Report, accepted: &Accepted, notes: Vec<String>, links: Vec<(String, &'static str)>) -> Self {
        let tool = &report.tool;
        let (severity, headline) = headline(report, accepted);
        Self {
            style: super::STYLE,
            style_hash: STYLE_HASH,
            script_hash: SCRIPT_HASH,
            missing: missing(&report.log, !report.sessions.is_empty()),
            notes,
            severity,
            headline,
            tool: format!(
                "mta-trace {}, Linux {}, {} hooks: {}, {}",
                tool.version,
                tool.kernel,
                tool.hooks,
                counted(report.session_count(), "session", "sessions"),
                counted(report.log.events, "event", "events")
            ),
            figures: match report.sessions.as_slice() {
                [] => Vec::new(),
                [session] if report.left_out.is_none() => of_session(session),
                _ => of_sessions(report),
            },
            links,
        }
    }
}

/// The worst that was found, and how grave it is.
fn headline(report: &Report, accepted: &Accepted) -> (&'static str, String) {
    let of_daemon = |it: &DaemonFinding| (it.severity, it.elapsed_s, it.summary.clone());
    let of_all = |it: &CommonFinding| (it.severity, it.total_s, common(it));
    let of_session = |it: &Finding| (it.severity, it.elapsed_s, it.summary.clone());
    // What the sessions have in common says more than one of them.
    let all = report.daemon.iter().flat_map(|daemon| daemon.findings.iter().map(of_daemon)).chain(report.findings.iter().map(of_all));
    let found = worst(all).or_else(|| worst(report.sessions.iter().flat_map(|session| session.findings.iter().map(of_session))));
    match (found, report.sessions.as_slice()) {
        (Some((grave, summary)), _) => (severity(grave), summary),
        (None, []) if report.probe.is_none() => ("none", accepted.sentence()),
        (None, []) => ("none", "What a client measured, without a trace".to_owned()),
        (None, [session]) if !session.complete => ("none", "No finding; but the trace does not hold all of the session".to_owned()),
        (None, [session]) => ("none", capital(nothing_found(session))),
        (None, _) => ("none", "No finding in any session".to_owned()),
    }
}

fn worst(findings: impl Iterator<Item = (Severity, f64, String)>) -> Option<(Severity, String)> {
    findings.max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))).map(|(grave, _, text)| (grave, text))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn of_session(session: &Session) -> Vec<Figure> {
    let (server_s, elapsed_s) = (session.server_s(), session.elapsed_s);
    let mut figures = vec![
        figure(format!("{} s", seconds(elapsed_s)), "the session"),
        figure(format!("{} s", seconds(server_s)), format!("the server's time, {}", percent(server_s, elapsed_s))),
        figure(format!("{} s", seconds(elapsed_s - server_s)), "the client's time"),
    ];
    let slowest = session.commands.iter().max_by(|a, b| a.server_s().total_cmp(&b.server_s()));
    figures.extend(slowest.map(|it| figure(format!("{} {} s", it.verb.name(), seconds(it.server_s())), "the slowest command")));
    figures
}

fn of_sessions(report: &Report) -> Vec<Figure> {
    let mut times: Vec<f64> = report.sessions.iter().map(Session::server_s).collect();
    times.sort_by(f64::total_cmp);
    let all_s = times.iter().sum::<f64>() + report.left_out.as_ref().map_or(0.0, |it| it.server_s);
    let is_wrong = |session: &&Session| session.findings.iter().any(|finding| finding.severity != Severity::Intended);
    let wrong = report.sessions.iter().filter(is_wrong).count();
    vec![
        figure(report.session_count().to_string(), "sessions"),
        figure(format!("{} s", seconds(all_s)), "the server's time, of all"),
        figure(format!("{} s", seconds(times.last().copied().unwrap_or(0.0))), "the slowest session"),
        figure(wrong.to_string(), format!("of {} have a finding", report.sessions.len())),
    ]
}
