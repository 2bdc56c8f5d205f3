//! Which cause was shown on which mail server, and how right the reports are: `cargo xtask matrix [--score]`.
//!
//! The table is made from the scenarios and written to `docs/matrix.md`; the score is that of the golden logs, and of the last live run of each
//! scenario (`cargo xtask test --only live`). Needs no root.

use crate::demo;

/// What is asked.
#[derive(clap::Args)]
pub struct Options {
    /// Print precision and recall over all scenarios instead of writing the table
    #[arg(long)]
    score: bool,
}

/// Writes the table, or prints the score.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let task = if options.score { "score" } else { "matrix" };
    demo::become_lab(&[task.as_ref()]).map(|never| match never {})
}
