//! Says which eBPF object is built in: the path in `MTA_TRACE_EBPF_OBJECT`, else the committed one. So
//! `cargo build` needs stable Rust and nothing else.

fn main() {
    println!("cargo::rerun-if-env-changed=MTA_TRACE_EBPF_OBJECT");
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let committed = format!("{folder}/bpf/mta-trace.o");
    let object = std::env::var("MTA_TRACE_EBPF_OBJECT").unwrap_or(committed);
    println!("cargo::rerun-if-changed={object}");
    println!("cargo::rustc-env=MTA_TRACE_OBJECT={object}");
}
