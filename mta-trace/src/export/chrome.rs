//! `chrome`: Chrome's trace JSON (the "Trace Event Format", JSON array form), for about:tracing, Speedscope and others.
//!
//! In: the tracks and slices of `tracks.rs`. Out: complete events (`X`) in microseconds of the monotonic clock, marks,
//! arrows, names. A lane is a thread with a number that none can have. Invariant: one event a line. Not here: which slice
//! stands where.

use super::slices::{Slice, Value};
use super::tracks::{Draw, Timeline, Track};
use super::{Error, Export, Form, Format, Output};
use serde_json::{Map, Value as Json, json};
use std::io::Write;

/// The line of the table.
pub const FORMAT: Format = Format { name: "chrome", about: "Chrome trace JSON: the same slices for other viewers", form: Form::File, begin };

/// Above every thread number that Linux gives (`PID_MAX_LIMIT` is 2^22).
const FIRST_LANE: u64 = 10_000_000;

struct Chrome {
    out: Box<dyn Write>,
    has_begun: bool,
}

fn begin(output: Output) -> Result<Box<dyn Export>, Error> {
    Ok(Box::new(Timeline::new(Chrome { out: output.stream()?, has_begun: false })))
}

fn tid(track: Track) -> u64 {
    match track {
        Track::Process(pid) => pid.into(),
        Track::Thread { tid, .. } => tid.into(),
        Track::Lane { number, .. } => FIRST_LANE.saturating_add(number),
    }
}

/// Microseconds; a nanosecond is not lost before 2^53 ns.
fn us(ns: u64) -> f64 {
    ns as f64 / 1000.0
}

fn value(value: &Value) -> Json {
    match value {
        Value::Text(text) => json!(text),
        Value::Real(number) => json!(number),
        Value::Count(number) => json!(number),
        Value::Flag(flag) => json!(flag),
        Value::List(texts) => json!(texts),
    }
}

impl Chrome {
    fn event(&mut self, event: &Json) -> Result<(), Error> {
        self.out.write_all(if self.has_begun { b",\n" } else { b"[\n" })?;
        self.has_begun = true;
        serde_json::to_writer(&mut self.out, event).map_err(|error| Error::Write(error.into()))
    }

    fn arrow(&mut self, phase: &str, id: u64, track: Track, t: u64) -> Result<(), Error> {
        let mut event = json!({"ph": phase, "id": id, "name": "waits for", "cat": "flow", "pid": track.pid(), "tid": tid(track), "ts": us(t)});
        if phase == "f" {
            // At the slice that is there, not at the next.
            event["bp"] = json!("e");
        }
        self.event(&event)
    }
}

impl Draw for Chrome {
    fn clock(&mut self, _t: u64, _wall_ns: i64) -> Result<(), Error> {
        Ok(())
    }

    fn track(&mut self, track: Track, name: &str) -> Result<(), Error> {
        let what = if matches!(track, Track::Process(_)) { "process_name" } else { "thread_name" };
        let name = crate::view::escape::escape(name);
        self.event(&json!({"ph": "M", "name": what, "pid": track.pid(), "tid": tid(track), "args": {"name": name}}))
    }

    fn tree(&mut self, track: Track, slice: &Slice) -> Result<(), Error> {
        let args: Map<String, Json> = slice.notes.iter().map(|(name, it)| ((*name).to_owned(), value(it))).collect();
        let mut event =
            json!({"name": slice.name, "cat": slice.category.name(), "pid": track.pid(), "tid": tid(track), "ts": us(slice.start), "args": args});
        if slice.is_mark() {
            event["ph"] = json!("i");
            event["s"] = json!("t");
        } else {
            event["ph"] = json!("X");
            event["dur"] = json!(us(slice.end.saturating_sub(slice.start)));
        }
        self.event(&event)?;
        if let Some(id) = slice.flow {
            self.arrow("s", id, track, slice.start)?;
        }
        if let Some(id) = slice.flow_from {
            self.arrow("f", id, track, slice.start)?;
        }
        slice.inside.iter().try_for_each(|inside| self.tree(track, inside))
    }

    fn counter(&mut self, name: &'static str, t: u64, value: u64) -> Result<(), Error> {
        self.event(&json!({"ph": "C", "name": name, "pid": 0, "tid": 0, "ts": us(t), "args": {"events": value}}))
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.out.write_all(if self.has_begun { b"\n]\n" } else { b"[]\n" })?;
        Ok(self.out.flush()?)
    }
}
