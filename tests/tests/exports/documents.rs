//! The examples of `docs/exports.md` and `docs/open-in-perfetto.md`: what is shown is what comes out.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

fn document(name: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("replay").join(name).with_extension("jsonl")
}

/// What stands between fences with this word.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let begin = format!("```{language}\n");
    text.split(&begin).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// Each command behind a `$` is run, in the document's order and in one folder; what follows it is what it prints.
pub fn commands_print_what_is_shown() -> Result<()> {
    let folder = super::folder("documents")?;
    std::fs::copy(golden("ident-slow"), folder.join("slow.jsonl")).context("copy the log")?;
    let tracer = lab::run::tracer_path()?;
    let programs = tracer.canonicalize().context("the program")?.parent().context("its folder")?.to_owned();
    let path = std::env::join_paths(std::iter::once(programs).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())))?;
    let text = document("exports.md")?;
    let mut count = 0;
    for block in blocks(&text, "console") {
        for example in block.split("$ ").filter(|example| !example.trim().is_empty()) {
            let (command, expected) = example.split_once('\n').context("a command has a line of its own")?;
            let output = Command::new("sh").args(["-c", command]).current_dir(&folder).env("PATH", &path).stdin(Stdio::null()).output()?;
            let said = String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n");
            ensure!(
                output.status.success() && said == expected,
                "{command}\nprints\n{said}instead of\n{expected}{}",
                String::from_utf8_lossy(&output.stderr)
            );
            count += 1;
        }
    }
    ensure!(count >= 6, "only {count} commands in the document");
    Ok(())
}

/// The tree is the script's, of the scenario that the page names.
pub fn the_tree_is_true() -> Result<()> {
    let folder = super::folder("tree")?;
    let to = folder.join("trace");
    let log = std::fs::read(golden("postfix-milter-opendkim")).context("read the log")?;
    super::export(&log, "perfetto", super::golden::output("perfetto", &to)?)?;
    let python = lab::python::with(super::golden::PERFETTO)?;
    let said = super::check(Command::new(python).arg(super::script("check_perfetto.py")).args(["--tree", "--long"]).arg(&to))?;
    let text = document("open-in-perfetto.md")?;
    let blocks = blocks(&text, "text");
    let shown = blocks.first().context("the page has no tree")?;
    ensure!(said == **shown, "the page shows another tree than\n{said}");
    Ok(())
}
