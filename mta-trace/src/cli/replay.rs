//! A log from the command line through the analysis: what `report` and `diff` begin with.
//!
//! In: the path of a log. Out: the report, and on the way all that the log holds. Lines that cannot be read are said one by one.

use super::output::{Failure, say};
use crate::analysis::{Analysis, Told, replay};
use crate::log;
use crate::report::Report;
use crate::view::accepted::Accepted;

/// The report of a log; `see` is told everything.
pub fn analyse(path: &str, analysis: Analysis, mut see: impl FnMut(&Told<'_>)) -> Result<(Report, Accepted), Failure> {
    let mut accepted = Accepted::default();
    let report = replay(log::read(path)?, analysis, |told| {
        match &told {
            Told::Record(record) => accepted.record(record),
            Told::Update(update) => accepted.update(update),
            Told::Unreadable { line, reason } => say(&format!("{path}: line {line} cannot be read and is passed over: {reason}")),
            // The report says that the end is missing.
            Told::Cut { .. } => {}
        }
        see(&told);
        Ok::<_, Failure>(())
    })?;
    Ok((report, accepted))
}
