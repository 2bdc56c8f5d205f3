//! `lab record`: scenarios into golden logs, side by side, each beside the report that is expected of it.
//!
//! In come scenarios, out go `tests/replay/NAME.jsonl` and `NAME.expect.txt`. A log that is too big for the repository is
//! not kept; everything that failed is told at the end.

use std::collections::VecDeque;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use lab::scenario::Scenario;

/// Labs at a time; they mostly wait.
const SIDE_BY_SIDE: usize = 8;
/// A golden log is read by people and kept for good.
const LIMIT_BYTES: u64 = 300 * 1024;

/// Records them all.
pub fn all(mut scenarios: Vec<Scenario>) -> Result<()> {
    let about_s = |it: &Scenario| it.expect.commands.iter().filter_map(|command| command.about_s).sum::<f64>();
    scenarios.sort_by(|a, b| about_s(b).total_cmp(&about_s(a)));
    let queue = Mutex::new(VecDeque::from(scenarios));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(scenario) = next() {
                    match one(&scenario) {
                        Ok(said) => println!("{:34} {said}", scenario.name),
                        Err(error) => {
                            println!("{:34} FAILED: {error:#}", scenario.name);
                            failed.lock().unwrap_or_else(PoisonError::into_inner).push(scenario.name);
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !failed.is_empty() {
        bail!("{} were not recorded: {}", failed.len(), failed.join(", "));
    }
    Ok(())
}

fn one(scenario: &Scenario) -> Result<String> {
    let log = lab::run::record(scenario)?;
    let bytes = std::fs::metadata(&log).with_context(|| format!("stat {}", log.display()))?.len();
    let expect = log.with_extension("expect.txt");
    if bytes > LIMIT_BYTES {
        for path in [&log, &expect, &log.with_extension("truth.json")].into_iter().filter(|path| path.exists()) {
            std::fs::remove_file(path).with_context(|| format!("remove {}", path.display()))?;
        }
        return Ok(format!("{bytes} bytes: too big to be kept"));
    }
    std::fs::write(&expect, report(&log)?).with_context(|| format!("write {}", expect.display()))?;
    Ok(format!("{bytes} bytes"))
}

fn report(log: &Path) -> Result<Vec<u8>> {
    let mut command = Command::new(lab::run::tracer_path()?);
    let output = command.arg("report").arg(log).stdin(Stdio::null()).output().context("run mta-trace report")?;
    ensure!(output.status.success(), "mta-trace report: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(output.stdout)
}
