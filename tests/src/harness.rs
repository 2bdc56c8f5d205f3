//! The runner of all tests that need the lab: many side by side, since they mostly wait.
//!
//! In come cases, out goes an exit code. The one place that knows when a test may be skipped: what needs root, without root,
//! and what `tests/skips.toml` lists. As root, or where `CI=true` says so, nothing else is. What is skipped is counted as
//! ignored, never as passed.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::scenario::Scenario;
use crate::skips;

/// Labs at a time, unless `--test-threads` says otherwise.
const SIDE_BY_SIDE: usize = 10;

/// One test.
pub struct Case {
    name: String,
    needs_root: bool,
    run: Box<dyn FnOnce() -> Result<(), Failed> + Send>,
}

impl Case {
    /// A test that fails by an error or by a panic.
    pub fn new(name: &str, needs_root: bool, run: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Self {
        Self { name: name.to_owned(), needs_root, run: Box::new(run) }
    }
}

/// Runs `test` for every scenario; `kind` is what `tests/skips.toml` calls it.
pub fn scenarios(kind: &str, test: fn(&Scenario) -> Result<(), Failed>) -> ExitCode {
    match Scenario::all() {
        Ok(scenarios) => {
            let case = |scenario: Scenario| Case::new(&scenario.name.clone(), true, move || test(&scenario));
            run(kind, longest_first(scenarios).into_iter().map(case).collect(), Some(SIDE_BY_SIDE))
        }
        Err(error) => {
            eprintln!("{kind}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the cases, so many at a time; without a number as many as there are processors.
pub fn run(kind: &str, cases: Vec<Case>, side_by_side: Option<usize>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(side_by_side);
    let listed = match skips::all() {
        Ok(listed) => listed,
        Err(error) => {
            eprintln!("{kind}: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let is_able = rustix::process::geteuid().is_root() || is_ci();
    if !is_able && cases.iter().any(|case| case.needs_root) {
        eprintln!("{kind}: some are skipped: network namespaces and eBPF need root");
    }
    let trials = cases
        .into_iter()
        .map(|Case { name, needs_root, run }| {
            let skip = skips::find(&listed, kind, &name);
            if let Some(skip) = skip {
                eprintln!("{kind}: {name} is skipped since {}: {}", skip.date, skip.reason);
            }
            let is_ignored = skip.is_some() || needs_root && !is_able;
            Trial::test(name, run).with_kind(kind).with_ignored_flag(is_ignored)
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Where everything has to be run: there a test that needs root fails without it.
fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

/// The long ones wait while the short ones are run beside them.
fn longest_first(mut scenarios: Vec<Scenario>) -> Vec<Scenario> {
    let about_s = |scenario: &Scenario| scenario.expect.commands.iter().filter_map(|command| command.about_s).sum::<f64>();
    scenarios.sort_by(|a, b| about_s(b).total_cmp(&about_s(a)));
    scenarios
}
