//! `log`: the log again, as `report`, `diff` and `export` read it. With `--anonymize` that is what can be given away.
//!
//! Lines that could not be read, and kinds of records that this version does not know, are left out: nobody can say what stands in them.

use super::{Error, Export, Form, Format, Output};
use crate::event::Record;
use crate::log::encode_into;
use crate::report::Report;
use std::io::Write;

/// The line of the table.
pub const FORMAT: Format = Format {
    name: "log",
    about: "The log itself as JSON Lines, for report, diff and export; with --anonymize to give away",
    form: Form::File,
    begin,
};

fn begin(output: Output) -> Result<Box<dyn Export>, Error> {
    Ok(Box::new(Log { out: output.stream()?, line: Vec::new() }))
}

struct Log {
    out: Box<dyn Write>,
    line: Vec<u8>,
}

impl Export for Log {
    fn record(&mut self, record: &Record) -> Result<(), Error> {
        self.line.clear();
        encode_into(&mut self.line, record);
        Ok(self.out.write_all(&self.line)?)
    }

    fn finish(&mut self, _totals: &Report) -> Result<(), Error> {
        Ok(self.out.flush()?)
    }
}
