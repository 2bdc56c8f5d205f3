//! DNS messages: see `mta_trace_fuzz::dns`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: mta_trace_fuzz::seeds::plant(mta_trace_fuzz::dns::seeds), |bytes: &[u8]| mta_trace_fuzz::dns::run(bytes));
