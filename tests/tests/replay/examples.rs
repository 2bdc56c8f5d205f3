//! Reports in the documents are true: each paragraph of such an example stands in the golden text of the scenario that it is from, and of two golden
//! logs side by side the text is what `diff` says.
//!
//! Not here: examples of commands, and of what is shown while a trace runs.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use mta_trace::analysis::{Analysis, Told, replay};
use mta_trace::compare::{Side, compare};
use mta_trace::update::Update;
use mta_trace::view::comparison;

/// Document, and the scenario of an example in it.
const EXAMPLES: &[(&str, &str)] = &[
    ("docs/attach.md", "postfix-policy-slow"),
    ("README.md", "the-case"),
    ("README.md", "postfix-milter-opendkim"),
    ("docs/read-a-report.md", "two-faults"),
    ("docs/exim.md", "exim-callout-slow"),
    ("docs/opensmtpd.md", "opensmtpd-filter-slow"),
];

/// Document, and the scenarios of the logs that are compared in it.
const COMPARED: &[(&str, [&str; 2])] = &[("docs/compare-two-logs.md", ["ptr-and-ident-silent", "fast"])];

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
    for (document, [before, after]) in COMPARED {
        let said = comparison::text(&compare(&side(before)?, &side(after)?));
        let is_shown = read(document)?.split("```").skip(1).step_by(2).any(|block| block.strip_prefix("text\n") == Some(said.as_str()));
        ensure!(is_shown, "{document} does not show what is said of {before} and {after}:\n{said}");
    }
    Ok(())
}

/// What `mta-trace diff` reads of a log.
fn side(scenario: &str) -> Result<Side> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("replay").join(scenario).with_extension("jsonl");
    let mut side = Side::default();
    replay(mta_trace::log::read(path.to_str().context("a path in UTF-8")?)?, Analysis::new(), |told| {
        if let Told::Update(Update::SessionEnded(session)) = told {
            side.add(session);
        }
        Ok::<_, anyhow::Error>(())
    })?;
    Ok(side)
}

/// Whether every paragraph of a block is a part of a text, and there is a report in it.
fn is_of(block: &str, golden: &str) -> bool {
    let (_language, block) = block.split_once('\n').unwrap_or_default();
    block.contains("  HIGH  ") && block.trim_end().split("\n\n").all(|paragraph| golden.contains(paragraph.trim_matches('\n')))
}
