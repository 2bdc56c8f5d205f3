//! The fuzz targets of `fuzz/`, built and run: `cargo xtask fuzz [--seconds N] [TARGET]`, and for a few seconds each in `cargo xtask test`.
//!
//! libFuzzer comes as a crate and its instrumentation is stable rustc's own (`-Cpasses`, `-Cllvm-args`), so that neither cargo-fuzz nor
//! nightly is needed; only a sanitizer would want nightly, and there is no unsafe code behind these targets but that of libraries.
//! The layout is cargo-fuzz's: who has it can say `cargo fuzz run -s none TARGET`. Not here: what is checked (`fuzz/src/`).

use crate::{
    setup,
    shell::{output, root, run},
};
use anyhow::{Context as _, bail, ensure};
use std::{
    fs,
    num::NonZero,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    thread,
};

/// What libFuzzer wants of a build (cargo-fuzz gives the same). It reaches only what is built for `--target`: build scripts have no
/// libFuzzer to be linked with.
const INSTRUMENTATION: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg=fuzzing";

/// How long each target runs in the tests; several run side by side.
const BOUNDED_S: u64 = 8;

/// An input that takes longer is a failure, s: the slowest seed takes milliseconds.
const TIMEOUT_S: u64 = 30;

#[derive(clap::Args)]
pub struct Options {
    /// How long each target runs
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// Only the targets whose name contains this
    target: Option<String>,
}

/// Long runs: what they find is kept in `fuzz/corpus`, a failing input in `fuzz/artifacts`.
pub fn search(options: &Options) -> anyhow::Result<()> {
    let is_asked = |name: &String| options.target.as_ref().is_none_or(|target| name.contains(target));
    let names: Vec<String> = targets()?.into_iter().filter(is_asked).collect();
    ensure!(!names.is_empty(), "no target is named like that; there are {}", targets()?.join(", "));
    let failed = run_all(&names, &root().join("fuzz/corpus"), &[format!("-max_total_time={}", options.seconds)])?;
    ensure!(failed == 0, "{failed} targets failed; the inputs lie in fuzz/artifacts, and each becomes a test named regress_...");
    Ok(())
}

/// Short runs that see about the same each time: from the seeds alone, with a fixed start of the random numbers. How many passed and failed.
pub fn bounded() -> anyhow::Result<(u64, u64)> {
    let corpus = root().join("target/fuzz/bounded");
    if corpus.exists() {
        fs::remove_dir_all(&corpus).with_context(|| format!("remove {}", corpus.display()))?;
    }
    let names = targets()?;
    let failed = run_all(&names, &corpus, &[format!("-max_total_time={BOUNDED_S}"), "-seed=1".to_owned()])?;
    Ok((names.len() as u64 - failed, failed))
}

fn targets() -> anyhow::Result<Vec<String>> {
    let folder = root().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?;
    let mut names: Vec<String> = entries.filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

/// Builds all, runs those named, as many at once as there are processors; how many failed.
fn run_all(names: &[String], corpus: &Path, args: &[String]) -> anyhow::Result<u64> {
    let programs = build()?;
    let queue = Mutex::new(names.iter());
    let worker = || {
        let mut failed = 0;
        loop {
            let next = queue.lock().map_or(None, |mut queue| queue.next());
            let Some(name) = next else { return Ok(failed) };
            failed += u64::from(!run_one(name, &programs.join(name), &corpus.join(name), args)?);
        }
    };
    let workers = thread::available_parallelism().map_or(1, NonZero::get).min(names.len());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| bail!("a worker has panicked"))).sum()
    })
}

fn build() -> anyhow::Result<PathBuf> {
    setup::fuzz()?;
    let versions = output(Command::new("rustc").arg("-vV"))?;
    let host = versions.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    let target = root().join("target/fuzz");
    run(crate::shell::cargo()
        .args(["build", "--quiet", "--release", "--manifest-path", "fuzz/Cargo.toml", "--bins", "--target", host, "--target-dir"])
        .arg(&target)
        .env("RUSTFLAGS", INSTRUMENTATION)
        .env_remove("CARGO_ENCODED_RUSTFLAGS"))?;
    Ok(target.join(host).join("release"))
}

/// Runs a target; says what came of it, in full where it failed.
fn run_one(name: &str, program: &Path, corpus: &Path, args: &[String]) -> anyhow::Result<bool> {
    let artifacts = root().join("fuzz/artifacts").join(name);
    for folder in [corpus, &artifacts] {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    let log = root().join("target/fuzz").join(format!("{name}.log"));
    let file = fs::File::create(&log).with_context(|| format!("create {}", log.display()))?;
    let status = Command::new(program)
        .arg(corpus)
        .args(args)
        .arg(format!("-timeout={TIMEOUT_S}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        .status()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let is_good = status.success() && has_fuzzed(&said);
    if is_good {
        println!("{name}: {}", summary(&said));
    } else {
        println!("{name}: {status}; that it ran more than its seeds: {}\n{said}", has_fuzzed(&said));
    }
    Ok(is_good)
}

/// Whether there were more runs than seeds: on a machine that is busy they may need all of the time.
fn has_fuzzed(said: &str) -> bool {
    let number = |text: &str| text.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty())?.parse::<u64>().ok();
    let runs = said.lines().rev().find_map(|line| line.strip_prefix("Done ")).and_then(number);
    let seeds = said.lines().find(|line| line.contains("INITED")).and_then(number);
    runs.zip(seeds).is_some_and(|(runs, seeds)| runs > seeds)
}

/// `1000 runs in 9 seconds, coverage 100 of the seeds, now 120`.
fn summary(said: &str) -> String {
    let runs = said.lines().rev().find_map(|line| line.strip_prefix("Done ")).map_or("no runs", |line| line.trim_end_matches("(s)"));
    let coverage = |line: &str| line.split_once("cov: ")?.1.split(' ').next().map(str::to_owned);
    let before = said.lines().find(|line| line.contains("INITED")).and_then(coverage).unwrap_or_default();
    let after = said.lines().rev().find_map(coverage).unwrap_or_default();
    format!("{runs}s, coverage {before} of the seeds, now {after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_summed_up() {
        let said = "#42\tINITED cov: 68 ft: 16 corp: 41/473Kb\n#44\tNEW    cov: 69 ft: 20 corp: 42\nDone 3383 runs in 16 second(s)\n";
        assert_eq!(summary(said), "3383 runs in 16 seconds, coverage 68 of the seeds, now 69");
        assert!(has_fuzzed(said));
        assert!(!has_fuzzed(&said.replace("3383", "42")) && !has_fuzzed("Done 3383 runs in 16 second(s)\n") && !has_fuzzed(""));
    }
}
