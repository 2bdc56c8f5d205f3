//! The list of sessions: one row each, the slowest first; the script sorts and filters it.
//!
//! In: the sessions of the report, slowest first, and which of them are shown whole. Out: rows for `list.html`. Not here: which sessions the report holds.

use super::{findings::severity, number::seconds};
use crate::report::{Report, Session};
use askama::Template;

/// The part of the page.
#[derive(Template)]
#[template(path = "list.html")]
pub struct List {
    rows: Vec<Row>,
    shown: usize,
    /// How many the report does not hold.
    left_out: u64,
}

struct Row {
    /// Where it is shown whole; empty: it is not.
    href: String,
    id: String,
    started: String,
    client: String,
    server_s: String,
    elapsed_s: String,
    slowest: String,
    severity: &'static str,
    finding: String,
    commands: u64,
}

impl List {
    /// Of sessions in the order in which they are listed; the first `shown` are shown whole.
    pub fn new(report: &Report, order: &[usize], shown: usize) -> Self {
        let row = |(at, index): (usize, &usize)| report.sessions.get(*index).map(|session| Row::new(session, *index, at < shown));
        let rows = order.iter().enumerate().filter_map(row).collect();
        Self { rows, shown, left_out: report.left_out.as_ref().map_or(0, |it| it.sessions) }
    }
}

impl Row {
    fn new(session: &Session, index: usize, is_shown: bool) -> Self {
        let slowest = session.commands.iter().max_by(|a, b| a.server_s().total_cmp(&b.server_s()));
        let worst = session.findings.first();
        Self {
            href: if is_shown { super::session_id(index) } else { String::new() },
            id: session.id.clone(),
            started: moment(&session.started),
            client: session.client.clone(),
            server_s: seconds(session.server_s()),
            elapsed_s: seconds(session.elapsed_s),
            slowest: slowest.map(|command| format!("{} {}", command.verb.name(), seconds(command.server_s()))).unwrap_or_default(),
            severity: worst.map_or("none", |finding| severity(finding.severity)),
            finding: worst.map(|finding| finding.summary.clone()).unwrap_or_default(),
            commands: session.command_count(),
        }
    }
}

/// `2026-11-26 03:40:50` of `2026-11-26T03:40:50.991181Z`; anything else as it is.
fn moment(started: &str) -> String {
    match (started.get(..10), started.get(10..11), started.get(11..19)) {
        (Some(day), Some("T"), Some(time)) => format!("{day} {time}"),
        _ => started.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_to_the_second() {
        assert_eq!(moment("2026-11-26T03:40:50.991181Z"), "2026-11-26 03:40:50");
        assert_eq!(moment("é"), "é");
    }
}
