//! Milter packets: see `mta_trace_fuzz::milter`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: mta_trace_fuzz::seeds::plant(mta_trace_fuzz::milter::seeds), |bytes: &[u8]| mta_trace_fuzz::milter::run(bytes));
