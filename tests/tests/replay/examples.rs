//! Reports in the documents are true: each paragraph of such an example stands in the golden text of the scenario that it is from.
//!
//! Not here: examples of commands, and of what is shown while a trace runs.

use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Document, and the scenario of an example in it.
const EXAMPLES: &[(&str, &str)] = &[
    ("docs/attach.md", "postfix-policy-slow"),
    ("README.md", "postfix-milter-opendkim"),
    ("docs/read-a-report.md", "two-faults"),
    ("docs/exim.md", "exim-callout-slow"),
    ("docs/opensmtpd.md", "opensmtpd-filter-slow"),
];

/// Compares them all.
pub fn are_true() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).with_context(|| format!("read {path}"));
    for (document, scenario) in EXAMPLES {
        let (text, golden) = (read(document)?, read(&format!("tests/replay/{scenario}.expect.txt"))?);
        // What stands between fences: every second part.
        let is_shown = text.split("```").skip(1).step_by(2).any(|block| is_of(block, &golden));
        ensure!(is_shown, "{document} has no example that is true of {scenario}: take it from tests/replay/{scenario}.expect.txt");
    }
    Ok(())
}

/// Whether every paragraph of a block is a part of a text, and there is a report in it.
fn is_of(block: &str, golden: &str) -> bool {
    let (_language, block) = block.split_once('\n').unwrap_or_default();
    block.contains("  HIGH  ") && block.trim_end().split("\n\n").all(|paragraph| golden.contains(paragraph.trim_matches('\n')))
}
