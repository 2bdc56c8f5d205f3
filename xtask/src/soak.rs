//! Full load and killed tracers: `cargo xtask soak`. Builds and calls the lab's `soak`.

use crate::{setup, shell::run};
use std::process::Command;

/// What the task was asked for.
#[derive(clap::Args)]
pub struct Options {
    /// How long the load lasts
    #[arg(long, default_value_t = 10)]
    minutes: u32,
    /// How many tracers are killed, one after another
    #[arg(long, default_value_t = 300)]
    kills: u32,
}

/// Runs it as long as it was asked for.
pub fn run_long(options: &Options) -> anyhow::Result<()> {
    soak(&["--minutes".to_owned(), options.minutes.to_string(), "--kills".to_owned(), options.kills.to_string()])
}

fn soak(args: &[String]) -> anyhow::Result<()> {
    setup::lab()?;
    run(Command::new("cargo").args(["build", "--quiet", "--release", "--package", "mta-trace"]))?;
    run(Command::new("cargo").args(["run", "--quiet", "--package", "mta-trace-tests", "--bin", "soak", "--"]).args(args))
}
