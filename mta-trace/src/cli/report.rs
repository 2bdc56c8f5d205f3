//! `mta-trace report`: what the analysis of a log says, in the form that was asked for.

use super::args::report::{Replay, ReportFormat};
use super::html;
use super::output::{self, Failure};
use super::replay::analyse;
use crate::analysis::Analysis;
use crate::view::{json, summary};

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
