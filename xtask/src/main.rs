//! Tasks of the repository, one file each: `cargo xtask <task>`.

mod bench;
mod demo;
mod dist;
mod ebpf;
mod fuzz;
mod kernels;
mod matrix;
mod record;
mod setup;
mod share;
mod shell;
mod soak;
mod test;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Tasks of the mta-trace repository")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measures what tracing costs, in comparison with no tracer, strace and bpftrace
    Bench(bench::Options),
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
        /// Build one that tells what it does, for development, beside the committed one
        #[arg(long, conflicts_with_all = ["check", "verify"])]
        log: bool,
    },
    /// Makes what is given to users, in target/dist: a tarball, a .deb and an .rpm of a static program
    Dist,
    /// Runs the fuzz targets (stable Rust, no cargo-fuzz)
    Fuzz(fuzz::Options),
    /// Runs the live tests on ordinary kernels, in virtual machines that it starts itself
    Kernels(kernels::Options),
    /// Shows the reported case from beginning to end: a real sendmail, one slow session, live timeline, report
    Demo,
    /// Writes the table of causes and mail servers (docs/matrix.md), or says how right the reports are
    Matrix(matrix::Options),
    /// Traces a session on a terminal and puts what it shows into the head of the README
    Picture,
    /// Makes the golden logs of tests/replay again from the lab's scenarios
    Record {
        /// Only these scenarios
        names: Vec<String>,
    },
    /// Makes man pages and completions (mta-trace/share/) again from the definition of the command line
    Share,
    /// Loads a mail server for minutes with a tracer attached, and kills tracers under load
    Soak(soak::Options),
    /// Runs everything: formatting, clippy, unit, fuzz, replay, CLI and live tests
    Test {
        /// Only the parts whose name contains this
        #[arg(long)]
        only: Option<String>,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().task {
        Task::Bench(options) => bench::measure(&options),
        Task::Setup => setup::run_task(),
        Task::Dist => dist::make(),
        Task::Ebpf { check: true, .. } => ebpf::check(),
        Task::Ebpf { verify: true, .. } => ebpf::verify(),
        Task::Ebpf { log: true, .. } => ebpf::build_with_log(),
        Task::Ebpf { .. } => ebpf::build(),
        Task::Fuzz(options) => fuzz::search(&options),
        Task::Kernels(options) => kernels::measure(&options),
        Task::Demo => demo::run(),
        Task::Matrix(options) => matrix::run(&options),
        Task::Picture => demo::become_lab(&["picture".as_ref()]).map(|never| match never {}),
        Task::Record { names } => record::run(&names),
        Task::Share => share::make(),
        Task::Soak(options) => soak::run_long(&options),
        // Tests that failed have been told.
        Task::Test { only } => return test::run(only.as_deref()),
    }?;
    Ok(ExitCode::SUCCESS)
}
