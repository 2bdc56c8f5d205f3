//! Licences: the project's own, and those of the crates that are linked into the program, with their texts.
//!
//! In: what cargo says of the crates of the program (no build, tests or xtask), and the files beside their sources. Out: files in a folder.

use crate::shell::{output, root};
use anyhow::{Context as _, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Machine-readable, <https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/>.
pub const DEBIAN: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: mta-trace
Comment: The program is linked statically with the GNU C library (LGPL-2.1+) and
 with the Rust crates that are listed, with their licences, in third-party.txt
 beside this file.

Files: *
Copyright: 2026 The mta-trace authors
License: MIT or Apache-2.0
 The texts are LICENSE-MIT beside this file and
 /usr/share/common-licenses/Apache-2.0.

Files: mta-trace-ebpf/*
Copyright: 2026 The mta-trace authors
License: MIT or GPL-2
 The eBPF program that is part of the binary. The texts are LICENSE-MIT beside
 this file and /usr/share/common-licenses/GPL-2.
";

/// Writes them all into a folder.
pub fn put(place: &Path) -> anyhow::Result<()> {
    for name in ["LICENSE-MIT", "LICENSE-APACHE"] {
        super::copy(&root().join(name), &place.join(name), 0o644)?;
    }
    super::write(&place.join("third-party.txt"), third_party()?.as_bytes())
}

struct Crate {
    name: String,
    licence: String,
    folder: std::path::PathBuf,
}

/// A list of crates, and behind it each text once, with the crates that have it.
fn third_party() -> anyhow::Result<String> {
    let crates = crates()?;
    let mut text = "The crates that are linked into mta-trace, and their licences. Beside them: Rust's standard library (MIT OR Apache-2.0)\n\
                    and, in what `cargo xtask dist` makes, the GNU C library (LGPL-2.1-or-later).\n\n"
        .to_owned();
    let mut texts: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for Crate { name, licence, folder } in &crates {
        writeln!(text, "{name:<32} {licence}")?;
        for path in super::files_of(folder)? {
            let file = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
            if ["LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT"].iter().any(|it| file.starts_with(it)) {
                let found = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
                texts.entry(String::from_utf8_lossy(&found).trim().to_owned()).or_default().insert(name);
            }
        }
    }
    for (found, names) in texts {
        let names: Vec<&str> = names.into_iter().collect();
        write!(text, "\n{}\n{}\n\n{found}\n", "=".repeat(80), names.join(", "))?;
    }
    Ok(text)
}

/// What this machine is called; of crates for others cargo has no sources here.
fn host() -> anyhow::Result<String> {
    let text = output(Command::new("rustc").arg("-vV"))?;
    text.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned).context("rustc -vV names no host")
}

/// Those of the program that are not ours.
fn crates() -> anyhow::Result<Vec<Crate>> {
    let linked = output(crate::shell::cargo().args([
        "tree",
        "--package",
        "mta-trace",
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]))?;
    let linked: BTreeSet<String> =
        linked.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned() + " " + line.split(' ').nth(1)?.trim_start_matches('v'))).collect();
    let metadata = output(crate::shell::cargo().args(["metadata", "--format-version", "1", "--filter-platform", &host()?]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("read cargo's metadata")?;
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().context("packages")? {
        let word = |key: &str| package[key].as_str().unwrap_or_default();
        let name = format!("{} {}", word("name"), word("version"));
        let folder = Path::new(word("manifest_path")).parent().context("a folder")?.to_owned();
        if linked.contains(&name) && !folder.starts_with(root()) {
            found.push(Crate { name, licence: word("license").to_owned(), folder });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    ensure!(found.len() > 20, "cargo names only {} crates: is its output another?", found.len());
    ensure!(found.iter().all(|it| !it.licence.is_empty()), "a crate has no licence");
    Ok(found)
}
