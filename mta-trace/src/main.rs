//! mta-trace: parse, run, exit code. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mta_trace::cli::main(cfg!(target_feature = "crt-static"))
}
