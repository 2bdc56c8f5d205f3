//! SMTP dialogues: see `mta_trace_fuzz::smtp`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: mta_trace_fuzz::seeds::plant(mta_trace_fuzz::smtp::seeds), |bytes: &[u8]| mta_trace_fuzz::smtp::run(bytes));
