//! Servers that the client of `probe` may meet: see `mta_trace_fuzz::probe`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: mta_trace_fuzz::seeds::plant(mta_trace_fuzz::probe::seeds), |bytes: &[u8]| mta_trace_fuzz::probe::run(bytes));
