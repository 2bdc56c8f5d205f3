//! Installs what is needed: Debian packages for the lab and for the eBPF build, bpf-linker from its source.

use crate::shell::{has, root, run};
use anyhow::{Context as _, bail};
use std::{path::PathBuf, process::Command};

/// Packages that make the object: rustc with the source of `core`, and the LLVM that bpf-linker was built for.
const EBPF: &[&str] = &["rustc-web", "cargo-web", "rust-web-src", "llvm-22-dev"];

/// Version of bpf-linker.
pub const BPF_LINKER: &str = "0.13.0";

/// The task `setup`: everything.
pub fn run_task() -> anyhow::Result<()> {
    lab()?;
    ebpf()
}

/// What the live tests need: the lab knows it.
pub fn lab() -> anyhow::Result<()> {
    run(crate::shell::cargo().args(["run", "--quiet", "--package", "mta-trace-tests", "--bin", "lab", "--", "setup"]))
}

/// What building the object needs.
pub fn ebpf() -> anyhow::Result<()> {
    if !PathBuf::from("/usr/lib/llvm-22/bin/llvm-config").is_file() || !PathBuf::from("/usr/bin/cargo").is_file() {
        install(EBPF)?;
    }
    if !bpf_linker().is_file() {
        run(crate::shell::cargo()
            .args(["install", "bpf-linker", "--version", BPF_LINKER, "--no-default-features", "--features", "llvm-22", "--root"])
            .arg(tools())
            .env("PATH", format!("/usr/lib/llvm-22/bin:{}", std::env::var("PATH").unwrap_or_default()))
            .env("LLVM_PREFIX", "/usr/lib/llvm-22"))?;
    }
    Ok(())
}

/// What building the fuzz targets needs: libFuzzer is C++.
pub fn fuzz() -> anyhow::Result<()> {
    if has("c++") { Ok(()) } else { install(&["g++"]) }
}

fn tools() -> PathBuf {
    root().join("target/tools")
}

/// Where bpf-linker is, or is going to be.
pub fn bpf_linker() -> PathBuf {
    tools().join("bin/bpf-linker")
}

fn install(packages: &[&str]) -> anyhow::Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    if !has("apt-get") {
        bail!("this machine has no apt-get; please install what these Debian packages hold: {}", packages.join(", "));
    }
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    run(Command::new("apt-get").args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages).env("DEBIAN_FRONTEND", "noninteractive"))
        .context("as root, `cargo xtask setup` installs packages by apt-get")
}
