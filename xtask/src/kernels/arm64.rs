//! What a machine of another architecture needs: a system's tree of Debian packages for it, and tracer and live test built for it here.
//!
//! The object is the same one; only what runs beside the kernel is built again. Nothing is installed, the compiler is unpacked too.

use super::packages::{self, Arch, Tools, cache, fresh};
use crate::shell::{output, root, run};
use anyhow::Context as _;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

const TARGET: &str = "aarch64-unknown-linux-gnu";
/// The system: a shell, what the lab runs, and by their dependencies the libraries of the mail servers.
const SYSTEM: [&str; 13] = [
    "dash",
    "bash",
    "coreutils",
    "busybox-static",
    "iproute2",
    "nftables",
    "openssl",
    "libc-bin",
    "libsasl2-modules",
    "sendmail-bin",
    "sensible-mda",
    "m4",
    "exim4-daemon-heavy",
];
/// What the lab unpacks for itself, where it has an apt to ask, by folder.
const OF_LAB: [(&str, &[&str]); 2] =
    [("sendmail", &["sendmail-bin", "sendmail-base", "sendmail-cf", "sensible-mda", "m4"]), ("exim", &["exim4-daemon-heavy", "exim4-base"])];

/// Paths below the repository.
pub struct Built {
    /// The tracer.
    pub tracer: String,
    /// The live test.
    pub live: String,
    /// The library that keeps the verifier's statistics.
    pub verifier_log: String,
    /// The lab's packages.
    pub lab_cache: String,
}

/// Unpacks and builds what is missing.
pub fn get(tools: &Tools) -> anyhow::Result<Built> {
    let lab_cache = system()?;
    let linker = linker(tools)?;
    run(Command::new("rustup").args(["target", "add", TARGET]))?;
    let cargo = |args: &[&str]| {
        let mut command = crate::shell::cargo();
        command.args(args).args(["--target", TARGET]);
        command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", &linker).env("CC_aarch64_unknown_linux_gnu", &linker);
        command.env("AR_aarch64_unknown_linux_gnu", linker.with_file_name("ar"));
        command
    };
    run(&mut cargo(&["build", "--quiet", "--release", "--package", "mta-trace"]))?;
    let built = |args: &[&str], name| super::product(&output(&mut cargo(args))?, name);
    Ok(Built {
        tracer: format!("target/{TARGET}/release/mta-trace"),
        live: built(&super::LIVE_TEST, "live")?,
        verifier_log: built(&super::VERIFIER_LOG, "verifier_log")?,
        lab_cache,
    })
}

/// The tree, and beside it the lab's packages.
fn system() -> anyhow::Result<String> {
    let (tree, lab) = (Tools::system(Arch::Arm64), cache().join("arm64/lab-cache"));
    let complete = cache().join("arm64/complete-2");
    if !complete.is_file() {
        let debs = packages::fetch(Arch::Arm64, &SYSTEM)?;
        fresh(&tree)?;
        packages::unpack_all(&debs, &tree)?;
        for (folder, wanted) in OF_LAB {
            let debs = fresh(&cache().join("arm64/debs"))?;
            for package in wanted {
                packages::download(Arch::Arm64, None, package, &debs)?;
            }
            packages::unpack_all(&debs, &fresh(&lab.join(folder))?)?;
        }
        // The lab asks for this one too; no scenario runs it.
        fresh(&lab.join("postfix"))?;
        // The loader ignores LD_LIBRARY_PATH for programs with setuid or setgid bits.
        run(Command::new("chmod").args(["-R", "ug-s"]).arg(&lab))?;
        fs::write(complete, "")?;
    }
    let lab = lab.strip_prefix(root()).context("the cache is in the repository")?;
    Ok(lab.display().to_string())
}

/// The unpacked compiler, by scripts that tell it and its archiver where they are.
fn linker(tools: &Tools) -> anyhow::Result<PathBuf> {
    let folder = cache().join("arm64/bin");
    fs::create_dir_all(&folder)?;
    for (name, program, options) in
        [("cc", "aarch64-linux-gnu-gcc", format!("--sysroot='{}'", tools.root().display())), ("ar", "aarch64-linux-gnu-ar", String::new())]
    {
        script(
            &folder.join(name),
            &format!("LD_LIBRARY_PATH='{}' exec '{}' {options} \"$@\"", tools.libraries(), tools.find(&[&format!("usr/bin/{program}")])?.display()),
        )?;
    }
    Ok(folder.join("cc"))
}

fn script(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, format!("#!/bin/sh\n{text}\n"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).with_context(|| format!("make {} executable", path.display()))
}
