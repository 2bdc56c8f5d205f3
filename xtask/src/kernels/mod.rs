//! The tests on the kernels that people run: `cargo xtask kernels`. Each in a virtual machine, with each back end, without installing
//! anything. What each scenario left is in `target/kernels/results`; the verifier's figures and what passed go into `docs/kernels-measured.md`.

mod arm64;
mod live;
mod machine;
mod packages;
mod table;

use crate::{
    setup,
    shell::{output, run},
};
use anyhow::{Context as _, ensure};
use arm64::Built;
use live::{Outcome, Plan};
use machine::Job;
use packages::{Arch, Kernel, Tools};
use std::{fs, os::unix::fs::MetadataExt as _, time::Duration};

/// What the task was asked for.
#[derive(clap::Args)]
pub struct Options {
    /// Series such as 6.1; may be repeated [default: 5.10, 6.1, 6.12 and newer]
    #[arg(long = "kernel", value_name = "SERIES")]
    kernels: Vec<String>,
    /// Only 6.1 and 6.12, one scenario each; for the tests
    #[arg(long)]
    short: bool,
    /// Only scenarios whose name contains this; may be repeated
    #[arg(long = "scenario", value_name = "NAME")]
    scenarios: Vec<String>,
    /// Only this back end
    #[arg(long, value_parser = BACK_ENDS)]
    back_end: Option<String>,
    /// Architecture of the machines
    #[arg(long, value_enum, default_value = "amd64")]
    arch: Arch,
    /// Instead of the tests: instructions of a neighbour's system calls, with each back end; from 6.12 on
    #[arg(long)]
    icount: bool,
    /// Scenarios at a time; putting up a lab takes an emulated processor away from the others' sessions
    #[arg(long, default_value_t = 1)]
    side_by_side: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { kernels: Vec::new(), short: false, scenarios: Vec::new(), back_end: None, arch: Arch::Amd64, icount: false, side_by_side: 1 }
    }
}

/// What Debian offers, oldest first; 5.10 cannot run it and has to say so.
const SERIES: [&str; 5] = ["5.10", "6.1", "6.12", "6.18", "7.3"];
const SHORT: [&str; 2] = ["6.1", "6.12"];
const COUNTED: [&str; 3] = ["6.12", "6.18", "7.3"];
const SHORT_SCENARIO: &str = "ident-slow";
/// The first kernel that has what the object needs.
const OLDEST: (u64, u64) = (5, 17);
const BACK_ENDS: [&str; 2] = ["fentry", "tracepoint"];
/// Of all that is done on one kernel.
const LIMIT: Duration = Duration::from_hours(2);
const SHORT_LIMIT: Duration = Duration::from_mins(4);

/// Runs it, writes the table; fails where something did.
pub fn measure(options: &Options) -> anyhow::Result<()> {
    if options.icount {
        return count(options);
    }
    let summary = check(options)?;
    ensure!(summary.bad.is_empty(), "{}", summary.bad.join("\n"));
    Ok(())
}

/// The short form, as a part of the tests: how many runs were good, and how many were not; `None`: it cannot be run without root.
pub fn short() -> anyhow::Result<Option<(u64, u64)>> {
    if fs::metadata("/proc/self").context("own user id")?.uid() != 0 {
        println!("kernels: skipped: sharing the host's tree with a machine (virtiofsd) needs root");
        return Ok(None);
    }
    let summary = check(&Options { short: true, ..Options::default() })?;
    for bad in &summary.bad {
        println!("{bad}");
    }
    Ok(Some((summary.good, summary.bad.len() as u64)))
}

/// Prints what a neighbour's calls cost in instructions.
fn count(options: &Options) -> anyhow::Result<()> {
    ensure!(options.arch == Arch::Amd64, "instructions are counted on amd64 only");
    setup::lab()?;
    run(crate::shell::cargo().args(["build", "--quiet", "--release", "--package", "mta-trace"]))?;
    run(crate::shell::cargo().args(["build", "--quiet", "--package", "mta-trace-tests", "--bin", "bench"]))?;
    let tools = Tools::get(Arch::Amd64)?;
    let series: Vec<&str> = if options.kernels.is_empty() { COUNTED.to_vec() } else { options.kernels.iter().map(String::as_str).collect() };
    for series in series {
        let kernel = Kernel::get(Arch::Amd64, series, &tools)?.with_context(|| format!("{series}: the mirror has no such kernel"))?;
        ensure!(!machine::is_slow(&kernel), "{}: does not come up while instructions are counted", kernel.release);
        let results = packages::fresh(&packages::cache().join("instructions").join(&kernel.release))?;
        let command = "export CARGO_TARGET_DIR=/lab MTA_TRACE_BIN=\"$PWD/target/release/mta-trace\" MTA_TRACE_LAB_CACHE=\"$PWD/target/lab-cache\"\n\
                       target/debug/bench --instructions";
        machine::run(&kernel, &tools, &Job { command, limit: SHORT_LIMIT, results: &results, is_counting: true })?;
        println!("{}:\n\n{}", kernel.release, fs::read_to_string(results.join("stdout"))?);
    }
    Ok(())
}

/// What all kernels came to.
#[derive(Default)]
struct Summary {
    good: u64,
    bad: Vec<String>,
}

fn check(options: &Options) -> anyhow::Result<Summary> {
    setup::lab()?;
    run(crate::shell::cargo().args(["build", "--quiet", "--release", "--package", "mta-trace"]))?;
    let tools = Tools::get(options.arch)?;
    let built = match options.arch {
        Arch::Amd64 => build()?,
        Arch::Arm64 => arm64::get(&tools)?,
    };
    let series: Vec<&str> = match (options.short, options.kernels.as_slice()) {
        (true, _) => SHORT.to_vec(),
        // Linux 6.1 has no fentry there; no suite has others.
        (false, []) if options.arch == Arch::Arm64 => vec!["6.12"],
        (false, []) => SERIES.to_vec(),
        (false, some) => some.iter().map(String::as_str).collect(),
    };
    let back_ends: Vec<&str> = BACK_ENDS.into_iter().filter(|name| options.back_end.as_ref().is_none_or(|only| only == name)).collect();
    let scenarios: Vec<&str> = match (options.short, options.scenarios.as_slice()) {
        (true, []) => vec![SHORT_SCENARIO],
        (_, some) => some.iter().map(String::as_str).collect(),
    };
    let plan = Plan {
        built: &built,
        back_ends: &back_ends,
        scenarios: &scenarios,
        side_by_side: options.side_by_side,
        limit: if options.short { SHORT_LIMIT } else { LIMIT },
    };
    let (mut summary, mut retries) = (Summary::default(), 0);
    for series in series {
        let Some(kernel) = Kernel::get(options.arch, series, &tools)? else {
            summary.bad.push(format!("{series}: the mirror has no such kernel: is there a newer series, for the list in xtask/src/kernels/mod.rs?"));
            continue;
        };
        match live::run(&kernel, &tools, &plan) {
            Ok(outcome) => {
                retries += outcome.retries;
                judge(&kernel, &outcome, &mut summary);
            }
            Err(error) => summary.bad.push(format!("{error:#}")),
        }
    }
    println!("boots that had to be repeated: {retries}");
    if plan.scenarios.is_empty() {
        table::write()?;
    }
    Ok(summary)
}

/// Tells what a kernel came to.
fn judge(kernel: &Kernel, outcome: &Outcome, summary: &mut Summary) {
    let Outcome { doctor_status, doctor, runs, retries: _, time } = outcome;
    let release = &kernel.release;
    if !is_able(release) {
        // One that is too old is refused in clear words.
        match doctor.lines().find(|line| line.contains("MISSING  kernel")).filter(|_| *doctor_status == Some(3)) {
            Some(says) => {
                println!("{release}: refused: {says}");
                summary.good += 1;
            }
            None => summary.bad.push(format!("{release}: not refused: {doctor}")),
        }
        return;
    }
    if *doctor_status != Some(0) {
        summary.bad.push(format!("{release}: doctor: {doctor}"));
        return;
    }
    for (back_end, run) in runs {
        println!("{release}, {back_end}: {} passed, {} failed", run.passed.len(), run.failed.len());
        for (name, message) in &run.failed {
            println!("  {name}: {}", message.lines().next().unwrap_or_default());
        }
        if run.failed.is_empty() {
            summary.good += 1;
        } else {
            let names: Vec<&str> = run.failed.keys().map(String::as_str).collect();
            summary.bad.push(format!("{release}, {back_end}: {} failed, see {}", names.join(", "), run.kept.display()));
        }
    }
    println!("{release}: {:.0} s", time.as_secs_f64());
}

fn is_able(release: &str) -> bool {
    packages::version(release) >= OLDEST
}

/// What cargo builds for a machine, beside the tracer.
const LIVE_TEST: [&str; 7] = ["test", "--quiet", "--package", "mta-trace-tests", "--test=live", "--no-run", "--message-format=json"];
const VERIFIER_LOG: [&str; 6] = ["build", "--quiet", "--package", "mta-trace-tests", "--example=verifier_log", "--message-format=json"];

/// For machines like the host.
fn build() -> anyhow::Result<Built> {
    let built = |args: &[&str], name| product(&output(crate::shell::cargo().args(args))?, name);
    Ok(Built {
        tracer: "target/release/mta-trace".to_owned(),
        live: built(&LIVE_TEST, "live")?,
        verifier_log: built(&VERIFIER_LOG, "verifier_log")?,
        lab_cache: "target/lab-cache".to_owned(),
    })
}

/// Path of a program or a library, by what cargo said when it built it.
fn product(messages: &str, name: &str) -> anyhow::Result<String> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    // The binaries that a test may call are built and named too.
    let mut wanted = messages.filter(|message| message.pointer("/target/name").is_some_and(|found| found == name));
    let path = wanted.find_map(|message| Some(message.pointer("/filenames/0")?.as_str()?.to_owned()));
    path.with_context(|| format!("cargo names no file of {name}"))
}
