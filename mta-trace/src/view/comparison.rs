//! Two traces side by side: the commands' medians, what went, came and changed, and the verdict.
//!
//! In: a [`Comparison`]. Out: text of 80 columns. Not here: what counts as a difference (`compare.rs`).

use super::escape::escape;
use super::layout::{WIDTH, labelled};
use crate::compare::{Change, CommandRow, Comparison, Pair, Reason, WaitRow};
use crate::report::Verb;
use std::fmt::Write as _;

/// Waits that are shown; the rest are counted.
const ROWS: usize = 20;

/// The whole comparison.
pub fn text(comparison: &Comparison) -> String {
    let mut lines = Vec::new();
    let Pair { before, after } = comparison.sessions;
    lines.push(format!("{:<12}{:>12}{:>12}{:>12}", "", "before", "after", "difference"));
    lines.push(format!("{:<12}{before:>12}{after:>12}", "sessions"));
    lines.push(figures("server", &comparison.server_s, None));
    lines.extend(comparison.commands.iter().map(command));
    if !comparison.waits.is_empty() {
        lines.push(String::new());
        lines.push("waits, s a session:".to_owned());
        lines.extend(comparison.waits.iter().take(ROWS).flat_map(wait));
    }
    let more = comparison.waits.len().saturating_sub(ROWS);
    if more > 0 {
        lines.push(format!("  and {more} smaller differences"));
    }
    lines.push(String::new());
    lines.extend(labelled(0, "", &verdict(comparison), WIDTH));
    lines.iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{}", line.trim_end());
        text
    })
}

/// A row of medians, s.
fn figures(name: &str, median_s: &Pair<Option<f64>>, count: Option<&Pair<usize>>) -> String {
    let figure = |s: Option<f64>| s.map_or_else(|| "-".to_owned(), |s| format!("{s:.3}"));
    let difference = match (median_s.before, median_s.after) {
        (Some(before), Some(after)) if Pair { before, after }.is_same() => "=".to_owned(),
        (Some(before), Some(after)) => format!("{:+.3}", after - before),
        _ => String::new(),
    };
    let count = count.map(|Pair { before, after }| if before == after { format!("  {before} times") } else { format!("  {before}, {after} times") });
    format!("{name:<12}{:>12}{:>12}{difference:>12}{}", figure(median_s.before), figure(median_s.after), count.unwrap_or_default())
}

fn command(row: &CommandRow) -> String {
    figures(row.verb.name(), &row.median_s, Some(&row.count))
}

fn wait(row: &WaitRow) -> Vec<String> {
    let WaitRow { reason, change, per_session_s: Pair { before, after }, sessions } = row;
    let word = match change {
        Change::Went => "went",
        Change::Came => "came",
        Change::Changed => "changed",
    };
    let text = format!("{}: {before:.3} -> {after:.3}, in {} and {} sessions", name(reason), sessions.before, sessions.after);
    labelled(2, &format!("{word:<9}"), &text, WIDTH)
}

/// `MAIL dns 10.99.0.1:53`.
fn name(reason: &Reason) -> String {
    let verb = reason.verb.map_or("between commands", Verb::name);
    let target = reason.target.as_deref().map(|target| format!(" {}", escape(target))).unwrap_or_default();
    format!("{verb} {}{target}", reason.cause.name())
}

fn verdict(comparison: &Comparison) -> String {
    let (before, after) = match (comparison.server_s.before, comparison.server_s.after) {
        (Some(before), Some(after)) => (before, after),
        (None, _) => return "verdict: the first trace has no session, so nothing can be compared".to_owned(),
        (_, None) => return "verdict: the second trace has no session, so nothing can be compared".to_owned(),
    };
    let server_s = Pair { before, after };
    if server_s.is_same() {
        return format!("verdict: no difference that counts: the server takes {before:.3} s for a session before and {after:.3} s after (median)");
    }
    let (word, by) = if after < before { ("faster", "less") } else { ("slower", "more") };
    let most = comparison.waits.iter().find(|row| (row.per_session_s.more_s() < 0.0) == (after < before));
    let most = most.map(|row| format!("; most of it: {} ({:+.3} s)", name(&row.reason), row.per_session_s.more_s())).unwrap_or_default();
    format!(
        "verdict: {word}: the server takes {after:.3} s for a session instead of {before:.3} s (median), {:.3} s {by}{most}",
        (after - before).abs()
    )
}
