//! Everything that must pass, with the time of each part: `cargo xtask test`.
//!
//! The parts run one after another, the scenarios side by side within theirs. As root or with `CI=true` a test that is skipped is a
//! failure, unless `tests/skips.toml` lists it. The last line sums up what the runners said.

use crate::{bench, dist, ebpf, fuzz, kernels, setup, shell::root};
use anyhow::{Context as _, bail};
use std::{
    io::{BufRead as _, BufReader},
    process::{ExitCode, Stdio},
    time::{Duration, Instant},
};

/// What a part's runner counted.
#[derive(Clone, Debug, Default)]
struct Count {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// What the runner said of those that failed.
    failures: Vec<String>,
}

/// The line behind which a runner tells of the tests that failed, up to its closing line.
const FAILURES: &str = "failures:";
/// So many lines of that are repeated of a part.
const MOST_LINES: usize = 200;

struct Part {
    name: &'static str,
    run: fn() -> anyhow::Result<Count>,
    /// Whether other parts need it, which then are not run without it: what is tested must be what is in the sources.
    is_needed: bool,
}

const fn part(name: &'static str, run: fn() -> anyhow::Result<Count>) -> Part {
    Part { name, run, is_needed: false }
}

const fn needed(name: &'static str, run: fn() -> anyhow::Result<Count>) -> Part {
    Part { name, run, is_needed: true }
}

fn counted(passed: u64, failed: u64, skipped: u64) -> Count {
    Count { passed, failed, skipped, failures: Vec::new() }
}

const PARTS: &[Part] = &[
    needed("setup", || setup::lab().map(|()| Count::default())),
    part("format", || cargo(&["fmt", "--all", "--check"]).and_then(|_| cargo(&["fmt", "--manifest-path", FUZZ, "--check"]))),
    part("object", || ebpf::verify().map(|()| counted(1, 0, 0))),
    part("clippy", clippy),
    needed("build", || cargo(&["build", "--quiet", "--release", "--package", "mta-trace"])),
    part("unit", || cargo(&["test", "--package", "mta-trace", "--package", "mta-trace-common", "--package", "xtask"])),
    part("fuzz", || fuzz::bounded().map(|(passed, failed)| counted(passed, failed, 0))),
    part("lab", || cargo(&["test", "--package", "mta-trace-tests", "--lib", "--bins"])),
    part("replay", || of_lab("replay")),
    part("browser", || of_lab("browser")),
    part("exports", || of_lab("exports")),
    part("selftest", || of_lab("selftest")),
    part("live", || of_lab("live")),
    part("probe", || of_lab("probe")),
    part("bad-input", || of_lab("bad_input")),
    part("reliability", || of_lab("reliability")),
    part("demo", || of_lab("demo")),
    part("dist", || dist::make().and_then(|()| of_lab("dist"))),
    part("bench", || bench::assert_short().map(|()| counted(1, 0, 0))),
    part("secrets", || of_lab("secrets")),
    part("kernels", || kernels::short().map(|result| result.map_or(counted(0, 0, 1), |(passed, failed)| counted(passed, failed, 0)))),
];

/// A workspace of its own.
const FUZZ: &str = "fuzz/Cargo.toml";

/// The fuzz targets too: without libFuzzer, which is C++, and beside the rest, with which they share what is built.
fn clippy() -> anyhow::Result<Count> {
    cargo(&["clippy", "--quiet", "--all-targets", "--features", "mta-trace/parquet", "--", "--deny", "warnings"])?;
    let features = ["--no-default-features", "--target-dir", "target"];
    cargo(&[&["clippy", "--quiet", "--manifest-path", FUZZ][..], &features, &["--", "--deny", "warnings"]].concat())
}

fn of_lab(test: &str) -> anyhow::Result<Count> {
    cargo(&["test", "--package", "mta-trace-tests", "--test", test])
}

/// Runs all parts, or those whose name contains `only` and what they need.
pub fn run(only: Option<&str>) -> anyhow::Result<ExitCode> {
    let is_asked = |part: &&Part| part.is_needed || only.is_none_or(|only| part.name.contains(only));
    if PARTS.iter().filter(is_asked).all(|part| part.is_needed) {
        bail!("no part is named like that; there are {}", PARTS.iter().map(|part| part.name).collect::<Vec<_>>().join(", "));
    }
    let mut total = Count::default();
    let mut times: Vec<(&str, Duration, bool)> = Vec::new();
    for part in PARTS.iter().filter(is_asked) {
        println!("==> {}", part.name);
        let began = Instant::now();
        let result = (part.run)().and_then(|count| with_skips(part.name, count));
        let is_good = match result {
            Ok(count) => {
                total.passed += count.passed;
                total.failed += count.failed;
                total.skipped += count.skipped;
                if count.failed > 0 && count.failures.is_empty() {
                    total.failures.push(format!("{}: {} failed", part.name, count.failed));
                }
                total.failures.extend(count.failures);
                count.failed == 0
            }
            Err(error) => {
                println!("{}: {error:#}", part.name);
                total.failed += 1;
                total.failures.push(format!("{}: {error:#}", part.name));
                false
            }
        };
        times.push((part.name, began.elapsed(), is_good));
        if part.is_needed && !is_good {
            println!("without {} nothing of what follows is run: it would test something else than the sources", part.name);
            break;
        }
    }
    println!("\n{:<11} {:>8}", "part", "seconds");
    for (name, time, is_good) in &times {
        println!("{name:<11} {:>8.1}{}", time.as_secs_f64(), if *is_good { "" } else { "  FAILED" });
    }
    // Whoever sees the end of the output only wants to know which.
    for line in &total.failures {
        println!("{line}");
    }
    let skipped = if total.skipped > 0 { format!(", {} skipped", total.skipped) } else { String::new() };
    println!("{} passed, {} failed{skipped}", total.passed, total.failed);
    // Not an error, which would hide them behind its backtrace.
    Ok(if total.failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Makes failures of what was skipped and may not be.
fn with_skips(part: &str, count: Count) -> anyhow::Result<Count> {
    use std::os::unix::fs::MetadataExt as _;
    let is_root = std::fs::metadata("/proc/self").context("own user id")?.uid() == 0;
    let is_strict = is_root || std::env::var_os("CI").is_some_and(|value| value == "true");
    let listed = listed(&std::fs::read_to_string(root().join("tests/skips.toml")).context("read tests/skips.toml")?, part)?;
    if !is_strict || count.skipped <= listed {
        return Ok(count);
    }
    let why = format!("{part}: {} tests were skipped, tests/skips.toml lists {listed}", count.skipped);
    println!("{why}");
    Ok(Count { failed: count.failed + count.skipped - listed, skipped: listed, failures: [count.failures, vec![why]].concat(), ..count })
}

/// How many tests of a part may be skipped.
fn listed(skips: &str, part: &str) -> anyhow::Result<u64> {
    let skips: toml::Table = skips.parse().context("parse tests/skips.toml")?;
    let names = skips.get("skip").and_then(toml::Value::as_array).into_iter().flatten().filter_map(|skip| skip.get("name")?.as_str());
    Ok(names.filter(|name| name.split_once("::").is_some_and(|(kind, _)| kind == part)).count() as u64)
}

/// Runs cargo; counts what the runners' closing lines say.
fn cargo(args: &[&str]) -> anyhow::Result<Count> {
    let mut child = crate::shell::cargo()
        .args(args)
        .current_dir(root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run cargo {}", args.join(" ")))?;
    let mut count = Count::default();
    let mut is_of_failures = false;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            println!("{line}");
            is_of_failures |= line == FAILURES;
            if let Some(closing) = line.strip_prefix("test result: ") {
                count.passed += number(closing, " passed");
                count.failed += number(closing, " failed");
                count.skipped += number(closing, " ignored");
                is_of_failures = false;
            }
            if is_of_failures {
                count.failures.push(line);
            }
        }
    }
    // Their names stand at the end.
    count.failures.drain(..count.failures.len().saturating_sub(MOST_LINES));
    let status = child.wait()?;
    if !status.success() && count.failed == 0 {
        bail!("cargo {}: {status}", args.join(" "));
    }
    if args.first() == Some(&"test") && count.passed + count.failed + count.skipped == 0 {
        bail!("cargo {}: no test ran", args.join(" "));
    }
    Ok(count)
}

/// The number before `word` in `ok. 3 passed; 0 failed; ...`.
fn number(line: &str, word: &str) -> u64 {
    let before = line.split(word).next().unwrap_or_default();
    before.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closing_line_is_read() {
        let line = "ok. 30 passed; 2 failed; 4 ignored; 0 measured; 7 filtered out; finished in 49.93s";
        assert_eq!([" passed", " failed", " ignored"].map(|word| number(line, word)), [30, 2, 4]);
    }

    #[test]
    fn only_listed_skips_of_the_part_count() {
        let skips = "[[skip]]\nname = \"live::fast\"\nreason = \"x\"\ndate = 2026-11-24\n[[skip]]\nname = \"selftest::fast\"\n";
        assert_eq!(["live", "selftest", "unit"].map(|part| listed(skips, part).expect("a list")), [1, 1, 0]);
        assert_eq!(listed("skip = []\n", "live").expect("an empty list"), 0);
    }
}
