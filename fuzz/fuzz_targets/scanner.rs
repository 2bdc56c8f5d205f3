//! The kernel side's allow-list for SMTP bytes: see `mta_trace_fuzz::scanner`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: mta_trace_fuzz::seeds::plant(mta_trace_fuzz::scanner::seeds), |bytes: &[u8]| mta_trace_fuzz::scanner::run(bytes));
