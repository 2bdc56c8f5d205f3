//! `perfetto`: a protobuf trace for ui.perfetto.dev and `trace_processor` (`protos/perfetto/trace/perfetto_trace.proto`).
//!
//! In: the tracks and slices of `tracks.rs`. Out: `TracePacket`s, each whole in itself (no interned strings), so that the
//! file streams and a cut one opens. Times are the monotonic clock; each `ClockSnapshot` says what the wall clock showed.
//! The messages below are the fields that are written, under their own numbers. Not here: which slice stands where.

use super::slices::{Category, Slice, Value};
use super::tracks::{Draw, Timeline, Track};
use super::{Error, Export, Form, Format, Output};
use prost::Message;
use std::io::Write;

/// The line of the table.
pub const FORMAT: Format =
    Format { name: "perfetto", about: "Perfetto trace: sessions, commands, waits and calls as slices, for ui.perfetto.dev", form: Form::File, begin };

/// `BUILTIN_CLOCK_REALTIME`, `BUILTIN_CLOCK_MONOTONIC`.
const REALTIME: u32 = 1;
const MONOTONIC: u32 = 3;
/// All packets come from one writer.
const SEQUENCE: u32 = 1;
/// The track that counts what was lost.
const COUNTER: u64 = 4 << 56;

#[derive(Clone, PartialEq, Message)]
struct Trace {
    #[prost(message, repeated, tag = "1")]
    packet: Vec<Packet>,
}

#[derive(Clone, PartialEq, Message)]
struct Packet {
    #[prost(message, optional, tag = "6")]
    clock_snapshot: Option<ClockSnapshot>,
    #[prost(uint64, optional, tag = "8")]
    timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "10")]
    trusted_packet_sequence_id: Option<u32>,
    #[prost(message, optional, tag = "11")]
    track_event: Option<TrackEvent>,
    #[prost(uint32, optional, tag = "58")]
    timestamp_clock_id: Option<u32>,
    #[prost(message, optional, tag = "60")]
    track_descriptor: Option<TrackDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
struct ClockSnapshot {
    #[prost(message, repeated, tag = "1")]
    clocks: Vec<Clock>,
    #[prost(uint32, optional, tag = "2")]
    primary_trace_clock: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct Clock {
    #[prost(uint32, optional, tag = "1")]
    clock_id: Option<u32>,
    #[prost(uint64, optional, tag = "2")]
    timestamp: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct TrackDescriptor {
    #[prost(uint64, optional, tag = "1")]
    uuid: Option<u64>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
    #[prost(message, optional, tag = "3")]
    process: Option<ProcessDescriptor>,
    #[prost(message, optional, tag = "4")]
    thread: Option<ThreadDescriptor>,
    #[prost(uint64, optional, tag = "5")]
    parent_uuid: Option<u64>,
    #[prost(message, optional, tag = "8")]
    counter: Option<CounterDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
struct ProcessDescriptor {
    #[prost(int32, optional, tag = "1")]
    pid: Option<i32>,
    #[prost(string, optional, tag = "6")]
    process_name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ThreadDescriptor {
    #[prost(int32, optional, tag = "1")]
    pid: Option<i32>,
    #[prost(int64, optional, tag = "2")]
    tid: Option<i64>,
    #[prost(string, optional, tag = "5")]
    thread_name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct CounterDescriptor {
    #[prost(string, optional, tag = "6")]
    unit_name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
enum Type {
    Unspecified = 0,
    SliceBegin = 1,
    SliceEnd = 2,
    Instant = 3,
    Counter = 4,
}

#[derive(Clone, PartialEq, Message)]
struct TrackEvent {
    #[prost(message, repeated, tag = "4")]
    debug_annotations: Vec<DebugAnnotation>,
    #[prost(enumeration = "Type", optional, tag = "9")]
    r#type: Option<i32>,
    #[prost(uint64, optional, tag = "11")]
    track_uuid: Option<u64>,
    #[prost(string, repeated, tag = "22")]
    categories: Vec<String>,
    #[prost(string, optional, tag = "23")]
    name: Option<String>,
    #[prost(int64, optional, tag = "30")]
    counter_value: Option<i64>,
    #[prost(fixed64, repeated, packed = "false", tag = "47")]
    flow_ids: Vec<u64>,
    #[prost(fixed64, repeated, packed = "false", tag = "48")]
    terminating_flow_ids: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct DebugAnnotation {
    #[prost(bool, optional, tag = "2")]
    bool_value: Option<bool>,
    #[prost(uint64, optional, tag = "3")]
    uint_value: Option<u64>,
    #[prost(double, optional, tag = "5")]
    double_value: Option<f64>,
    #[prost(string, optional, tag = "6")]
    string_value: Option<String>,
    #[prost(string, optional, tag = "10")]
    name: Option<String>,
    #[prost(message, repeated, tag = "12")]
    array_values: Vec<DebugAnnotation>,
}

struct Perfetto {
    out: Box<dyn Write>,
    bytes: Vec<u8>,
    has_counter: bool,
}

fn begin(output: Output) -> Result<Box<dyn Export>, Error> {
    Ok(Box::new(Timeline::new(Perfetto { out: output.stream()?, bytes: Vec::new(), has_counter: false })))
}

/// Of a process, a thread and a lane never the same.
fn uuid(track: Track) -> u64 {
    match track {
        Track::Process(pid) => 1 << 56 | u64::from(pid),
        Track::Thread { tid, .. } => 2 << 56 | u64::from(tid),
        Track::Lane { number, .. } => 3 << 56 | number & 0x00ff_ffff_ffff_ffff,
    }
}

fn signed(pid: u32) -> i32 {
    pid.cast_signed()
}

impl Perfetto {
    fn packet(&mut self, packet: Packet) -> Result<(), Error> {
        self.bytes.clear();
        let trace = Trace { packet: vec![Packet { trusted_packet_sequence_id: Some(SEQUENCE), ..packet }] };
        // Memory takes everything.
        if trace.encode(&mut self.bytes).is_ok() {
            self.out.write_all(&self.bytes)?;
        }
        Ok(())
    }

    fn event(&mut self, t: u64, r#type: Type, uuid: u64, event: TrackEvent) -> Result<(), Error> {
        let event = TrackEvent { r#type: Some(r#type.into()), track_uuid: Some(uuid), ..event };
        self.packet(Packet { timestamp: Some(t), timestamp_clock_id: Some(MONOTONIC), track_event: Some(event), ..Packet::default() })
    }

    fn describe(&mut self, descriptor: TrackDescriptor) -> Result<(), Error> {
        self.packet(Packet { track_descriptor: Some(descriptor), ..Packet::default() })
    }
}

fn annotation(name: Option<&str>, value: &Value) -> DebugAnnotation {
    let empty = DebugAnnotation { name: name.map(str::to_owned), ..DebugAnnotation::default() };
    match value {
        Value::Text(text) => DebugAnnotation { string_value: Some(text.clone()), ..empty },
        Value::Real(number) => DebugAnnotation { double_value: Some(*number), ..empty },
        Value::Count(number) => DebugAnnotation { uint_value: Some(*number), ..empty },
        Value::Flag(flag) => DebugAnnotation { bool_value: Some(*flag), ..empty },
        Value::List(texts) => {
            let texts = texts.iter().map(|text| annotation(None, &Value::Text(text.clone())));
            DebugAnnotation { array_values: texts.collect(), ..empty }
        }
    }
}

fn named(slice: &Slice) -> TrackEvent {
    TrackEvent {
        name: Some(slice.name.clone()),
        categories: vec![slice.category.name().to_owned()],
        debug_annotations: slice.notes.iter().map(|(name, value)| annotation(Some(name), value)).collect(),
        flow_ids: slice.flow.into_iter().collect(),
        terminating_flow_ids: slice.flow_from.into_iter().collect(),
        ..TrackEvent::default()
    }
}

impl Draw for Perfetto {
    fn clock(&mut self, t: u64, wall_ns: i64) -> Result<(), Error> {
        let clock = |id, timestamp| Clock { clock_id: Some(id), timestamp: Some(timestamp) };
        let clocks = vec![clock(MONOTONIC, t), clock(REALTIME, u64::try_from(wall_ns).unwrap_or_default())];
        let snapshot = ClockSnapshot { clocks, primary_trace_clock: Some(MONOTONIC) };
        self.packet(Packet { clock_snapshot: Some(snapshot), timestamp: Some(t), timestamp_clock_id: Some(MONOTONIC), ..Packet::default() })
    }

    fn track(&mut self, track: Track, name: &str) -> Result<(), Error> {
        let empty = TrackDescriptor { uuid: Some(uuid(track)), ..TrackDescriptor::default() };
        let parent = Some(uuid(Track::Process(track.pid())));
        let name = Some(crate::view::escape::escape(name).into_owned());
        self.describe(match track {
            Track::Process(pid) => TrackDescriptor { process: Some(ProcessDescriptor { pid: Some(signed(pid)), process_name: name }), ..empty },
            Track::Thread { pid, tid } => {
                let thread = ThreadDescriptor { pid: Some(signed(pid)), tid: Some(tid.into()), thread_name: name };
                TrackDescriptor { thread: Some(thread), parent_uuid: parent, ..empty }
            }
            Track::Lane { .. } => TrackDescriptor { name, parent_uuid: parent, ..empty },
        })
    }

    fn tree(&mut self, track: Track, slice: &Slice) -> Result<(), Error> {
        let uuid = uuid(track);
        // A wait may be shorter than the clock shows and is a slice all the same; a call that did not block is a mark.
        if slice.is_mark() && slice.inside.is_empty() && matches!(slice.category, Category::Call | Category::FarEnd) && slice.flow_from.is_none() {
            return self.event(slice.start, Type::Instant, uuid, named(slice));
        }
        self.event(slice.start, Type::SliceBegin, uuid, named(slice))?;
        slice.inside.iter().try_for_each(|inside| self.tree(track, inside))?;
        self.event(slice.end, Type::SliceEnd, uuid, TrackEvent::default())
    }

    fn counter(&mut self, name: &'static str, t: u64, value: u64) -> Result<(), Error> {
        if !self.has_counter {
            self.has_counter = true;
            let counter = Some(CounterDescriptor { unit_name: Some("events".to_owned()) });
            self.describe(TrackDescriptor { uuid: Some(COUNTER), name: Some(name.to_owned()), counter, ..TrackDescriptor::default() })?;
        }
        let counter_value = Some(i64::try_from(value).unwrap_or(i64::MAX));
        self.event(t, Type::Counter, COUNTER, TrackEvent { counter_value, ..TrackEvent::default() })
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(self.out.flush()?)
    }
}
