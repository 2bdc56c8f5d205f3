//! The live tests in a machine: what runs there, and what each scenario came to.
//!
//! All that is asked of a kernel is done in one boot. What it says is written to a folder of the host while it runs, so nothing is lost
//! when a machine dies: `doctor`, and for each back end the runner's output and what every scenario left.

use super::{
    arm64::Built,
    machine::{self, Job},
    packages::{Kernel, Tools, cache, fresh},
};
use crate::ebpf;
use anyhow::{Context as _, ensure};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const SCRIPT: &str = include_str!("live.sh");

/// What is to be run on each kernel.
pub struct Plan<'a> {
    /// Tracer, test and packages.
    pub built: &'a Built,
    /// By these, one after another.
    pub back_ends: &'a [&'a str],
    /// Only scenarios whose name contains one of these; all, if there is none.
    pub scenarios: &'a [&'a str],
    /// So many at a time.
    pub side_by_side: u32,
    /// At most so long for each kernel.
    pub limit: Duration,
}

/// What a kernel came to.
pub struct Outcome {
    /// Exit status of `doctor`; `None`: there is none.
    pub doctor_status: Option<i32>,
    /// What it printed.
    pub doctor: String,
    /// By back end.
    pub runs: Vec<(String, Run)>,
    /// Boots that had to be repeated.
    pub retries: u32,
    /// From the first boot to the end.
    pub time: Duration,
}

/// What a run of the tests came to.
pub struct Run {
    /// Scenarios that passed.
    pub passed: Vec<String>,
    /// Those that did not, and why.
    pub failed: BTreeMap<String, String>,
    /// Where it is all kept.
    pub kept: PathBuf,
}

/// Where the results of all scenarios are kept, by kernel.
pub fn results() -> PathBuf {
    cache().join("results")
}

/// Runs it.
pub fn run(kernel: &Kernel, tools: &Tools, plan: &Plan<'_>) -> anyhow::Result<Outcome> {
    let results = if plan.scenarios.is_empty() { results() } else { cache().join("results-of-some") }.join(&kernel.release);
    for back_end in plan.back_ends {
        fresh(&results.join(back_end))?;
    }
    let names = plan.scenarios.join(" ");
    let command = SCRIPT
        .replace("LIVE_TEST", &plan.built.live)
        .replace("TRACER", &plan.built.tracer)
        .replace("VERIFIER_LOG", &plan.built.verifier_log)
        .replace("LAB_PACKAGES", &plan.built.lab_cache)
        .replace("EMULATED", if machine::is_slow(kernel) { "MTA_TRACE_EMULATED=1" } else { "" })
        .replace("BACK_ENDS", &plan.back_ends.join(" "))
        .replace("SIDE_BY_SIDE", &plan.side_by_side.to_string())
        .replace("SCENARIOS", if plan.scenarios.is_empty() { "''" } else { &names })
        .replace("OBJECT", &ebpf::object_hash()?)
        .replace("RESULTS", &results.display().to_string());
    let job = Job { command: &command, limit: plan.limit, results: &results, is_counting: false };
    let ended = machine::run(kernel, tools, &job)?;
    let read = |name: &str| fs::read_to_string(results.join(name)).unwrap_or_default();
    let begun = plan.back_ends.iter().filter(|back_end| results.join(back_end).join("output").is_file());
    let runs = begun.map(|back_end| read_run(&results.join(back_end)).map(|run| ((*back_end).to_owned(), run)));
    Ok(Outcome {
        doctor_status: read("doctor.status").trim().parse().ok(),
        doctor: read("doctor"),
        runs: runs.collect::<anyhow::Result<_>>()?,
        retries: ended.retries,
        time: ended.time,
    })
}

/// What is kept of a run.
pub fn read_run(kept: &Path) -> anyhow::Result<Run> {
    let output = fs::read_to_string(kept.join("output")).with_context(|| format!("read what the tests in {} said", kept.display()))?;
    let (passed, failed) = outcome(&output);
    ensure!(!passed.is_empty() || !failed.is_empty(), "no test ran, see {}", kept.display());
    for (name, message) in &failed {
        // The folder is not there if the lab did not come up.
        let folder = kept.join(name);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("message"), message)?;
    }
    Ok(Run { passed, failed, kept: kept.to_owned() })
}

/// Of what the runner prints: who passed, and who did not with its message. One that was begun and not ended is not in it.
fn outcome(output: &str) -> (Vec<String>, BTreeMap<String, String>) {
    let (mut passed, mut failed, mut message_of) = (Vec::new(), BTreeMap::<String, String>::new(), None);
    for line in output.lines() {
        if let Some((name, result)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
            let name = name.split_whitespace().last().unwrap_or_default().to_owned();
            match result {
                "ok" => passed.push(name),
                "FAILED" => drop(failed.insert(name, String::new())),
                _ => {}
            }
        } else if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" ----")) {
            message_of = failed.contains_key(name).then(|| name.to_owned());
        } else if line == "failures:" {
            message_of = None;
        } else if let Some(message) = message_of.as_ref().and_then(|name| failed.get_mut(name)) {
            message.push_str(line);
            message.push('\n');
        }
    }
    for message in failed.values_mut() {
        message.truncate(message.trim_end().len());
    }
    // Two names that were asked for may mean the same.
    passed.sort_unstable();
    passed.dedup();
    (passed, failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_runner_says_is_read() {
        let output = "running 3 tests\ntest [live] fast      ... ok\ntest [live] the-case  ... FAILED\ntest [live] ipv6 ... ignored\n\nfailures:\n\n\
                      ---- the-case ----\nput the lab up: no\nand more\n\n\nfailures:\n    the-case\n\ntest result: FAILED. 1 passed; 1 failed\n";
        let (passed, failed) = outcome(output);
        assert_eq!(passed, ["fast"]);
        assert_eq!(failed.into_iter().collect::<Vec<_>>(), [("the-case".to_owned(), "put the lab up: no\nand more".to_owned())]);
    }
}
