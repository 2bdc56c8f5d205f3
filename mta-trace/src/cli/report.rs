//! `mta-trace report`: the same analysis as live, from a log.
//!
//! In: a log. Out: the report. Lines that cannot be read are passed over, and said.

use super::args::report::{Format, Replay};
use super::output::{self, Failure, say};
use crate::analysis::Analysis;
use crate::log;
use crate::report::Report;
use crate::update::Update;
use crate::view::{accepted::Accepted, json, summary};

/// Writes the report of a log.
pub fn run(replay: &Replay) -> Result<(), Failure> {
    // Text is for people, and the same as live; JSON is for programs, which may want every session.
    let analysis = match replay.format {
        Format::Text => Analysis::new(),
        Format::Json => Analysis::keeping_all(),
    };
    let (report, accepted) = analyse(&replay.log, analysis, |_| {})?;
    let mut text = Vec::new();
    match replay.format {
        Format::Text => text.extend_from_slice(summary::text(&report, &accepted).as_bytes()),
        Format::Json => json::write(&mut text, &report).map_err(Failure::io)?,
    }
    output::write_new(replay.output.as_deref().unwrap_or("-"), &text)
}

/// The same analysis as live, from a log; `see` is told what it says.
pub fn analyse(path: &str, mut analysis: Analysis, mut see: impl FnMut(&Update)) -> Result<(Report, Accepted), Failure> {
    let mut accepted = Accepted::default();
    let mut updates = Vec::new();
    for item in log::read(path)? {
        match item? {
            log::Item::Record(record) => {
                accepted.record(&record);
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
            see(&update);
        }
    }
    let report = analysis.finish(&mut updates);
    for update in &updates {
        accepted.update(update);
        see(update);
    }
    Ok((report, accepted))
}
