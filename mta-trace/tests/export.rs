//! Exports of logs that somebody has spoilt: no format panics, whatever a record says.

use mta_trace::export::anonymize::Anonymizer;
use mta_trace::export::{FORMATS, Form, Format, Output, drive};
use mta_trace::log::Reader;
use proptest::prelude::*;
use serde_json::Value;
use std::cell::RefCell;
use std::io::{Cursor, Write};
use std::path::Path;
use std::rc::Rc;

/// Golden logs that have of everything: helpers, children, loops, batches, TLS.
const LOGS: &[&str] = &["postfix-milter-opendkim", "opensmtpd-two-clients", "killed", "pipelining", "exim-two-clients", "starttls", "two-clients"];

#[derive(Clone, Default)]
struct Memory(Rc<RefCell<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn golden(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/replay").join(name).with_extension("jsonl");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("a golden log")).collect()
}

/// A whole export into memory; as the log is, or without names.
fn exported(log: &str, format: &Format, table: Option<&str>, mut anonymizer: Option<Anonymizer>) -> Option<Vec<u8>> {
    let out = Memory::default();
    let stream: Box<dyn Write> = Box::new(out.clone());
    let output = match table {
        None => Output::Stream(stream),
        Some(name) => Output::Table { name: name.to_owned(), out: stream },
    };
    let mut export = (format.begin)(output).expect("a stream");
    let reader = Reader::new("spoilt", Box::new(Cursor::new(log.to_owned().into_bytes()))).ok()?;
    // What is no log any more from some line on is exported up to there.
    drive(reader.map_while(Result::ok).map(Ok), anonymizer.as_mut(), export.as_mut(), || ()).expect("memory takes everything");
    let bytes = out.0.borrow().clone();
    Some(bytes)
}

/// Every format, each table.
fn exports(log: &str, is_anonymous: bool) {
    for format in FORMATS {
        let tables: Vec<Option<&str>> = match format.form {
            Form::File | Form::FileOrEndpoint => vec![None],
            Form::Tables(tables) => tables.iter().map(|table| Some(*table)).collect(),
            Form::Folder => continue,
        };
        for table in tables {
            let anonymizer = is_anonymous.then(Anonymizer::default);
            let Some(bytes) = exported(log, format, table, anonymizer) else { return };
            if format.name == "perfetto" {
                balanced(&bytes);
            } else {
                std::str::from_utf8(&bytes).expect("exports are UTF-8");
            }
        }
    }
}

/// Packets one after another, whole.
fn balanced(bytes: &[u8]) {
    let mut at = 0;
    while at < bytes.len() {
        assert_eq!(bytes[at], 0x0a, "a packet begins with its tag");
        let (mut len, mut shift) = (0_usize, 0);
        loop {
            at += 1;
            len |= usize::from(bytes[at] & 0x7f) << shift;
            shift += 7;
            if bytes[at] < 0x80 {
                break;
            }
        }
        at += 1 + len;
    }
    assert_eq!(at, bytes.len(), "the last packet is whole");
}

/// The numbers and texts of a record, one after another.
fn leaves<'a>(value: &'a mut Value, all: &mut Vec<&'a mut Value>) {
    match value {
        Value::Object(fields) => fields.iter_mut().filter(|(name, _)| *name != "k" && *name != "schema").for_each(|(_, it)| leaves(it, all)),
        Value::Array(items) => items.iter_mut().for_each(|it| leaves(it, all)),
        other => all.push(other),
    }
}

#[derive(Clone, Debug)]
enum Harm {
    Number(i64),
    Large(u64),
    Text(String),
    Away,
    Twice,
    Later(usize),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        proptest::sample::select(vec![0, 1, -1, -4, -512, 255, i64::MAX, i64::MIN]).prop_map(Harm::Number),
        proptest::sample::select(vec![u64::MAX, u64::MAX - 1, 1 << 53, u64::from(u32::MAX)]).prop_map(Harm::Large),
        proptest::sample::select(vec!["", "\u{1b}[2J", "=1", "a,\"b\"\r\n", "\u{202e}", "-", "AAAA"]).prop_map(|text| Harm::Text(text.to_owned())),
        Just(Harm::Away),
        Just(Harm::Twice),
        (1_usize..40).prop_map(Harm::Later),
    ]
}

fn spoil(log: &mut Vec<Value>, line: usize, leaf: usize, harm: &Harm) {
    let count = log.len();
    if count < 3 {
        return;
    }
    let at = 1 + line % (count - 1);
    match harm {
        Harm::Away => {
            log.remove(at);
        }
        Harm::Twice => log.insert(at, log[at].clone()),
        Harm::Later(by) => log.swap(at, 1 + (line + by) % (count - 1)),
        Harm::Number(_) | Harm::Large(_) | Harm::Text(_) => {
            let mut all = Vec::new();
            leaves(&mut log[at], &mut all);
            let count = all.len().max(1);
            let Some(it) = all.into_iter().nth(leaf % count) else { return };
            match (harm, &it) {
                (Harm::Number(number), Value::Number(_)) => *it = (*number).into(),
                (Harm::Large(number), Value::Number(_)) => *it = (*number).into(),
                (Harm::Text(text), Value::String(_)) => *it = text.clone().into(),
                _ => {}
            }
        }
    }
}

#[test]
fn a_session_of_too_many_calls_is_drawn_in_part_and_says_so() {
    let mut log = golden("fast");
    let at = log.iter().rposition(|record| record["call"] == "write" && record.get("smtp").is_some()).expect("a reply");
    let reply = log[at].clone();
    log.splice(at..at, std::iter::repeat_n(reply, 30_000));
    let lines: Vec<String> = log.iter().map(Value::to_string).collect();
    let chrome = FORMATS.iter().find(|format| format.name == "chrome").expect("a format");
    let bytes = exported(&(lines.join("\n") + "\n"), chrome, None, None).expect("a log");
    let events: Vec<Value> = serde_json::from_slice(&bytes).expect("JSON");
    let calls = events.iter().filter(|event| event["cat"] == "syscall").count() as u64;
    let session = events.iter().find(|event| event["cat"] == "session").expect("a session");
    let left_out = session["args"]["calls_left_out"].as_u64().expect("it says how many are not drawn");
    let all = log.iter().filter(|record| record["k"] == "sys").count() as u64;
    assert!(left_out > 10_000 && calls + left_out == all, "{calls} are drawn and {left_out} left out of {all}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn no_log_makes_an_export_panic(
        name in proptest::sample::select(LOGS),
        harms in proptest::collection::vec((any::<usize>(), any::<usize>(), harm()), 1..40),
    ) {
        let mut log = golden(name);
        for (line, leaf, harm) in &harms {
            spoil(&mut log, line % 100_000, *leaf, harm);
        }
        let lines: Vec<String> = log.iter().map(Value::to_string).collect();
        let text = lines.join("
") + "
";
        exports(&text, false);
        exports(&text, true);
    }
}
