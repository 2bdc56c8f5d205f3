//! What clap does not think of where an argument is not known: what was probably meant.
//!
//! In: its error, the definition. Out: the error with another tip, or as it was.

use clap::Command;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

/// The error, with a tip of ours if we have one.
pub fn with(mut error: Error, definition: &Command) -> Error {
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg)
        && let Some(tip) = tip(argument, &used(&error), definition)
    {
        error.remove(ContextKind::SuggestedArg);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
    }
    error
}

/// `Usage: mta-trace attach [OPTIONS]`, or nothing.
fn used(error: &Error) -> String {
    match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => usage.to_string(),
        _ => String::new(),
    }
}

fn tip(argument: &str, usage: &str, definition: &Command) -> Option<String> {
    let sub = definition.get_subcommands().find(|sub| usage.contains(&format!("mta-trace {} ", sub.get_name())) || usage.ends_with(sub.get_name()));
    match sub {
        // A number behind `attach` is a process.
        Some(sub) if sub.get_arguments().any(|it| it.get_long() == Some("pid")) && argument.parse::<u32>().is_ok() => {
            Some(format!("a process is named by -p: mta-trace {} -p {argument}", sub.get_name()))
        }
        Some(_) => None,
        // An option that stands before its subcommand.
        None => {
            let name = argument.strip_prefix("--")?.split('=').next()?;
            let has = |sub: &&Command| sub.get_arguments().any(|it| it.get_long() == Some(name));
            let owner = definition.get_subcommands().find(has)?;
            Some(format!("options stand behind the subcommand: mta-trace {} --{name}", owner.get_name()))
        }
    }
}
