//! `mta-trace report`: the same analysis as live, from a log.
//!
//! In: a log. Out: the report. Lines that cannot be read are passed over, and said.

use super::args::report::{Replay, ReportFormat};
use super::html;
use super::output::{self, Failure, say};
use crate::analysis::Analysis;
use crate::event::Record;
use crate::log;
use crate::report::Report;
use crate::update::Update;
use crate::view::{accepted::Accepted, json, summary};

/// Writes the report of a log.
pub fn run(replay: &Replay) -> Result<(), Failure> {
    let path = replay.output.as_deref().unwrap_or("-");
    let text = match replay.format {
        ReportFormat::Html => return html::run(&replay.log, path),
        ReportFormat::Text => {
            let (report, accepted) = analyse(&replay.log, Analysis::new(), |_| {})?;
            summary::text(&report, &accepted).into_bytes()
        }
        // Text is for people, and the same as live; JSON is for programs, which may want every session.
        ReportFormat::Json => {
            let (report, _) = analyse(&replay.log, Analysis::keeping_all(), |_| {})?;
            let mut text = Vec::new();
            json::write(&mut text, &report).map_err(Failure::io)?;
            text
        }
    };
    output::write_new(path, &text)
}

/// What a log holds, and what the analysis says of it, in the order of a live trace.
pub enum Told<'a> {
    Record(&'a Record),
    Update(&'a Update),
}

/// The same analysis as live, from a log; `see` is told everything.
pub fn analyse(path: &str, mut analysis: Analysis, mut see: impl FnMut(Told<'_>)) -> Result<(Report, Accepted), Failure> {
    let mut accepted = Accepted::default();
    let mut updates = Vec::new();
    for item in log::read(path)? {
        match item? {
            log::Item::Record(record) => {
                accepted.record(&record);
                see(Told::Record(&record));
                analysis.feed(&record, &mut updates);
            }
            log::Item::Unreadable { line, reason } => {
                analysis.note_unreadable();
                say(&format!("{path}: line {line} cannot be read and is passed over: {reason}"));
            }
            log::Item::Unknown { .. } => analysis.note_unknown(),
            // The report says that the end is missing.
            log::Item::Cut { .. } => {}
        }
        for update in updates.drain(..) {
            accepted.update(&update);
            see(Told::Update(&update));
        }
    }
    let report = analysis.finish(&mut updates);
    for update in &updates {
        accepted.update(update);
        see(Told::Update(update));
    }
    Ok((report, accepted))
}
