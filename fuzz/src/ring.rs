//! Records of the ring: any bytes give records, which the log keeps and from which there is a report.

use crate::input::{Input, chunk};
use crate::{check, kernel, raw, seeds};
use mta_trace::decode;
use mta_trace::event::Record;

/// More records give no new states, but take long.
const MAX_RECORDS: usize = 200;

/// Golden logs as the kernel had written them.
pub fn seeds() -> Vec<Vec<u8>> {
    seeds::different(seeds::traces().iter().map(|trace| seed(trace)).collect())
}

fn seed(trace: &[Record]) -> Vec<u8> {
    let mut seed = Vec::new();
    for record in trace {
        let Some(bytes) = raw::bytes(record) else { continue };
        let again = decode::record(&bytes);
        assert_eq!((again.t(), std::mem::discriminant(&again)), (record.t(), std::mem::discriminant(record)), "{again:?}");
        seed.extend(chunk(&bytes));
    }
    seed
}

/// Checks one input: records, each with its length before it.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut records = vec![Record::Header(Box::new(kernel::header()))];
    while !input.is_empty() && records.len() < MAX_RECORDS {
        let bytes = input.chunk();
        let record = decode::record(bytes);
        if let Record::Malformed(malformed) = &record {
            assert!(malformed.malformed.0 == bytes && !malformed.reason.is_empty(), "what cannot be read is kept");
        }
        records.push(record);
    }
    check::records(&records);
}
