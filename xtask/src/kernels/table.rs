//! `docs/kernels-measured.md`: which scenarios pass where, and the verifier's figures. Made of the results that are kept of the present object, so
//! that kernels can be run one at a time. Not here: what is to be said of them (`docs/kernels.md`).

use super::live;
use crate::{ebpf, shell::root};
use anyhow::{Context as _, ensure};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
};

/// Of a program's name, as the kernel has it.
const NAME_BYTES: usize = 15;
/// So many digits of the object's hash are told.
const DIGITS: usize = 12;

/// Columns by name, each with what stands in its rows.
type Columns = Vec<(String, BTreeMap<String, String>)>;

/// Writes it, and says which lines changed.
pub fn write() -> anyhow::Result<()> {
    let path = root().join("docs/kernels-measured.md");
    let before = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let (scenarios, figures) = columns()?;
    let object: String = ebpf::object_hash()?.chars().take(DIGITS).collect();
    let mut text = format!(
        "# Kernels, measured\n\nMade by `cargo xtask kernels`, of the eBPF object whose SHA-256 begins with `{object}`; \
         `mta-trace/bpf/mta-trace.stamp.json` has that of the present one.\n[kernels.md](kernels.md) says how.\n\n## Scenarios\n\n"
    );
    table(&mut text, "scenario", &with_sums(scenarios));
    text.push_str(
        "\n## The verifier's work\n\nInstructions that it walked through (its limit is 1,000,000) when it checked a program, states that it came to, and \
         bytes of stack of\nthe program and all functions that it calls (its limit is 512 for those in one chain of calls).\n\n",
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
            let read = |name: &str| fs::read_to_string(kernel.join(name)).with_context(|| format!("read what {release} said of the programs"));
            let figures_of = programs(&read("doctor")?, &read("verifier")?)?;
            figures.push((release, figures_of));
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

/// The verifier's figures by program: names and instructions as `doctor` tells them; states and stack depth out of the verifier's log, where
/// names end after 15 bytes, so that the instructions have to tell programs apart.
fn programs(doctor: &str, verifier: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut logs: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for (program, figures) in verifier.lines().filter_map(statistics) {
        let known = logs.entry(program).or_insert_with(|| figures.clone());
        ensure!(*known == figures, "{program:?} may be two programs, of {known} and of {figures}: tell the verifier's log in full names");
    }
    let figures = |line: &str| {
        let mut words = line.strip_prefix("program")?.split_whitespace();
        let (name, instructions) = (words.next()?, words.next()?);
        instructions.parse::<u64>().ok()?;
        let more = logs.get(&(name.get(..NAME_BYTES).unwrap_or(name), instructions)).map_or("- / -", String::as_str);
        Some((name.to_owned(), format!("{instructions} / {more}")))
    };
    Ok(doctor.lines().filter_map(figures).collect())
}

/// Of a program that was accepted: its short name and instructions, and `states / stack`.
fn statistics(line: &str) -> Option<((&str, &str), String)> {
    let behind = |word: &str| line.split_once(word)?.1.split_whitespace().next();
    let name = line.split(' ').next().filter(|name| !name.is_empty())?;
    let figures = format!("{} / {}", behind(" total_states ")?, stack_bytes(line));
    Some(((name, behind(" processed ")?), figures))
}

/// Of a program and its functions: `stack depth 208+0+56`, in 7.3 `stack 208` among what is said of each.
fn stack_bytes(line: &str) -> u32 {
    let pairs = line.split_whitespace().zip(line.split_whitespace().skip(1));
    let depths = pairs.filter(|(word, _)| matches!(*word, "depth" | "stack")).flat_map(|(_, depths)| depths.split('+'));
    depths.filter_map(|depth| depth.parse::<u32>().ok()).sum()
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

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str =
        "verification time 9 usec stack depth 64+0+8 processed 12 insns (limit 1000000) max_states_per_insn 1 total_states 3 peak_states 3";

    #[test]
    fn figures_of_doctor_and_verifier_are_joined() {
        let doctor = "ok kernel\nprogram  sys_exit_nanosleep   12 instructions verified\nprogram  request  7 instructions verified\n";
        let figures = programs(doctor, &format!("sys_exit_nanosl {LOG}\n {LOG}\nnot a log\n")).expect("figures");
        let wanted = [("request", "7 / - / -"), ("sys_exit_nanosleep", "12 / 3 / 72")];
        assert_eq!(figures.into_iter().collect::<Vec<_>>(), wanted.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }

    #[test]
    fn both_forms_of_stack_depth_are_read() {
        let new = "a verification time 3 usec stack depth max 352 subprog 0 (a) main insns_self 169 insns_total 1501 stack 344 subprog 1 (memset) \
                   static insns_self 12 insns_total 12 stack 8 processed 1501 insns";
        assert_eq!([LOG, new].map(stack_bytes), [72, 352]);
    }

    #[test]
    fn programs_that_cannot_be_told_apart_are_a_failure() {
        let other = LOG.replace("64+0", "80+0");
        assert!(programs("", &format!("sys_exit_rename {LOG}\nsys_exit_rename {other}\n")).is_err());
    }
}
