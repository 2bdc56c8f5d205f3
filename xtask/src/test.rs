//! Everything that must pass, with the time of each part: `cargo xtask test`.
//!
//! The parts run one after another, the live scenarios side by side within theirs. As root or with `CI=true` a part that cannot run is a
//! failure. The last line sums up what the runners said.

use crate::{bench, ebpf, setup, shell::root};
use anyhow::{Context as _, bail};
use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// What a part's runner counted.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    passed: u64,
    failed: u64,
}

struct Part {
    name: &'static str,
    run: fn() -> anyhow::Result<Count>,
}

const PARTS: &[Part] = &[
    Part { name: "setup", run: || setup::lab().map(|()| Count::default()) },
    Part { name: "format", run: || cargo(&["fmt", "--all", "--check"]) },
    Part { name: "object", run: || ebpf::verify().map(|()| Count { passed: 1, failed: 0 }) },
    Part { name: "clippy", run: || cargo(&["clippy", "--quiet", "--all-targets", "--", "--deny", "warnings"]) },
    Part { name: "build", run: || cargo(&["build", "--quiet", "--release", "--package", "mta-trace"]) },
    Part { name: "unit", run: || cargo(&["test", "--package", "mta-trace", "--package", "mta-trace-common"]) },
    Part { name: "lab", run: || cargo(&["test", "--package", "mta-trace-tests", "--lib", "--bins"]) },
    Part { name: "replay", run: || cargo(&["test", "--package", "mta-trace-tests", "--test", "replay"]) },
    Part { name: "live", run: || cargo(&["test", "--package", "mta-trace-tests", "--test", "live"]) },
    Part { name: "bad-input", run: || cargo(&["test", "--package", "mta-trace-tests", "--test", "bad_input"]) },
    Part { name: "bench", run: || bench::assert_short().map(|()| Count { passed: 1, failed: 0 }) },
    Part { name: "secrets", run: || cargo(&["test", "--package", "mta-trace-tests", "--test", "secrets"]) },
];

/// Runs all parts, or those whose name contains `only`.
pub fn run(only: Option<&str>) -> anyhow::Result<()> {
    let mut total = Count::default();
    let mut times: Vec<(&str, Duration, bool)> = Vec::new();
    for part in PARTS.iter().filter(|part| only.is_none_or(|only| part.name.contains(only))) {
        println!("==> {}", part.name);
        let began = Instant::now();
        let result = (part.run)();
        let is_good = match result {
            Ok(count) => {
                total.passed += count.passed;
                total.failed += count.failed;
                count.failed == 0
            }
            Err(error) => {
                println!("{}: {error:#}", part.name);
                total.failed += 1;
                false
            }
        };
        times.push((part.name, began.elapsed(), is_good));
    }
    println!("\n{:<10} {:>8}", "part", "seconds");
    for (name, time, is_good) in &times {
        println!("{name:<10} {:>8.1}{}", time.as_secs_f64(), if *is_good { "" } else { "  FAILED" });
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed > 0 {
        bail!("{} of the tests failed", total.failed);
    }
    Ok(())
}

/// Runs cargo; counts what the runners' closing lines say.
fn cargo(args: &[&str]) -> anyhow::Result<Count> {
    let mut child = Command::new("cargo")
        .args(args)
        .current_dir(root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run cargo {}", args.join(" ")))?;
    let mut count = Count::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            println!("{line}");
            if let Some(closing) = line.strip_prefix("test result: ") {
                count.passed += number(closing, " passed");
                count.failed += number(closing, " failed");
            }
        }
    }
    let status = child.wait()?;
    if !status.success() && count.failed == 0 {
        bail!("cargo {}: {status}", args.join(" "));
    }
    if args.first() == Some(&"test") && count.passed + count.failed == 0 {
        bail!("cargo {}: no test ran", args.join(" "));
    }
    Ok(count)
}

/// The number before `word` in `ok. 3 passed; 0 failed; ...`.
fn number(line: &str, word: &str) -> u64 {
    let before = line.split(word).next().unwrap_or_default();
    before.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
