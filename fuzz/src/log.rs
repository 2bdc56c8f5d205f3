//! Log files: any bytes are read to an end, what was read can be written and read again, and gives a report.

use crate::{check, seeds};
use mta_trace::event::{LOG_SCHEMA, Record};
use mta_trace::log::{Item, Reader, Writer};
use std::io::{Cursor, Write};
use std::sync::{Arc, Mutex};

/// Golden logs: the short ones, two of them also compressed.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut logs = seeds::different(seeds::logs());
    logs.truncate(16);
    let compressed: Vec<_> = logs.iter().take(2).map(|log| rewrite(&items(log), true)).collect();
    logs.extend(compressed);
    logs
}

/// Checks one input, as it is and behind a header.
pub fn run(bytes: &[u8]) {
    let read = items(bytes);
    check(&read);
    if !matches!(read.first(), Some(Item::Record(_))) {
        check(&items(&[header().as_bytes(), bytes].concat()));
    }
}

fn check(read: &[Item]) {
    let records = |items: &[Item]| -> Vec<Record> {
        items.iter().filter_map(|item| if let Item::Record(record) = item { Some((**record).clone()) } else { None }).collect()
    };
    check::items(read);
    if read.is_empty() {
        return;
    }
    assert!(matches!(&read[0], Item::Record(record) if matches!(**record, Record::Header(_))), "a log begins with its header");
    for is_compressed in [false, true] {
        let again = items(&rewrite(read, is_compressed));
        assert_eq!(records(&again), records(read), "compressed: {is_compressed}");
        assert_eq!(again.len(), records(read).len(), "what is written is readable");
    }
}

/// What a reader makes of these bytes; nothing where they are no log.
fn items(bytes: &[u8]) -> Vec<Item> {
    let Ok(reader) = Reader::new("fuzz", Box::new(Cursor::new(bytes.to_vec()))) else { return Vec::new() };
    let items: Vec<Item> = reader.map_while(Result::ok).collect();
    assert!(items.len() <= bytes.len() * 1000 + 1, "an item takes a byte, but for what zstd unpacks");
    items
}

/// The records as a log.
fn rewrite(items: &[Item], is_compressed: bool) -> Vec<u8> {
    let sink = Sink::default();
    let mut writer = Writer::new("fuzz", Box::new(sink.clone()), is_compressed);
    for item in items {
        if let Item::Record(record) = item {
            writer.write(record).expect("memory takes everything");
        }
    }
    writer.flush().expect("memory takes everything");
    drop(writer);
    let bytes = sink.0.lock().expect("nobody else has it");
    bytes.clone()
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody else has it").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn header() -> String {
    format!(
        r#"{{"k":"header","schema":"{LOG_SCHEMA}","tool":"0","kernel":"6.1","arch":"x86_64","hooks":"fentry","boot_to_wall_ns":0,"attach_ns":[1,2],"target":{{"pid":100,"exe":"/x","mta":"sendmail"}},"min_wait_ns":1000000}}"#
    ) + "\n"
}
