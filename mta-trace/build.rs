//! Says which eBPF object is built in: the path in `MTA_TRACE_EBPF_OBJECT`, else the committed one. So
//! `cargo build` needs stable Rust and nothing else. It is packed (1.4 MB become 0.1), and unpacked when it is loaded.

use std::path::PathBuf;

/// Higher levels take longer than they are worth: 19 saves another 15 KB.
const LEVEL: i32 = 9;

fn main() {
    println!("cargo::rerun-if-env-changed=MTA_TRACE_EBPF_OBJECT");
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let committed = format!("{folder}/bpf/mta-trace.o");
    let object = std::env::var("MTA_TRACE_EBPF_OBJECT").unwrap_or(committed);
    println!("cargo::rerun-if-changed={object}");
    let bytes = std::fs::read(&object).unwrap_or_else(|error| panic!("{object}: the eBPF object cannot be read: {error}"));
    let packed = zstd::bulk::compress(&bytes, LEVEL).unwrap_or_else(|error| panic!("{object}: cannot be packed: {error}"));
    let place = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join("mta-trace.o.zst");
    std::fs::write(&place, packed).unwrap_or_else(|error| panic!("{}: cannot be written: {error}", place.display()));
    println!("cargo::rustc-env=MTA_TRACE_OBJECT={}", place.display());
    println!("cargo::rustc-env=MTA_TRACE_OBJECT_BYTES={}", bytes.len());
}
