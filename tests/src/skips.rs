//! Tests that may be skipped, from `tests/skips.toml`: each with a name, a reason and a date.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// One test.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skip {
    /// `KIND::NAME`.
    pub name: String,
    /// Why it cannot run.
    pub reason: String,
    /// When that was found: `2026-11-24`.
    pub date: toml::value::Datetime,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    skip: Vec<Skip>,
}

/// All of them.
pub fn all() -> Result<Vec<Skip>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("skips.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

fn parse(text: &str) -> Result<Vec<Skip>> {
    let File { skip } = toml::from_str(text)?;
    for Skip { name, reason, date } in &skip {
        ensure!(!reason.trim().is_empty(), "{name}: a skip needs a reason");
        ensure!(date.date.is_some(), "{name}: a skip needs a date");
    }
    Ok(skip)
}

/// The skip of this test, if there is one.
pub fn find<'a>(skips: &'a [Skip], kind: &str, name: &str) -> Option<&'a Skip> {
    skips.iter().find(|skip| skip.name.split_once("::") == Some((kind, name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_has_a_name_a_reason_and_a_date() {
        let good = "[[skip]]\nname = \"live::fast\"\nreason = \"no IPv6 here\"\ndate = 2026-11-24\n";
        let skips = parse(good).expect("a whole entry");
        assert!(find(&skips, "live", "fast").is_some());
        assert!(find(&skips, "live", "faster").is_none() && find(&skips, "selftest", "fast").is_none());
        for bad in ["[[skip]]\nname = \"live::fast\"\nreason = \"x\"\n", "[[skip]]\nname = \"a::b\"\nreason = \" \"\ndate = 2026-11-24\n"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_list_can_be_read() {
        all().expect("tests/skips.toml");
    }
}
