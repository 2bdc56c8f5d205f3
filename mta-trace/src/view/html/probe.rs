//! What the client of `mta-trace probe` measured, beside the trace or alone.
//!
//! In: a probe. Out: a table of its exchanges, for `probe.html`. Not here: how both sides were joined (`crate::probe`).

use super::number::seconds;
use crate::report::{Exchange, Probe};
use askama::Template;

/// More exchanges are not shown.
const EXCHANGES: usize = 500;

/// The part of the page.
#[derive(Template)]
#[template(path = "probe.html")]
pub struct Section<'a> {
    id: String,
    level: u8,
    probe: &'a Probe,
    connect: String,
    rows: Vec<Row>,
    more: usize,
    whole: [String; 3],
}

struct Row {
    start: String,
    what: String,
    elapsed: String,
    server: String,
    outside: String,
}

impl<'a> Section<'a> {
    /// Beside a session or alone.
    pub fn new(id: &str, level: u8, probe: &'a Probe) -> Self {
        Self {
            id: id.to_owned(),
            level,
            connect: seconds(probe.connect_s),
            rows: probe.exchanges.iter().take(EXCHANGES).map(row).collect(),
            more: probe.exchanges.len().saturating_sub(EXCHANGES),
            whole: [seconds(probe.elapsed_s), optional(probe.server_s), optional(probe.outside_s)],
            probe,
        }
    }
}

fn row(exchange: &Exchange) -> Row {
    let commands = exchange.commands.iter().map(|command| {
        let line = command.line.as_deref().unwrap_or(command.verb.name());
        let reply = command.reply.as_deref().map(str::to_owned).or_else(|| command.reply_code.map(|code| code.to_string()));
        format!("{line} \u{2192} {}", reply.as_deref().unwrap_or("no reply"))
    });
    Row {
        start: seconds(exchange.start_s),
        what: commands.collect::<Vec<_>>().join("; "),
        elapsed: seconds(exchange.elapsed_s),
        server: optional(exchange.server_s),
        outside: optional(exchange.outside_s),
    }
}

fn optional(s: Option<f64>) -> String {
    s.map(seconds).unwrap_or_default()
}
