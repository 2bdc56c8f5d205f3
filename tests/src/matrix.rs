//! Cause by mail server: which pairs a scenario has shown, and why the others have none.
//!
//! In come the scenarios that have a golden log, the causes of the report's schema, and `tests/matrix.toml` with the reasons; out come the
//! table `docs/matrix.md` and its mistakes. A pair that is both shown and excused is a mistake, one that is neither too. Not here: how right
//! the reports are (`score.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::mta;
use crate::run;
use crate::scenario::{ExpectWait, Scenario, scenario_dir};

/// The columns: name in scenarios, name for people. A server that is none of them is `other`, the generic view.
const COLUMNS: [(&str, &str); 5] =
    [("sendmail", "sendmail"), ("postfix", "Postfix"), ("exim", "Exim"), ("opensmtpd", "OpenSMTPD"), (OTHER, "other servers")];
const OTHER: &str = "other";

/// What `cargo xtask matrix` writes.
const HEAD: &str = "\
# Which cause was shown on which mail server

Made by `cargo xtask matrix` from the scenarios in [tests/lab](../tests/lab) and the reasons in [tests/matrix.toml](../tests/matrix.toml); a test holds
it against them. A number counts the scenarios in which a real fault on a real server gave a wait of this cause; each has its golden log in
[tests/replay](../tests/replay). `-` is a pair that cannot be, `open` one that was not made yet; the reasons stand below. Scenarios in parentheses
show the cause as what another process waited for (`inner`).

`cargo xtask matrix --score` says how right the reports of these scenarios are (cause, target, time), and where a scenario expects less than that.
";

/// Why pairs are not shown.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reasons {
    /// One after another.
    empty: Vec<Empty>,
}

/// Why pairs are not shown: one reason for a cause and some servers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {
    cause: String,
    mta: Vec<String>,
    reason: String,
    /// It could be, and was not made yet.
    #[serde(default)]
    open: bool,
}

/// One pair of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Cell {
    scenarios: BTreeSet<String>,
    inner: BTreeSet<String>,
    reason: Option<Empty>,
}

/// By cause (its number in the schema) and column.
type Cells = BTreeMap<(usize, usize), Cell>;

/// The text of `docs/matrix.md`.
pub fn text() -> Result<String> {
    let scenarios = Scenario::all()?.into_iter().filter(|scenario| replay(&scenario.name, "jsonl").exists()).collect::<Vec<_>>();
    let reasons = scenario_dir().with_file_name("matrix.toml");
    let reasons = std::fs::read_to_string(&reasons).with_context(|| format!("read {}", reasons.display()))?;
    let (causes, reasons) = (causes()?, toml::from_str::<Reasons>(&reasons).context("parse tests/matrix.toml")?);
    let cells = cells(&causes, &scenarios, reasons)?;
    let problems = problems(&causes, &cells);
    ensure!(problems.is_empty(), "tests/matrix.toml and the scenarios do not fit:\n{}", problems.join("\n"));
    Ok(written(&causes, &cells))
}

/// Where it lies.
pub fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/matrix.md")
}

/// The committed text is what is made now.
pub fn check() -> Result<()> {
    let committed = std::fs::read_to_string(path()).context("read docs/matrix.md; `cargo xtask matrix` makes it")?;
    ensure!(committed == text()?, "docs/matrix.md is not what the scenarios say; `cargo xtask matrix` renews it");
    Ok(())
}

/// A file of a scenario's golden log.
pub fn replay(name: &str, suffix: &str) -> PathBuf {
    scenario_dir().with_file_name("replay").join(format!("{name}.{suffix}"))
}

/// The column of a scenario's server.
pub fn column(scenario: &Scenario) -> &'static str {
    let name = mta::of(scenario.mta).name();
    COLUMNS.iter().find(|column| column.0 == name).map_or(OTHER, |column| column.0)
}

/// What the report's schema knows.
fn causes() -> Result<Vec<String>> {
    let schema = run::schema()?;
    let names = schema.pointer("/$defs/wait/properties/cause/enum").and_then(serde_json::Value::as_array).context("the schema lists no causes")?;
    Ok(names.iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect())
}

fn cells(causes: &[String], scenarios: &[Scenario], reasons: Reasons) -> Result<Cells> {
    let row = |cause: &str| causes.iter().position(|known| known == cause).with_context(|| format!("no report has the cause {cause}"));
    let column_of = |mta: &str| COLUMNS.iter().position(|column| column.0 == mta).with_context(|| format!("there is no column {mta}"));
    let mut cells = Cells::new();
    for scenario in scenarios {
        let column = column_of(column(scenario))?;
        for wait in scenario.expect.commands.iter().flat_map(|command| &command.waits) {
            cells.entry((row(&wait.cause)?, column)).or_default().scenarios.insert(scenario.name.clone());
            for inner in inner(wait) {
                cells.entry((row(&inner.cause)?, column)).or_default().inner.insert(scenario.name.clone());
            }
        }
    }
    for empty in reasons.empty {
        for mta in &empty.mta {
            let cell = cells.entry((row(&empty.cause)?, column_of(mta)?)).or_default();
            if cell.reason.replace(empty.clone()).is_some() {
                bail!("tests/matrix.toml gives two reasons for {} with {mta}", empty.cause);
            }
        }
    }
    Ok(cells)
}

/// What the far end waited for, however deep.
fn inner(wait: &ExpectWait) -> Vec<&ExpectWait> {
    wait.inner.iter().flat_map(|wait| std::iter::once(wait).chain(inner(wait))).collect()
}

fn problems(causes: &[String], cells: &Cells) -> Vec<String> {
    let problem = |(row, column): (usize, usize)| {
        let pair = format!("{} with {}", causes.get(row)?, COLUMNS.get(column)?.0);
        let cell = cells.get(&(row, column)).cloned().unwrap_or_default();
        match (cell.scenarios.is_empty() && cell.inner.is_empty(), cell.reason) {
            (true, None) => Some(format!("{pair}: no scenario shows it, and no reason is given")),
            (false, Some(_)) => {
                let shown: Vec<&str> = cell.scenarios.union(&cell.inner).map(String::as_str).collect();
                Some(format!("{pair}: a reason is given, but it is shown by {}", shown.join(", ")))
            }
            (true, Some(Empty { reason, .. })) => reason.trim().is_empty().then(|| format!("{pair}: an empty reason")),
            (false, None) => None,
        }
    };
    pairs(causes).filter_map(problem).collect()
}

fn pairs(causes: &[String]) -> impl Iterator<Item = (usize, usize)> {
    (0..causes.len()).flat_map(|row| (0..COLUMNS.len()).map(move |column| (row, column)))
}

fn written(causes: &[String], cells: &Cells) -> String {
    let cell = |at: (usize, usize)| cells.get(&at).cloned().unwrap_or_default();
    let names: Vec<&str> = COLUMNS.iter().map(|column| column.1).collect();
    let mut text = format!("{HEAD}\n| cause | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    for (row, cause) in causes.iter().enumerate() {
        let shown: Vec<String> = (0..COLUMNS.len()).map(|column| short(&cell((row, column)))).collect();
        // A String takes everything.
        let _ = writeln!(text, "| `{cause}` | {} |", shown.join(" | "));
    }
    for (row, cause) in causes.iter().enumerate() {
        let _ = writeln!(text, "\n## {cause}\n");
        for (column, (_, name)) in COLUMNS.iter().enumerate() {
            let _ = writeln!(text, "- {name}: {}", long(&cell((row, column))));
        }
    }
    text
}

fn short(Cell { scenarios, inner, reason }: &Cell) -> String {
    match (scenarios.len(), inner.len(), reason) {
        (0, 0, Some(Empty { open: true, .. })) => "open".to_owned(),
        (0, 0, _) => "-".to_owned(),
        (0, inner, _) => format!("({inner})"),
        (shown, ..) => shown.to_string(),
    }
}

fn long(Cell { scenarios, inner, reason }: &Cell) -> String {
    let link = |name: &String| format!("[{name}](../tests/lab/{name}.toml)");
    let own = scenarios.iter().map(link);
    let others = inner.difference(scenarios).map(|name| format!("({})", link(name)));
    match reason {
        Some(Empty { open: true, reason, .. }) => format!("open: {reason}"),
        Some(Empty { reason, .. }) => reason.clone(),
        None => own.chain(others).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(name: &str, text: &str) -> Scenario {
        Scenario { name: name.to_owned(), ..toml::from_str(text).expect("a scenario") }
    }

    fn made(reasons: &str) -> Result<(Vec<String>, Cells)> {
        let causes = ["dns", "mta"].map(str::to_owned).to_vec();
        let scenarios = [
            scenario("a", r#"expect.commands = [{ verb = "RCPT", waits = [{ cause = "dns" }] }]"#),
            scenario("b", "mta = \"postfix\"\nexpect.commands = [{ verb = \"EOM\", waits = [{ cause = \"mta\", inner = [{ cause = \"dns\" }] }] }]"),
        ];
        let cells = cells(&causes, &scenarios, toml::from_str(reasons)?)?;
        Ok((causes, cells))
    }

    const REASONS: &str = r#"
        empty = [
          { cause = "dns", mta = ["exim", "opensmtpd", "other"], reason = "not tried", open = true },
          { cause = "mta", mta = ["sendmail", "exim", "opensmtpd", "other"], reason = "one process" },
        ]"#;

    #[test]
    fn a_pair_is_shown_or_excused() {
        let (causes, cells) = made(REASONS).expect("cells");
        assert_eq!(problems(&causes, &cells), Vec::<String>::new());
        let text = written(&causes, &cells);
        assert!(text.contains("| `dns` | 1 | (1) | open | open | open |\n| `mta` | - | 1 | - | - | - |"), "{text}");
        assert!(text.contains("- sendmail: [a](../tests/lab/a.toml)\n- Postfix: ([b](../tests/lab/b.toml))\n- Exim: open: not tried"), "{text}");
    }

    #[test]
    fn a_pair_that_is_neither_or_both_is_a_mistake() {
        let (causes, cells) = made(&REASONS.replace(r#"["exim", "#, "[")).expect("cells");
        assert_eq!(problems(&causes, &cells), ["dns with exim: no scenario shows it, and no reason is given"]);
        let (causes, cells) = made(&REASONS.replace(r#"["exim", "#, r#"["exim", "postfix", "#)).expect("cells");
        assert_eq!(problems(&causes, &cells), ["dns with postfix: a reason is given, but it is shown by b"]);
    }

    #[test]
    fn a_reason_for_what_does_not_exist_is_a_mistake() {
        assert!(made(&REASONS.replace("\"other\"", "\"qmail\"")).is_err());
        assert!(made(&REASONS.replace("\"mta\", mta", "\"moon\", mta")).is_err());
        assert!(made(&REASONS.replace(r#"["exim", "#, r#"["exim", "exim", "#)).is_err());
    }
}
