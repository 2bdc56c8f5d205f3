//! One test for each scenario file, many side by side: they mostly wait.
//!
//! Needs root. Without it each test is skipped with that reason; as root, or where `CI` says so, nothing is skipped but
//! what `tests/skips.toml` lists.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::scenario::Scenario;
use crate::skips;

/// Labs at a time, unless `--test-threads` says otherwise.
const SIDE_BY_SIDE: usize = 10;

/// Runs `test` for every scenario.
pub fn main(kind: &str, test: fn(&Scenario) -> Result<(), Failed>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(SIDE_BY_SIDE);
    let scenarios = match Scenario::all() {
        Ok(scenarios) => longest_first(scenarios),
        Err(error) => {
            eprintln!("{kind}: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let is_root = rustix::process::geteuid().is_root();
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    if !is_root && !is_ci {
        eprintln!("{kind}: skipped: network namespaces and eBPF need root");
    }
    let listed = match skips::all() {
        Ok(listed) => listed,
        Err(error) => {
            eprintln!("{kind}: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let trials = scenarios
        .into_iter()
        .map(|scenario| {
            let name = scenario.name.clone();
            let skip = skips::find(&listed, kind, &name);
            if let Some(skip) = skip {
                eprintln!("{kind}: {name} is skipped since {}: {}", skip.date, skip.reason);
            }
            let is_ignored = skip.is_some() || (!is_root && !is_ci);
            Trial::test(name, move || test(&scenario)).with_kind(kind).with_ignored_flag(is_ignored)
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The long ones wait while the short ones are run beside them.
fn longest_first(mut scenarios: Vec<Scenario>) -> Vec<Scenario> {
    let about_s = |scenario: &Scenario| scenario.expect.commands.iter().filter_map(|command| command.about_s).sum::<f64>();
    scenarios.sort_by(|a, b| about_s(b).total_cmp(&about_s(a)));
    scenarios
}
