//! `report --format html`: reads the log, keeps the system calls beside the report, writes the page. Not here: the page.

use super::output::{self, Failure};
use super::replay::analyse;
use crate::analysis::{Analysis, Told};
use crate::log;
use crate::view::html::{self, calls::Calls};
use std::io::{self, BufWriter, IsTerminal, Write};

pub(super) fn run(log: &str, path: &str) -> Result<(), Failure> {
    if path == "-" && io::stdout().is_terminal() {
        return Err(Failure::usage("a page for a browser is not written to a terminal; name a file: -o report.html"));
    }
    let mut calls = Calls::default();
    let (report, accepted) = analyse(log, Analysis::new(), |told| match told {
        Told::Record(record) => calls.record(record),
        Told::Update(update) => calls.update(update),
        Told::Unreadable { .. } | Told::Cut { .. } => {}
    })?;
    let write = |out: &mut dyn Write| html::write(out, &report, &accepted, &calls).and_then(|()| out.flush());
    if path == "-" {
        return write(&mut BufWriter::new(io::stdout().lock())).map_err(Failure::io);
    }
    let mut file = BufWriter::new(output::create_new(path)?);
    write(&mut file).map_err(|error| Failure::failed(format!("{path}: cannot be written: {error}{}", log::advice(&error))))
}
