//! `export`: a log in the format of another program. Not here: the formats.

use super::output::{self, Failure, say};
use crate::analysis::Analysis;
use crate::export::anonymize::{Anonymizer, MAX_ENTRIES};
use crate::export::{self, Form, Format, Output};
use crate::log;
use crate::report::Report;
use crate::update::Update;
use clap::Args;
use std::io::{self, BufWriter};

pub(super) const EXAMPLES: &str = "\
Examples:
  mta-trace export slow.jsonl --to folded | flamegraph.pl > slow.svg
  mta-trace export slow.jsonl --to log --anonymize -o send-me.jsonl";

#[derive(Debug, Args)]
pub(super) struct Export {
    /// A log that `attach -o` wrote; - is standard input
    log: String,
    /// Format
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    to: String,
    /// Write into this file or folder, which must not exist [default: standard output, where one file is written]
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
    /// Send to this server, where the format has a protocol for that
    #[arg(long, value_name = "URL", conflicts_with = "output")]
    endpoint: Option<String>,
    /// Replace addresses, host names, users and what else may name somebody, the same by the same
    #[arg(long)]
    anonymize: bool,
}

/// The names of the table, with what each is.
fn format_parser() -> clap::builder::PossibleValuesParser {
    let value = |format: &Format| clap::builder::PossibleValue::new(format.name).help(format.about);
    clap::builder::PossibleValuesParser::new(export::FORMATS.iter().map(value))
}

pub(super) fn run(asked: &Export) -> Result<(), Failure> {
    let format = export::FORMATS.iter().find(|format| format.name == asked.to);
    let format = format.ok_or_else(|| Failure::usage(format!("{} is no format; `mta-trace export --help` lists them", asked.to)))?;
    // The log is opened first: a bad name must not leave an empty export behind.
    let reader = log::read(&asked.log)?;
    let mut exported = (format.begin)(destination(format, asked)?).map_err(failure)?;
    let anonymizer = asked.anonymize.then(Anonymizer::default);
    let totals = stream(&asked.log, reader, anonymizer, exported.as_mut())?;
    exported.finish(&totals).map_err(failure)
}

/// Feeds the whole log through the analysis into the export, and gives the totals.
fn stream(path: &str, reader: log::Reader, mut anonymizer: Option<Anonymizer>, exported: &mut dyn export::Export) -> Result<Report, Failure> {
    let mut analysis = Analysis::new();
    let mut updates = Vec::new();
    for item in reader {
        match item? {
            log::Item::Record(record) => {
                // Before anything sees it.
                let record = match &mut anonymizer {
                    Some(anonymizer) => Box::new(anonymizer.record(&record)),
                    None => record,
                };
                exported.record(&record).map_err(failure)?;
                analysis.feed(&record, &mut updates);
            }
            log::Item::Unreadable { line, reason } => {
                analysis.note_unreadable();
                say(&format!("{path}: line {line} cannot be read and is passed over: {reason}"));
            }
            log::Item::Unknown { .. } => analysis.note_unknown(),
            log::Item::Cut { line } => say(&format!("{path}: ends in line {line}, before the trace did; what stands before it is exported")),
        }
        sessions(&mut updates, exported)?;
    }
    if anonymizer.is_some_and(|anonymizer| anonymizer.is_full()) {
        say(&format!("{path}: has more than {MAX_ENTRIES} names and addresses; those that came later are all called `other`"));
    }
    let totals = analysis.finish(&mut updates);
    sessions(&mut updates, exported)?;
    if totals.log.lost > 0 {
        say(&format!("{path}: {} events were lost when it was recorded: times may be wrong or missing", totals.log.lost));
    }
    Ok(totals)
}

fn sessions(updates: &mut Vec<Update>, exported: &mut dyn export::Export) -> Result<(), Failure> {
    for update in updates.drain(..) {
        if let Update::SessionEnded(session) = update {
            exported.session(&session).map_err(failure)?;
        }
    }
    Ok(())
}

fn destination(format: &Format, asked: &Export) -> Result<Output, Failure> {
    let name = format.name;
    match (format.form, &asked.endpoint, asked.output.as_deref()) {
        (Form::FileOrEndpoint, Some(endpoint), _) => Ok(Output::Endpoint(endpoint.clone())),
        (_, Some(_), _) => Err(Failure::usage(format!("--to {name} is written into a file and cannot be sent; leave --endpoint out"))),
        (Form::Folder, None, None | Some("-")) => {
            Err(Failure::usage(format!("--to {name} writes several tables; name the folder for them by -o, such as -o slow-{name}")))
        }
        (Form::Folder, None, Some(path)) => {
            let made = std::fs::create_dir(path);
            made.map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Failure::failed(format!("{path}: exists already; choose another name or remove it")),
                _ => Failure::failed(format!("{path}: the folder cannot be made: {error}")),
            })?;
            Ok(Output::Folder(path.into()))
        }
        (_, None, None | Some("-")) => Ok(Output::Stream(Box::new(BufWriter::new(io::stdout())))),
        (_, None, Some(path)) => Ok(Output::Stream(Box::new(BufWriter::new(output::create_new(path)?)))),
    }
}

fn failure(error: export::Error) -> Failure {
    match error {
        export::Error::Write(error) => Failure::io(error),
        error => Failure::failed(error.to_string()),
    }
}
