//! The command line: what is asked for, what runs, what the exit code is.
//!
//! In: argv. Out: results on standard output, everything else on standard error, an exit code: 0 done, 1 failed,
//! 2 usage, 3 not permitted or kernel not able. What may be asked for is defined in `cli/args/`, a file for each subcommand, and done in the file of
//! the same name beside it. The only module that knows clap. Not here: any analysis.

mod advice;
mod args;
mod attach;
mod diff;
mod doctor;
mod export;
mod html;
mod names;
mod output;
mod probe;
mod progress;
mod replay;
mod report;

use args::{Cli, Sub};
use clap::{CommandFactory as _, Parser as _};
use std::process::ExitCode;

/// Parses the command line, does it, and says how it ended. `is_static`: how the program is linked, which only itself knows.
pub fn main(is_static: bool) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output and is no error; a closed pipe does not matter here.
            let error = advice::with(error, &Cli::command());
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(output::USAGE));
        }
    };
    let done = match cli.command {
        Sub::Attach(attach) => attach::run(attach),
        Sub::Probe(probe) => probe::run(probe, names::resolver(is_static)),
        Sub::Report(replay) => report::run(&replay),
        Sub::Export(asked) => export::run(&asked, names::resolver(is_static)),
        Sub::Diff(diff) => diff::run(&diff),
        Sub::Doctor(doctor) => doctor::run(&doctor),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

/// The definition, for whoever makes man pages and completions of it.
pub fn command() -> clap::Command {
    Cli::command()
}
