//! A whole log through the analysis into an export, as `mta-trace export` does.
//!
//! In: what a log holds, and where names have to stay in the house what changes them. Out: the export, to its end, and what
//! has to be said of the log. Invariant: nothing but the anonymizer sees a record before it is changed.

use super::anonymize::Anonymizer;
use super::{Error, Export};
use crate::analysis::{Analysis, Told, replay};
use crate::log::{self, Item};
use crate::report::Report;
use crate::update::Update;

/// What has to be said of a log.
#[derive(Debug)]
pub struct Passed {
    /// Its totals; of the sessions only those that the analysis has kept.
    pub totals: Report,
    /// The first line that could not be read, from 1, and why; `totals` counts them.
    pub unreadable: Option<(u64, String)>,
    /// The line in which the log ends before the trace did.
    pub cut: Option<u64>,
}

/// Writes the export; `step` is called before each line of the log.
pub fn drive(
    items: impl IntoIterator<Item = Result<Item, log::Error>>,
    mut anonymizer: Option<&mut Anonymizer>,
    export: &mut dyn Export,
    mut step: impl FnMut(),
) -> Result<Passed, Error> {
    let (mut unreadable, mut cut) = (None, None);
    let changed = items.into_iter().map(|item| {
        step();
        Ok(match (item?, &mut anonymizer) {
            (Item::Record(record), Some(anonymizer)) => Item::Record(Box::new(anonymizer.record(&record))),
            (item, _) => item,
        })
    });
    let totals = replay(changed, Analysis::new(), |told| {
        match told {
            Told::Record(record) => export.record(record)?,
            Told::Update(Update::SessionEnded(session)) => export.session(session)?,
            Told::Update(_) => {}
            Told::Unreadable { line, reason } => {
                unreadable.get_or_insert_with(|| (line, reason.to_owned()));
            }
            Told::Cut { line } => cut = Some(line),
        }
        Ok::<_, Error>(())
    })?;
    export.finish(&totals)?;
    Ok(Passed { totals, unreadable, cut })
}
