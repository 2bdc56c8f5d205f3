//! `lab matrix` writes the table of causes and mail servers, `lab score` says how right the reports of all scenarios are.
//!
//! In come `tests/lab`, `tests/replay`, and what live tests left in the target folder; the golden logs are read by the tracer's binary.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use lab::matrix::{self, column, replay};
use lab::report::Report;
use lab::run;
use lab::scenario::Scenario;
use lab::score::{self, Score};
use lab::truth::Truth;

/// Writes `docs/matrix.md`.
pub fn write() -> Result<()> {
    let path = matrix::path();
    std::fs::write(&path, matrix::text()?).with_context(|| format!("write {}", path.display()))?;
    println!("docs/matrix.md is written");
    Ok(())
}

/// Prints the scores of the golden logs and of the last live run of each scenario; fails where something is missing or false.
pub fn score() -> Result<()> {
    let scenarios = Scenario::all()?;
    let golden = scored("golden logs", &scenarios, golden)?;
    let live = scored("last live runs", &scenarios, live)?;
    if golden + live > 0 {
        bail!("{} are missing or false", golden + live);
    }
    Ok(())
}

/// Prints the table of one kind of reports; gives how many waits are missing or false.
fn scored(kind: &str, scenarios: &[Scenario], read: impl Fn(&Scenario) -> Result<Option<(Report, Option<Truth>)>>) -> Result<usize> {
    let (mut scores, mut count) = (BTreeMap::<String, Score>::new(), 0);
    for scenario in scenarios {
        let Some((report, truth)) = read(scenario).with_context(|| scenario.name.clone())? else { continue };
        scores.entry(column(scenario).to_owned()).or_default().add(&Score::of(scenario, truth.as_ref(), &report));
        count += 1;
    }
    println!("== {kind}: {count} of {} scenarios\n{}", scenarios.len(), score::text(&scores));
    Ok(scores.values().map(|score| score.missing.len() + score.false_ones.len()).sum())
}

fn golden(scenario: &Scenario) -> Result<Option<(Report, Option<Truth>)>> {
    let log = replay(&scenario.name, "jsonl");
    if !log.exists() {
        return Ok(None);
    }
    let report = serde_json::from_str(&run::report_of_log(&log, "json")?).context("parse the report")?;
    Ok(Some((report, Truth::load(&replay(&scenario.name, "truth.json"))?)))
}

/// Older runs than a day are of another tracer.
const FRESH: Duration = Duration::from_hours(24);

fn live(scenario: &Scenario) -> Result<Option<(Report, Option<Truth>)>> {
    let dir = run::dir_of(scenario);
    let (report, truth) = (dir.join("report.json"), dir.join(run::TRUTH));
    let is_fresh = |time: SystemTime| time.elapsed().is_ok_and(|age| age < FRESH);
    let Some(truth) =
        std::fs::metadata(&report).and_then(|meta| meta.modified()).is_ok_and(is_fresh).then(|| Truth::load(&truth)).transpose()?.flatten()
    else {
        return Ok(None);
    };
    let text = std::fs::read(&report).with_context(|| format!("read {}", report.display()))?;
    Ok(Some((serde_json::from_slice(&text).context("parse the report")?, Some(truth))))
}
