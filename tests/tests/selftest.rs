//! The lab against itself: every scenario without the tracer.
use libtest_mimic::Failed;
use std::process::ExitCode;

fn main() -> ExitCode {
    lab::harness::scenarios("selftest", |scenario| {
        let outcome = lab::selftest::run(scenario).map_err(|error| Failed::from(format!("{error:#}")))?;
        let times: Vec<String> = outcome.times.iter().map(|(verb, s)| s.map_or_else(|| format!("{verb} -"), |s| format!("{verb} {s:.3}"))).collect();
        println!("{}: {}", scenario.name, times.join(", "));
        if outcome.problems.is_empty() { Ok(()) } else { Err(Failed::from(outcome.problems.join("\n"))) }
    })
}
