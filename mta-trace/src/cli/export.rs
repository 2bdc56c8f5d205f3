//! `export`: a log in the format of another program. Not here: the formats.

use super::args::export::Export;
use super::output::{self, Failure, say};
use super::progress::{Counted, Progress};
use crate::export::anonymize::{Anonymizer, MAX_ENTRIES};
use crate::export::{self, Form, Format, Output, Passed, Resolve};
use crate::log;
use std::cell::Cell;
use std::fs::{DirBuilder, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::rc::Rc;

/// Writes it where it is wanted.
pub fn run(asked: &Export, resolve: Resolve) -> Result<(), Failure> {
    if let Some((_, _, how)) = export::LACKING.iter().find(|(name, _, _)| *name == asked.to) {
        return Err(Failure::usage((*how).to_owned()));
    }
    let format = export::FORMATS.iter().find(|format| format.name == asked.to);
    let format = format.ok_or_else(|| Failure::usage(format!("{} is no format; `mta-trace export --help` lists them", asked.to)))?;
    // The log is opened first: what is none must not leave an empty export behind.
    let (reader, bytes, all) = open(&asked.log)?;
    let mut items = reader.peekable();
    if let Some(error) = items.next_if(Result::is_err).and_then(Result::err) {
        return Err(error.into());
    }
    let output = destination(format, asked, resolve)?;
    let passed = write(format, output, items, asked, Progress::new(bytes, all)).inspect_err(|_| remove(asked.output.as_deref()))?;
    for text in passed {
        say(&format!("{}: {text}", asked.log));
    }
    Ok(())
}

/// Writes it, and gives what has to be said of the log.
fn write(format: &Format, output: Output, items: Items, asked: &Export, mut progress: Progress) -> Result<Vec<String>, Failure> {
    let failure = |error| failure(error, asked.output.as_deref());
    let mut exported = (format.begin)(output).map_err(failure)?;
    let mut anonymizer = asked.anonymize.then(Anonymizer::default);
    let passed = export::drive(items, anonymizer.as_mut(), exported.as_mut(), || progress.step()).map_err(failure)?;
    let mut said = remarks(&passed);
    if anonymizer.is_some_and(|anonymizer| anonymizer.is_full()) {
        said.push(format!("has {MAX_ENTRIES} names and addresses or more; those that came last are all called `other`"));
    }
    Ok(said)
}

fn remarks(Passed { totals, unreadable, cut }: &Passed) -> Vec<String> {
    let mut said = Vec::new();
    if let Some((line, reason)) = unreadable {
        said.push(match totals.log.unreadable {
            1 => format!("line {line} could not be read and was passed over: {reason}"),
            lines => format!("{lines} lines could not be read and were passed over; the first is line {line}: {reason}"),
        });
    }
    if totals.log.unknown > 0 {
        said.push(format!("{} records are of kinds that this version does not know; a newer mta-trace may", totals.log.unknown));
    }
    if let Some(line) = cut {
        said.push(format!("ends in line {line}, before the trace did; what stands before it was exported"));
    }
    if totals.log.lost > 0 {
        said.push(format!("{} events were lost when it was recorded: times may be wrong or missing", totals.log.lost));
    }
    said
}

/// Takes away what this run has made, and could not write to its end.
fn remove(path: Option<&str>) {
    let Some(path) = path.filter(|path| *path != "-") else { return };
    let _ = std::fs::remove_file(path).or_else(|_| std::fs::remove_dir_all(path));
}

/// The lines of a log, of which one may have been looked at.
type Items = std::iter::Peekable<log::Reader>;

/// A log, how much of it was read, and how much there is.
type Opened = (log::Reader, Rc<Cell<u64>>, Option<u64>);

fn open(path: &str) -> Result<Opened, Failure> {
    if path == "-" {
        let (counted, bytes) = Counted::new(io::stdin());
        return Ok((log::Reader::new("standard input", Box::new(BufReader::new(counted)))?, bytes, None));
    }
    let file = File::open(path).map_err(|source| log::Error::Open { path: path.to_owned(), source })?;
    let all = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|found| found.len());
    let (counted, bytes) = Counted::new(file);
    Ok((log::Reader::new(path, Box::new(BufReader::with_capacity(1 << 16, counted)))?, bytes, all))
}

fn destination(format: &Format, asked: &Export, resolve: Resolve) -> Result<Output, Failure> {
    let name = format.name;
    if let Some(table) = &asked.table {
        let Form::Tables(tables) = format.form else {
            return Err(Failure::usage(format!("--to {name} has no tables of which one could be chosen; leave --table out")));
        };
        if !tables.contains(&table.as_str()) {
            return Err(Failure::usage(format!("--to {name} has no table {table}; there are {}", tables.join(", "))));
        }
        return Ok(Output::Table { name: table.clone(), out: stream_to(asked.output.as_deref())? });
    }
    match (format.form, &asked.endpoint, asked.output.as_deref()) {
        (Form::FileOrEndpoint, Some(endpoint), _) if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") => {
            Err(Failure::usage(format!("--endpoint {endpoint} is no URL; it begins with http:// or https://, such as http://localhost:4318")))
        }
        (Form::FileOrEndpoint, Some(endpoint), _) => Ok(Output::Endpoint { url: endpoint.clone(), resolve }),
        (_, Some(_), _) => Err(Failure::usage(format!("--to {name} is written into a file and cannot be sent; leave --endpoint out"))),
        (Form::Folder | Form::Tables(_), None, None | Some("-")) => {
            let or_table = if matches!(format.form, Form::Tables(_)) { ", or one of them by --table" } else { "" };
            Err(Failure::usage(format!("--to {name} writes several files; name the folder for them by -o, such as -o slow-{name}{or_table}")))
        }
        (Form::Folder | Form::Tables(_), None, Some(path)) => {
            let made = DirBuilder::new().mode(0o700).create(path);
            made.map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Failure::failed(format!("{path}: exists already; choose another name or remove it")),
                _ => Failure::failed(format!("{path}: the folder cannot be made: {error}")),
            })?;
            Ok(Output::Folder(path.into()))
        }
        (Form::File | Form::FileOrEndpoint, None, path) => Ok(Output::Stream(stream_to(path)?)),
    }
}

fn stream_to(path: Option<&str>) -> Result<Box<dyn Write>, Failure> {
    match path {
        None | Some("-") => Ok(Box::new(BufWriter::new(io::stdout()))),
        Some(path) => Ok(Box::new(BufWriter::new(output::create_new(path)?))),
    }
}

fn failure(error: export::Error, output: Option<&str>) -> Failure {
    match error {
        export::Error::Write(error) if error.kind() == io::ErrorKind::BrokenPipe => Failure::io(error),
        export::Error::Write(error) => {
            let place = output.filter(|path| *path != "-").unwrap_or("standard output");
            Failure::failed(format!("{place}: cannot be written: {error}; make room, or write the export elsewhere"))
        }
        error => Failure::failed(error.to_string()),
    }
}
