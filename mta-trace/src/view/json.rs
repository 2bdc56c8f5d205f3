//! The report as JSON (`mta-trace.report/1`).
//!
//! In: a [`crate::report::Report`] or [`crate::report::ProbeReport`]. Out: indented JSON with a final line end. Characters that a terminal would obey are written as
//! `\u` escapes, which mean the same to every reader of JSON. Not here: the schema (`report/`).

use super::escape::is_hostile;
use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, PrettyFormatter, Serializer};
use std::io::{self, Write};

/// Writes the report, or what a client measured alone.
pub fn write(out: &mut impl Write, report: &impl Serialize) -> io::Result<()> {
    let mut serializer = Serializer::with_formatter(&mut *out, Harmless(PrettyFormatter::new()));
    report.serialize(&mut serializer).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

/// Indents, and escapes what is not plain.
struct Harmless<'a>(PrettyFormatter<'a>);

impl Formatter for Harmless<'_> {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_hostile(*c)) {
            let (plain, tail) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = tail.get(c.len_utf8()..).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        self.0.write_char_escape(writer, escape)
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{LogSummary, REPORT_SCHEMA, Report, Tool};
    use proptest::prelude::*;

    fn report(text: &str) -> Report {
        let tool = Tool { version: text.to_owned(), kernel: "6.1.0".to_owned(), hooks: "tracepoint".to_owned() };
        Report {
            schema: REPORT_SCHEMA.to_owned(),
            tool,
            log: LogSummary::default(),
            daemon: None,
            findings: Vec::new(),
            sessions: Vec::new(),
            left_out: None,
            probe: None,
        }
    }

    fn json(report: &Report) -> String {
        let mut out = Vec::new();
        write(&mut out, report).expect("in a test");
        String::from_utf8(out).expect("in a test")
    }

    #[test]
    fn indented_and_harmless() {
        let text = json(&report("a\u{202e}\u{e0041}\u{7f}"));
        assert!(text.starts_with("{\n  \"schema\": \"mta-trace.report/1\",\n"), "{text}");
        assert!(text.contains(r#""version": "a\u202e\udb40\udc41\u007f""#), "{text}");
        assert!(text.ends_with("}\n"));
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in any::<String>()) {
            let written = report(&text);
            let json = json(&written);
            prop_assert!(!json.chars().any(|c| c != '\n' && is_hostile(c)));
            prop_assert_eq!(serde_json::from_str::<Report>(&json).expect("in a test"), written);
        }
    }
}
