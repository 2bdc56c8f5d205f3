//! The committed eBPF object: built, stamped, checked.
//!
//! The stamp holds a hash of the sources that the object was made of, a hash of the object, and the versions of the tools; so a
//! test can tell without any tool whether source and object belong together.

use crate::{
    setup,
    shell::{output, root, run},
};
use anyhow::{Context as _, ensure};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{fs, path::PathBuf, process::Command};

const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";
const OBJDUMP: &str = "/usr/lib/llvm-22/bin/llvm-objdump";
const STRIP: &str = "/usr/lib/llvm-22/bin/llvm-objcopy";

/// Stands in every path of a crate's source below an ordinary cargo's home.
const REGISTRY: &[u8] = b"/.cargo/registry/";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    /// SHA-256 over the sources of mta-trace-ebpf and mta-trace-common, in the order of their paths.
    sources: String,
    /// SHA-256 of the object.
    object: String,
    rustc: String,
    bpf_linker: String,
}

fn object_path() -> PathBuf {
    root().join("mta-trace/bpf/mta-trace.o")
}

fn stamp_path() -> PathBuf {
    root().join("mta-trace/bpf/mta-trace.stamp.json")
}

/// Builds the object, writes it and its stamp.
pub fn build() -> anyhow::Result<()> {
    let bytes = compile(&[])?;
    inspect(&bytes)?;
    fs::write(object_path(), &bytes)?;
    let stamp = Stamp { sources: sources()?, object: hash(&bytes), rustc: rustc_version()?, bpf_linker: setup::BPF_LINKER.into() };
    fs::write(stamp_path(), serde_json::to_string_pretty(&stamp)? + "\n")?;
    println!("{}: {} bytes, {}", object_path().display(), bytes.len(), stamp.rustc);
    verify()
}

/// Rebuilds, and compares with the committed object: the instructions, or where the compiler is another one the behaviour.
pub fn check() -> anyhow::Result<()> {
    verify()?;
    let stamp = stamp()?;
    let bytes = compile(&[])?;
    inspect(&bytes)?;
    let rebuilt = root().join("target/ebpf/rebuilt.o");
    fs::write(&rebuilt, &bytes)?;
    let rustc = rustc_version()?;
    if stamp.rustc != rustc {
        println!("the stamp was made by {}, this is {rustc}: the live tests judge the rebuilt object", stamp.rustc);
        return live_tests(&rebuilt);
    }
    ensure!(
        disassembly(&object_path())? == disassembly(&rebuilt)?,
        "the rebuilt object has other instructions than the committed one; run `cargo xtask ebpf`"
    );
    println!("the rebuilt object has the same instructions as the committed one");
    Ok(())
}

/// Runs the live tests with another object, in a build folder of its own.
fn live_tests(object: &std::path::Path) -> anyhow::Result<()> {
    setup::lab()?;
    let target = root().join("target/rebuilt");
    let build = ["build", "--quiet", "--release", "--package", "mta-trace", "--target-dir"];
    run(crate::shell::cargo().args(build).arg(&target).env("MTA_TRACE_EBPF_OBJECT", object))?;
    let test = ["test", "--package", "mta-trace-tests", "--test", "live"];
    run(crate::shell::cargo().args(test).env("MTA_TRACE_BIN", target.join("release/mta-trace")))
}

/// Checks without tools that stamp, sources and object belong together.
pub fn verify() -> anyhow::Result<()> {
    let stamp = stamp()?;
    let bytes = fs::read(object_path())?;
    ensure!(stamp.object == hash(&bytes), "mta-trace/bpf: the object is not the one of its stamp; run `cargo xtask ebpf`");
    ensure!(stamp.sources == sources()?, "mta-trace/bpf: the sources have changed since the object was built; run `cargo xtask ebpf`");
    inspect(&bytes)
}

/// Hash of the committed object.
pub fn object_hash() -> anyhow::Result<String> {
    Ok(stamp()?.object)
}

fn stamp() -> anyhow::Result<Stamp> {
    let path = stamp_path();
    let text = fs::read_to_string(&path).with_context(|| format!("{}: cannot be read; run `cargo xtask ebpf`", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{}", path.display()))
}

fn rustc_version() -> anyhow::Result<String> {
    output(Command::new(RUSTC).arg("--version"))
}

/// Builds an object that tells what the kernel side does (feature `log`), beside the committed one; says how it is used.
pub fn build_with_log() -> anyhow::Result<()> {
    let bytes = compile(&["--features", "log"])?;
    let path = root().join("target/ebpf/mta-trace-log.o");
    fs::write(&path, &bytes)?;
    println!("MTA_TRACE_EBPF_OBJECT={} cargo build --package mta-trace --features kernel-log", path.display());
    Ok(())
}

fn compile(features: &[&str]) -> anyhow::Result<Vec<u8>> {
    setup::ebpf()?;
    let target = root().join("target/ebpf");
    let linker = setup::bpf_linker();
    let source = root();
    // BTF names the files of its types: where they lie on this machine is nobody's affair.
    let flags = format!(
        "-C linker={} -C link-arg=--btf -C debuginfo=2 --remap-path-prefix={}=. --remap-path-prefix={}=/cargo --cfg=bpf_target_arch=\"{}\"",
        linker.display(),
        source.display(),
        crate::shell::cargo_home()?.display(),
        std::env::consts::ARCH
    );
    run(Command::new(CARGO)
        .args([
            "build",
            "--quiet",
            "--release",
            "-Z",
            "build-std=core",
            "--target",
            "bpfel-unknown-none",
            "--package",
            "mta-trace-ebpf",
            "--target-dir",
        ])
        .arg(&target)
        .args(features)
        .env("RUSTC", RUSTC)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", flags)
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO"))?;
    let built = target.join("bpfel-unknown-none/release/mta-trace");
    let stripped = target.join("mta-trace.o");
    run(Command::new(STRIP).arg("--strip-debug").arg(&built).arg(&stripped))?;
    let without_lines = target.join("mta-trace.btf-ext");
    fs::write(&without_lines, without_line_info(&fs::read(&stripped)?)?)?;
    run(Command::new(STRIP).arg("--update-section").arg(format!(".BTF.ext={}", without_lines.display())).arg(&stripped))?;
    Ok(fs::read(&stripped)?)
}

/// The section `.BTF.ext` without its line information (`struct btf_ext_header`, Documentation/bpf/btf.rst): it serves only the verifier's
/// log, and the loader keeps a copy of a section's lines for each of its programs, 20 MiB in all.
fn without_line_info(object: &[u8]) -> anyhow::Result<Vec<u8>> {
    const LINE_INFO_OFFSET: usize = 16;
    const LINE_INFO_LENGTH: usize = 20;
    /// Of relocations, which rustc does not make; they stand behind.
    const CORE_RELO_OFFSET: usize = 24;
    let file = object::File::parse(object).context("the object is no ELF file")?;
    let mut bytes = file.section_by_name(".BTF.ext").context("the object has no section .BTF.ext")?.data()?.to_vec();
    let word = |bytes: &[u8], at: usize| -> anyhow::Result<usize> {
        let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).context(".BTF.ext is cut")?;
        Ok(usize::try_from(u32::from_le_bytes(word))?)
    };
    let (head, offset, length) = (word(&bytes, 4)?, word(&bytes, LINE_INFO_OFFSET)?, word(&bytes, LINE_INFO_LENGTH)?);
    let begin = head + offset;
    ensure!(begin + length == bytes.len(), ".BTF.ext has something behind its line information");
    // The size of a record stays, no record does.
    bytes.truncate(begin + 4);
    let mut set = |at: usize, word: usize| -> anyhow::Result<()> {
        bytes.get_mut(at..at + 4).context(".BTF.ext is cut")?.copy_from_slice(&u32::try_from(word)?.to_le_bytes());
        Ok(())
    };
    set(LINE_INFO_LENGTH, 4)?;
    if head > CORE_RELO_OFFSET {
        set(CORE_RELO_OFFSET, offset + 4)?;
    }
    Ok(bytes)
}

fn sources() -> anyhow::Result<String> {
    let mut files = Vec::new();
    for folder in ["mta-trace-ebpf", "mta-trace-common"] {
        collect(&root().join(folder), &mut files)?;
    }
    files.sort();
    let mut hasher = Sha256::new();
    for file in files {
        let name = file.strip_prefix(root())?.to_string_lossy().into_owned();
        let bytes = fs::read(&file)?;
        hasher.update(format!("{name} {}\n", bytes.len()));
        hasher.update(bytes);
    }
    Ok(hex(&hasher.finalize()))
}

fn collect(folder: &std::path::Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn disassembly(path: &std::path::Path) -> anyhow::Result<String> {
    let text = output(Command::new(OBJDUMP).args(["-d", "-r", "--no-show-raw-insn"]).arg(path))?;
    Ok(text.lines().filter(|line| !line.contains("file format")).collect::<Vec<_>>().join("\n"))
}

/// Sections, maps and BTF that must be there; and no panic path: the panic handler is a loop that the linker drops when nobody
/// can reach it.
fn inspect(bytes: &[u8]) -> anyhow::Result<()> {
    let file = object::File::parse(bytes).context("the object is no ELF file")?;
    for section in [
        ".BTF",
        ".BTF.ext",
        "maps",
        "license",
        ".rodata",
        "raw_tp/sys_enter",
        "tp_btf/sys_exit",
        "fexit",
        "tp_btf/sched_switch",
        "tp_btf/sched_process_fork",
    ] {
        ensure!(file.section_by_name(section).is_some(), "the object has no section {section}");
    }
    let license = file.section_by_name("license").context("license")?.data()?;
    ensure!(license == b"Dual MIT/GPL\0", "the object's license is {:?}", String::from_utf8_lossy(license));
    for map in ["BITS", "THREADS", "CALLS", "HANDLERS", "SESSIONS", "PEERS", "FILTERS", "EVENTS", "LOSS"] {
        ensure!(file.symbols().any(|symbol| symbol.name() == Ok(map)), "the object has no map {map}");
    }
    ensure!(file.symbols().all(|symbol| symbol.name() != Ok("AYA_LOGS")), "the object has the diagnostics of a development build");
    let names_home = bytes.windows(REGISTRY.len()).any(|window| window == REGISTRY);
    ensure!(!names_home, "the object names files below cargo's home on the machine that made it");
    for symbol in file.symbols() {
        let name = symbol.name().unwrap_or_default();
        ensure!(!name.contains("panic"), "the object has a panic path: {name}");
    }
    Ok(())
}
