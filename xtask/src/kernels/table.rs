//! `docs/kernels.md`: which scenarios pass where, and the verifier's figures. Made of the results that are kept of the present object, so
//! that kernels can be run one at a time.

use super::live;
use crate::{ebpf, shell::root};
use anyhow::{Context as _, ensure};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
};

/// What stands above this line of the page is written by hand.
const FROM_HERE: &str = "<!-- From here on made by `cargo xtask kernels`. -->\n";

/// Columns by name, each with what stands in its rows.
type Columns = Vec<(String, BTreeMap<String, String>)>;

/// Writes it, and says which lines changed.
pub fn write() -> anyhow::Result<()> {
    let path = root().join("docs/kernels.md");
    let before = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let by_hand = before.split(FROM_HERE).next().unwrap_or_default();
    let (scenarios, figures) = columns()?;
    let mut text = format!("{by_hand}{FROM_HERE}\n## Scenarios\n\n");
    table(&mut text, "scenario", &with_sums(scenarios));
    text.push_str(
        "\n## The verifier's work\n\nInstructions that it walked through (its limit is 1,000,000) when it checked a program. States and stack depth are \
         not in it: the loader's\nlibrary asks for the verifier's log only when a program is refused.\n\n",
    );
    table(&mut text, "program", &figures);
    for line in text.lines().filter(|line| line.starts_with('|') && !before.contains(*line)) {
        println!("changed: {line}");
    }
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// Of scenarios, and of the verifier's figures.
fn columns() -> anyhow::Result<(Columns, Columns)> {
    let object = ebpf::object_hash()?;
    let (mut scenarios, mut figures) = (Columns::new(), Columns::new());
    let mut kernels: Vec<_> = fs::read_dir(live::results())?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    kernels.sort_by_key(|path| path.file_name().map(|name| super::packages::numbers(&name.to_string_lossy())));
    for kernel in kernels {
        let release = kernel.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut is_present = false;
        for back_end in super::BACK_ENDS {
            let kept = kernel.join(back_end);
            if fs::read_to_string(kept.join("object")).is_ok_and(|of| of.trim() == object) {
                is_present = true;
                let run = live::read_run(&kept)?;
                let passed = run.passed.into_iter().map(|name| (name, "pass".to_owned()));
                scenarios
                    .push((format!("{release} {back_end}"), passed.chain(run.failed.into_keys().map(|name| (name, "FAIL".to_owned()))).collect()));
            }
        }
        if is_present {
            figures.push((release, programs(&fs::read_to_string(kernel.join("doctor"))?)));
        }
    }
    ensure!(!figures.is_empty(), "no kernel gave results of the present object");
    Ok((scenarios, figures))
}

/// How many passed, in each head.
fn with_sums(scenarios: Columns) -> Columns {
    let sum = |(name, rows): (String, BTreeMap<String, String>)| {
        let passed = rows.values().filter(|result| *result == "pass").count();
        (format!("{name} ({passed}/{})", rows.len()), rows)
    };
    scenarios.into_iter().map(sum).collect()
}

/// Instructions that the verifier walked through, by program.
fn programs(doctor: &str) -> BTreeMap<String, String> {
    let figures = |line: &str| {
        let mut words = line.strip_prefix("program")?.split_whitespace();
        let (name, figure) = (words.next()?, words.next()?);
        figure.parse::<u64>().ok().map(|_| (name.to_owned(), figure.to_owned()))
    };
    doctor.lines().filter_map(figures).collect()
}

fn table(text: &mut String, of: &str, columns: &Columns) {
    let _ = write!(text, "| {of} |");
    for (head, _) in columns {
        let _ = write!(text, " {head} |");
    }
    text.push_str("\n|---|");
    text.push_str(&"---:|".repeat(columns.len()));
    text.push('\n');
    let names: BTreeSet<&String> = columns.iter().flat_map(|(_, rows)| rows.keys()).collect();
    for name in names {
        let _ = write!(text, "| {name} |");
        for (_, rows) in columns {
            let _ = write!(text, " {} |", rows.get(name).map_or("-", String::as_str));
        }
        text.push('\n');
    }
}
