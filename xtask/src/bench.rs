//! What tracing costs, as ratios: `cargo xtask bench`. Builds and calls the lab's `bench`, which measures.

use crate::{
    setup,
    shell::{has, run},
};
use std::process::Command;

/// What the task was asked for.
#[derive(clap::Args)]
pub struct Options {
    /// Two rounds fewer, and without strace and bpftrace; for the tests
    #[arg(long)]
    short: bool,
    /// Fail where a session costs more events or more of the tracer's time than it should, where events are lost, or where the clients' time is
    /// above what is aimed at by more than two untraced runs differ
    #[arg(long = "assert")]
    is_asserting: bool,
    /// In each round every variant has its turn
    #[arg(long)]
    rounds: Option<u32>,
    /// Messages of each variant's turn
    #[arg(long)]
    messages: Option<u32>,
}

/// The short form as a test.
pub fn assert_short() -> anyhow::Result<()> {
    measure(&Options { short: true, is_asserting: true, rounds: None, messages: None })
}

/// Runs it; the table is printed and kept in `target/bench.md`.
pub fn measure(options: &Options) -> anyhow::Result<()> {
    setup::lab()?;
    if !options.short && !has("bpftrace") && has("apt-get") {
        let install = ["install", "-y", "-qq", "--no-install-recommends", "bpftrace"];
        if let Err(error) = run(Command::new("apt-get").args(install).env("DEBIAN_FRONTEND", "noninteractive")) {
            eprintln!("bpftrace cannot be installed, so its line is left out: {error:#}");
        }
    }
    run(crate::shell::cargo().args(["build", "--quiet", "--release", "--package", "mta-trace"]))?;
    let mut bench = crate::shell::cargo();
    bench.args(["run", "--quiet", "--package", "mta-trace-tests", "--bin", "bench", "--"]);
    bench.args(options.short.then_some("--short"));
    bench.args(options.is_asserting.then_some("--assert"));
    for (name, number) in [("--rounds", options.rounds), ("--messages", options.messages)] {
        if let Some(number) = number {
            bench.args([name, &number.to_string()]);
        }
    }
    run(&mut bench)
}
