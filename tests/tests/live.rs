//! Every scenario of `tests/lab` with the tracer attached to a real mail server.

use std::process::ExitCode;

use libtest_mimic::Failed;

fn main() -> ExitCode {
    lab::harness::scenarios("live", |scenario| lab::run::run(scenario).map_err(|error| Failed::from(format!("{error:#}"))))
}
