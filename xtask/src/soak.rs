//! Full load and killed tracers: `cargo xtask soak`. Builds and calls the lab's `soak`.

use crate::{setup, shell::run};

/// What the task was asked for.
#[derive(clap::Args)]
pub struct Options {
    /// How long the load lasts
    #[arg(long, default_value_t = 10)]
    minutes: u32,
    /// How many clients have a session at once
    #[arg(long, default_value_t = 6)]
    clients: u32,
    /// How many tracers are killed, one after another
    #[arg(long, default_value_t = 300)]
    kills: u32,
}

/// Runs it as long as it was asked for.
pub fn run_long(options: &Options) -> anyhow::Result<()> {
    let Options { minutes, clients, kills } = options;
    setup::lab()?;
    run(crate::shell::cargo().args(["build", "--quiet", "--release", "--package", "mta-trace"]))?;
    let mut soak = crate::shell::cargo();
    soak.args(["run", "--quiet", "--package", "mta-trace-tests", "--bin", "soak", "--"]);
    for (name, number) in [("--minutes", minutes), ("--clients", clients), ("--kills", kills)] {
        soak.args([name, &number.to_string()]);
    }
    run(&mut soak)
}
