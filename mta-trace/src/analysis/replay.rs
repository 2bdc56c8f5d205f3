//! A whole log through the analysis.
//!
//! In: what a log holds. Out: on the way all of it, with what the analysis says, in the order of a live trace; at the end
//! the report. What cannot be read is passed over, counted and told. Not here: files, and what is done with any of it.

use super::Analysis;
use crate::event::Record;
use crate::log::{Error, Item};
use crate::report::Report;
use crate::update::Update;

/// What a log holds, and what the analysis says of it.
#[derive(Debug)]
pub enum Told<'a> {
    /// A record, before what the analysis says of it.
    Record(&'a Record),
    /// What the analysis says.
    Update(&'a Update),
    /// A line that cannot be read and is passed over.
    Unreadable {
        /// Which, from 1.
        line: u64,
        /// Why.
        reason: &'a str,
    },
    /// The log ends in the middle of this line.
    Cut {
        /// Which, from 1.
        line: u64,
    },
}

/// The report of what a log holds; `see` is told everything. It ends early where the log cannot be read any further, or `see` fails.
pub fn replay<E: From<Error>>(
    items: impl IntoIterator<Item = Result<Item, Error>>,
    mut analysis: Analysis,
    mut see: impl FnMut(Told<'_>) -> Result<(), E>,
) -> Result<Report, E> {
    let mut updates = Vec::new();
    for item in items {
        match item? {
            Item::Record(record) => {
                see(Told::Record(&record))?;
                analysis.feed(&record, &mut updates);
            }
            Item::Unreadable { line, reason } => {
                analysis.note_unreadable();
                see(Told::Unreadable { line, reason: &reason })?;
            }
            Item::Unknown { .. } => analysis.note_unknown(),
            Item::Cut { line } => see(Told::Cut { line })?,
        }
        updates.drain(..).try_for_each(|update| see(Told::Update(&update)))?;
    }
    let report = analysis.finish(&mut updates);
    updates.iter().try_for_each(|update| see(Told::Update(update)))?;
    Ok(report)
}
