//! What must hold of every trace: its log says the same again, its views are harmless, its sums close.

use mta_trace::analysis::{Analysis, Told, replay};
use mta_trace::event::{Counters, Record};
use mta_trace::export::anonymize::Anonymizer;
use mta_trace::export::{FORMATS, Form, Output, drive};
use mta_trace::log::{self, Item};
use mta_trace::report::{Command, Report, Session, Wait};
use mta_trace::view::{accepted::Accepted, escape::is_hostile, html, json, strace::Strace, summary, timeline};
use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;

/// Times from which on seconds are no longer exact to the nanosecond, and sums may saturate: 104 days.
const SANE_NS: u64 = 1 << 53;

/// Rounding of sums of seconds, s; below a microsecond what is left over is the clocks' noise (`Exchange::account`).
const ROUNDING_S: f64 = 2e-6;

/// Records of any kind, and what cannot be read of a log.
pub fn items(items: &[Item]) -> Report {
    let report = views(items);
    exports(items);
    anonymized(items);
    let again: Vec<Item> = items.iter().map(round_trip).collect();
    assert_eq!(analyse(&again, |_| ()), report, "the log gives the report of the live trace");
    if items.iter().all(is_sane) {
        report.sessions.iter().for_each(sums_close);
    }
    report
}

/// Records of any kind.
pub fn records(records: &[Record]) -> Report {
    let all: Vec<Item> = records.iter().map(|record| Item::Record(Box::new(record.clone()))).collect();
    items(&all)
}

/// Records of a trace that does not contradict itself.
pub fn sound(trace: &[Record]) -> Report {
    let report = records(trace);
    for session in &report.sessions {
        let mut end = 0.0;
        for command in &session.commands {
            let Command { elapsed_s, short_waits_s, cpu_s, runqueue_s, unexplained_s, .. } = command;
            for part in [elapsed_s, short_waits_s, cpu_s, runqueue_s, unexplained_s] {
                assert!(*part >= -ROUNDING_S, "command {}: {session:#?}", command.index);
            }
        }
        let mut waits: Vec<&Wait> = session.commands.iter().flat_map(|command| &command.waits).collect();
        waits.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
        for wait in waits {
            assert!(wait.elapsed_s >= 0.0 && wait.start_s >= end - 1e-9, "{wait:#?} begins before {end}");
            end = wait.start_s + wait.elapsed_s;
        }
        assert!(end <= session.elapsed_s + 1e-9 && session.client_s >= -1e-9, "{session:#?}");
    }
    report
}

fn round_trip(item: &Item) -> Item {
    let Item::Record(record) = item else { return item.clone() };
    let line = log::encode(record);
    assert!(!line.contains('\n'), "{line:?}");
    let again = log::decode(&line).unwrap_or_else(|error| panic!("own line: {error}: {line}"));
    assert_eq!(again, **record, "{line}");
    Item::Record(Box::new(again))
}

/// All that is shown of a trace, live and at its end.
fn views(items: &[Item]) -> Report {
    let screen = timeline::Screen { is_terminal: true, has_colour: false };
    let (mut accepted, mut on_terminal, mut plain, mut calls) = (Accepted::default(), Vec::new(), Vec::new(), Vec::new());
    let mut live = timeline::Timeline::new(&mut on_terminal, screen);
    let mut piped = timeline::Timeline::new(&mut plain, timeline::Screen::default());
    let mut strace = Strace::new(&mut calls);
    let mut kept = html::calls::Calls::default();
    let written = "memory takes everything";
    let report = analyse(items, |told| match told {
        Told::Record(record) => {
            accepted.record(record);
            live.record(record).expect(written);
            piped.record(record).expect(written);
            strace.record(record).expect(written);
            kept.record(record);
        }
        Told::Update(update) => {
            accepted.update(update);
            live.update(update).expect(written);
            piped.update(update).expect(written);
            strace.update(update).expect(written);
            kept.update(update);
        }
        Told::Unreadable { .. } | Told::Cut { .. } => {}
    });
    live.finish().expect(written);
    piped.finish().expect(written);
    strace.finish().expect(written);
    let text = summary::text(&report, &accepted);
    let mut json_bytes = Vec::new();
    json::write(&mut json_bytes, &report).expect(written);
    // A number that is not finite would be a `null`, which is none.
    serde_json::from_slice::<Report>(&json_bytes).unwrap_or_else(|error| panic!("own JSON: {error}"));
    let mut page = Vec::new();
    html::write(&mut page, &report, &accepted, &kept).expect(written);
    for view in [text.as_bytes(), &json_bytes, &page, &plain, &calls, &on_terminal] {
        harmless(view);
    }
    report
}

/// Without names it is a log too, of as many records at the same times.
fn anonymized(items: &[Item]) {
    let mut anonymizer = Anonymizer::default();
    let new: Vec<Item> = items
        .iter()
        .map(|item| match item {
            Item::Record(record) => Item::Record(Box::new(anonymizer.record(record))),
            other => other.clone(),
        })
        .map(|item| round_trip(&item))
        .collect();
    let time = |item: &Item| if let Item::Record(record) = item { record.t() } else { None };
    assert!(items.iter().map(time).eq(new.iter().map(time)), "times stay");
    analyse(&new, |_| ());
}

/// Every format that is written into one stream takes any trace; what is text is harmless.
fn exports(items: &[Item]) {
    for format in FORMATS {
        let outputs: &[Option<&str>] = match format.form {
            Form::File | Form::FileOrEndpoint => &[None],
            Form::Tables(tables) => &tables.iter().map(|table| Some(*table)).collect::<Vec<_>>(),
            // The same lines in files of their own, which a fuzzer must not make.
            Form::Folder => &[],
        };
        for table in outputs {
            let out = Memory::default();
            let stream: Box<dyn Write> = Box::new(out.clone());
            let output = match table {
                None => Output::Stream(stream),
                Some(name) => Output::Table { name: (*name).to_owned(), out: stream },
            };
            let mut export = (format.begin)(output).expect("a stream");
            drive(items.iter().cloned().map(Ok), None, export.as_mut(), || ()).expect("memory takes everything");
            let bytes = out.0.borrow();
            // The log has text as it is.
            if format.name == "perfetto" || format.name == "log" {
                continue;
            }
            // RFC 4180 ends its lines so.
            let text = std::str::from_utf8(&bytes).expect("exports are UTF-8").replace("\r\n", "\n");
            harmless(text.as_bytes());
            if format.name == "chrome" {
                serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|error| panic!("own JSON: {error}"));
            }
        }
    }
}

/// What an export writes.
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

/// What `mta-trace report` does, and all that it is told.
fn analyse(items: &[Item], mut see: impl FnMut(Told<'_>)) -> Report {
    let told = |told: Told<'_>| {
        see(told);
        Ok::<_, log::Error>(())
    };
    replay(items.iter().cloned().map(Ok), Analysis::new(), told).expect("items in memory are always there to be read")
}

/// Nothing that a terminal obeys, but for the live view's own erasing of its last line.
fn harmless(view: &[u8]) {
    let text = std::str::from_utf8(view).expect("views are UTF-8").replace("\r\u{1b}[2K", "");
    if let Some(at) = text.find(|c| c != '\n' && is_hostile(c)) {
        panic!("{:?}", text[at..].chars().take(80).collect::<String>());
    }
}

fn is_sane(item: &Item) -> bool {
    let Item::Record(record) = item else { return true };
    let are_sane = |counters: &Counters| [counters.cpu_ns, counters.blocked_ns, counters.rq_ns].iter().all(|ns| *ns < SANE_NS);
    let is_past = |t: Option<u64>| t.is_none_or(|t| t < SANE_NS);
    is_past(record.t())
        && match &**record {
            Record::Header(header) => header.attach_ns.iter().all(|t| *t < SANE_NS),
            Record::Sys(sys) => is_past(sys.start) && are_sane(&sys.at()) && sys.at_start.as_ref().is_none_or(are_sane),
            Record::Block(block) => is_past(Some(block.since)) && are_sane(&block.at) && block.at_start.as_ref().is_none_or(are_sane),
            Record::Fork(fork) => are_sane(&fork.at),
            Record::Exit(exit) => is_past(exit.since) && are_sane(&exit.at),
            _ => true,
        }
}

/// The identities of the report's account.
fn sums_close(session: &Session) {
    for command in &session.commands {
        let waits: f64 = command.waits.iter().map(|wait| wait.elapsed_s).sum();
        let Command { elapsed_s, short_waits_s, cpu_s, runqueue_s, unexplained_s, .. } = command;
        let parts = [waits, *short_waits_s, *cpu_s, *runqueue_s, *unexplained_s];
        close(*elapsed_s, &parts, command);
        assert!(*elapsed_s >= 0.0 && command.waits.iter().all(|wait| wait.elapsed_s >= 0.0), "{command:#?}");
    }
    let commands: f64 = session.commands.iter().map(|command| command.elapsed_s).sum();
    let left_out_s = session.left_out.as_ref().map_or(0.0, |left_out| left_out.elapsed_s);
    close(session.elapsed_s, &[commands, left_out_s, session.client_s], session);
}

fn close(whole: f64, parts: &[f64], what: &impl std::fmt::Debug) {
    let scale: f64 = parts.iter().map(|part| part.abs()).sum();
    let sum: f64 = parts.iter().sum();
    assert!((sum - whole).abs() <= ROUNDING_S + scale * 1e-12, "{whole} is not {sum}: {what:#?}");
}
