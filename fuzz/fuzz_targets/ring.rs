//! Records of the kernel's ring: see `mta_trace_fuzz::ring`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: mta_trace_fuzz::seeds::plant(mta_trace_fuzz::ring::seeds), |bytes: &[u8]| mta_trace_fuzz::ring::run(bytes));
