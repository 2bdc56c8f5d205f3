//! Arguments of `mta-trace export`.

use crate::export::{FORMATS, LACKING};
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, ValueHint};

const EXAMPLES: &str = "\
Examples:
  mta-trace export slow.jsonl --to perfetto -o slow.perfetto-trace
                                              open it in ui.perfetto.dev
  mta-trace export slow.jsonl --to strace | less
  mta-trace export slow.jsonl --to strace-ff -o slow
                                              then: strace-log-merge slow/strace
  mta-trace export slow.jsonl --to csv -o slow-tables
                                              commands.csv, waits.csv
  mta-trace export slow.jsonl --to csv --table waits > waits.csv
  mta-trace export slow.jsonl --to folded | flamegraph.pl > slow.svg
  mta-trace export slow.jsonl --to otlp --endpoint http://localhost:4318
  mta-trace export slow.jsonl --to log --anonymize -o send-me.jsonl";

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
    /// Write only this table, where the format has several: into one file, or to standard output
    #[arg(long, value_name = "TABLE")]
    pub table: Option<String>,
    /// Send to this server, where the format has a protocol for that
    #[arg(long, value_name = "URL", conflicts_with = "output", value_hint = ValueHint::Url)]
    pub endpoint: Option<String>,
    /// Replace addresses, host names, users and what else may name somebody, the same by the same
    #[arg(long)]
    pub anonymize: bool,
}

/// The names of the table, with what each is.
fn format_parser() -> PossibleValuesParser {
    let value = |(name, about): (&'static str, &'static str)| PossibleValue::new(name).help(about);
    let known = FORMATS.iter().map(|format| (format.name, format.about));
    let lacking = LACKING.iter().map(|(name, about, _)| (*name, *about));
    PossibleValuesParser::new(known.chain(lacking).map(value))
}
