//! `mta-trace diff`: two logs side by side.

use super::args::diff::Diff;
use super::output::{self, Failure, say};
use super::replay::analyse;
use crate::analysis::{Analysis, Told};
use crate::compare::{Side, compare};
use crate::update::Update;
use crate::view::comparison;

/// Writes what changed from one log to the other.
pub fn run(diff: &Diff) -> Result<(), Failure> {
    let side = |path: &str| {
        let mut side = Side::default();
        let (report, _) = analyse(path, Analysis::new(), |told| {
            if let Told::Update(Update::SessionEnded(session)) = told {
                side.add(session);
            }
        })?;
        if report.log.lost > 0 {
            say(&format!("{path}: {} events were lost when it was recorded: its times may be wrong or missing", report.log.lost));
        }
        Ok::<_, Failure>(side)
    };
    let (before, after) = (side(&diff.before)?, side(&diff.after)?);
    output::write_new("-", comparison::text(&compare(&before, &after)).as_bytes())
}
