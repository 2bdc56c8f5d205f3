//! Arguments of `mta-trace diff`.

use clap::{Args, ValueHint};

const EXAMPLES: &str = "\
Examples:
  mta-trace diff before.jsonl after.jsonl
  mta-trace diff monday.jsonl.zst tuesday.jsonl.zst | tail -1

The exit code is 0 whatever the difference. Times are medians of all sessions;
what differs by less than 10 ms or a tenth is the same.";

/// Show what a change of the configuration did: two logs side by side
///
/// Command by command: what took how long before and after, which waits went, came or changed, and a verdict.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Diff {
    /// Log of before the change; - is standard input
    #[arg(value_name = "LOG_BEFORE", value_hint = ValueHint::FilePath)]
    pub before: String,
    /// Log of after it
    #[arg(value_name = "LOG_AFTER", value_hint = ValueHint::FilePath)]
    pub after: String,
}
