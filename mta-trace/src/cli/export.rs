//! `export`: a log in the format of another program. Not here: the formats.

use super::args::export::Export;
use super::output::{self, Failure, say};
use crate::analysis::Analysis;
use crate::export::{self, Form, Format, Output};
use crate::log;
use crate::report::Report;
use crate::update::Update;
use std::io::{self, BufWriter};

/// Writes it where it is wanted.
pub fn run(asked: &Export) -> Result<(), Failure> {
    let format = export::FORMATS.iter().find(|format| format.name == asked.to);
    let format = format.ok_or_else(|| Failure::usage(format!("{} is no format; `mta-trace export --help` lists them", asked.to)))?;
    // The log is opened first: a bad name must not leave an empty export behind.
    let reader = log::read(&asked.log)?;
    let mut exported = (format.begin)(destination(format, asked)?).map_err(failure)?;
    let totals = stream(&asked.log, reader, exported.as_mut())?;
    exported.finish(&totals).map_err(failure)
}

/// Feeds the whole log through the analysis into the export, and gives the totals.
fn stream(path: &str, reader: log::Reader, exported: &mut dyn export::Export) -> Result<Report, Failure> {
    let mut analysis = Analysis::new();
    let mut updates = Vec::new();
    for item in reader {
        match item? {
            log::Item::Record(record) => {
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
