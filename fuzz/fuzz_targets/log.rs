//! Log files: see `mta_trace_fuzz::log`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: mta_trace_fuzz::seeds::plant(mta_trace_fuzz::log::seeds), |bytes: &[u8]| mta_trace_fuzz::log::run(bytes));
