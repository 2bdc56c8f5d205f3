//! Arguments of `mta-trace report`.

use clap::{Args, ValueEnum, ValueHint};

const EXAMPLES: &str = "\
Examples:
  mta-trace report slow.jsonl
  mta-trace report slow.jsonl.zst --format json -o slow.json
  mta-trace report slow.jsonl --format html -o slow.html
  ssh mail mta-trace attach --sessions 1 -o - | mta-trace report -";

/// Make the report again from a saved log
///
/// The same analysis as live, on any machine and without privileges. Lines that cannot be read are passed over and counted.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Replay {
    /// A log that `attach -o` wrote; - is standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub log: String,
    /// Form of the report
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: ReportFormat,
    /// Write the report into this file, which must not exist
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<String>,
}

/// Of what `probe` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people, 80 columns
    Text,
    /// mta-trace.report/1
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people, 80 columns
    Text,
    /// mta-trace.report/1
    Json,
    /// One file for a browser
    Html,
}
