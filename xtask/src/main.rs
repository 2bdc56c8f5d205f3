//! Tasks of the repository, one file each: `cargo xtask <task>`.

mod ebpf;
mod setup;
mod shell;
mod test;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Tasks of the mta-trace repository")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Installs what tests and the eBPF build need (apt, cargo)
    Setup,
    /// Rebuilds the committed eBPF object and its stamp
    Ebpf {
        /// Compare with the committed object instead of replacing it
        #[arg(long)]
        check: bool,
        /// Only compare stamp, sources and object, without building
        #[arg(long, conflicts_with = "check")]
        verify: bool,
    },
    /// Runs everything: formatting, clippy, unit, replay, CLI and live tests
    Test {
        /// Only the parts whose name contains this
        #[arg(long)]
        only: Option<String>,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Setup => setup::run_task(),
        Task::Ebpf { check: true, .. } => ebpf::check(),
        Task::Ebpf { verify: true, .. } => ebpf::verify(),
        Task::Ebpf { .. } => ebpf::build(),
        Task::Test { only } => test::run(only.as_deref()),
    }
}
