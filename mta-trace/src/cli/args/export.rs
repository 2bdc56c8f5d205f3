//! Arguments of `mta-trace export`.

use crate::export::{FORMATS, Format};
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, ValueHint};

const EXAMPLES: &str = "\
Examples:
  mta-trace export slow.jsonl --to folded | flamegraph.pl > slow.svg";

/// Write a log in the format of another program
///
/// Works like `report`, on any machine and without privileges. Records that cannot be read are passed over and counted.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Export {
    /// A log that `attach -o` wrote; - is standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub log: String,
    /// Format
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    pub to: String,
    /// Write into this file or folder, which must not exist [default: standard output, where one file is written]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub output: Option<String>,
    /// Send to this server, where the format has a protocol for that
    #[arg(long, value_name = "URL", conflicts_with = "output", value_hint = ValueHint::Url)]
    pub endpoint: Option<String>,
}

/// The names of the table, with what each is.
fn format_parser() -> PossibleValuesParser {
    let value = |format: &Format| PossibleValue::new(format.name).help(format.about);
    PossibleValuesParser::new(FORMATS.iter().map(value))
}
