//! Every command in the documents is known: those of this program are understood by it, and what reads a log is run on one; each of the others is run by a test that is named
//! here. Commands that trace are run in `bad_input/documents.rs`, exports that need a receiver or a feature in `exports/`.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use lab::documents::{self, commands};

/// How a line begins that is no command of this program, and what runs it.
const ELSEWHERE: &[(&str, &str)] = &[
    ("cargo build --release", "every part of `cargo xtask test`"),
    ("cargo xtask test", "CI, and with `--only` whoever works on a part"),
    ("cargo xtask demo", "the part `demo`"),
    ("cargo xtask bench", "the part `bench`, in its short form"),
    ("cargo test -p mta-trace --test export &&", "the parts `unit` and `exports`"),
    ("cargo test -p mta-trace", "the part `unit`"),
    ("cargo install --locked --path mta-trace", "the part `dist`"),
    ("cargo uninstall mta-trace", "takes away what `cargo install` has put there; nothing of ours"),
    ("cargo rustc --release --package mta-trace", "the part `dist`, which makes the static program"),
    ("install -m 0755 target/release/mta-trace", "coreutils; `dist` installs packages"),
    ("dpkg ", "the part `dist`, in a root file system of its own"),
    ("rpm ", "the part `dist`, in a root file system of its own"),
    ("tar -xf mta-trace-", "the part `dist`"),
    ("chgrp adm ", "coreutils, on a file that packages install; `dist` tries the capabilities behind it"),
    ("chown \"$USER\" slow.jsonl", "coreutils"),
    ("setcap ", "the part `dist`"),
    ("duckdb -c ", "`exports/pages.rs`"),
    ("grep -c -i -e example.com ", "`exports/pages.rs`"),
    ("wc -l < slow-otlp.jsonl", "`exports/pages.rs`"),
    ("ls ", "`exports/`"),
    ("strace-log-merge ", "`exports/pages.rs`"),
    ("ssh mail ", "the words behind it are checked as all others"),
];

/// What documents call the logs in their examples, and the golden log of that.
const LOGS: &[(&str, &str)] = &[("slow.jsonl", "ptr-and-ident-silent"), ("after.jsonl", "fast"), ("before.jsonl", "ptr-and-ident-silent")];

/// Checks them all.
pub fn are_known(program: &Path) -> Result<()> {
    let all = commands()?;
    ensure!(all.len() > 30, "only {} commands were found in the documents", all.len());
    let folder = folder()?;
    for command in &all {
        let documents::Command { document, line } = command;
        match command.arguments() {
            Some(arguments) => {
                let words = std::iter::once("mta-trace".to_owned()).chain(arguments.clone());
                mta_trace::cli::command().try_get_matches_from(words).with_context(|| format!("{document}: {line}"))?;
                if arguments.first().is_some_and(|word| matches!(word.as_str(), "report" | "diff")) && !line.contains("send-me.jsonl") {
                    run(program, &folder, line).with_context(|| format!("{document}: {line}"))?;
                } else if arguments.first().is_some_and(|word| word == "export") && !line.contains("--endpoint") && !line.contains("parquet") {
                    // What its output goes into is somebody else's program.
                    let own = line.split(" | ").next().unwrap_or_default();
                    run(program, &folder, own).with_context(|| format!("{document}: {line}"))?;
                }
            }
            None => ensure!(
                ELSEWHERE.iter().any(|(begin, _)| line.starts_with(begin)),
                "{document}: no test runs `{line}`: name the one that does in tests/tests/replay/commands.rs"
            ),
        }
    }
    for (begin, _) in ELSEWHERE {
        ensure!(all.iter().any(|command| command.line.starts_with(begin)), "no document has a command that begins with `{begin}` any more");
    }
    Ok(())
}

/// Every relative link of the documents leads to a file.
pub fn links_lead_somewhere() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut count = 0;
    for document in documents::pages()? {
        let text = std::fs::read_to_string(root.join(&document)).with_context(|| format!("read {}", document.display()))?;
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") || file.contains(char::is_whitespace) {
                continue;
            }
            let target = root.join(document.parent().unwrap_or(Path::new(""))).join(file);
            ensure!(target.exists(), "{}: {link} leads nowhere", document.display());
            count += 1;
        }
    }
    ensure!(count > 50, "only {count} links were found");
    Ok(())
}

fn folder() -> Result<std::path::PathBuf> {
    let folder = lab::packages::target_dir().join("documents");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).context("make a folder")?;
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("replay");
    for (name, scenario) in LOGS {
        std::fs::copy(golden.join(format!("{scenario}.jsonl")), folder.join(name)).with_context(|| format!("copy {scenario}"))?;
    }
    Ok(folder)
}

/// As a shell does it; what it writes is gone before the next line.
fn run(program: &Path, folder: &Path, line: &str) -> Result<()> {
    let place = program.parent().context("folder of the program")?.display();
    let path = format!("{place}:{}", std::env::var("PATH").unwrap_or_default());
    let output = Command::new("sh").args(["-c", line]).current_dir(folder).env("PATH", path).stdin(Stdio::null()).output().context("run it")?;
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    for entry in std::fs::read_dir(folder).context("list the folder")?.flatten() {
        let name = entry.file_name();
        if !LOGS.iter().any(|(known, _)| name.to_str() == Some(known)) {
            std::fs::remove_file(entry.path()).or_else(|_| std::fs::remove_dir_all(entry.path())).context("remove what it wrote")?;
        }
    }
    Ok(())
}
