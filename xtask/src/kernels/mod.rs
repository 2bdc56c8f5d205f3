//! The tests on the kernels that people run: `cargo xtask kernels`. Each in a virtual machine, with each back end, without installing
//! anything; the verifier's figures go into `docs/kernels.md`.

mod machine;
mod packages;

use crate::{
    setup,
    shell::{output, root, run},
};
use anyhow::{Context as _, bail, ensure};
use machine::Ended;
use packages::{Kernel, Tools};
use std::{collections::BTreeMap, fmt::Write as _, fs, process::Command, time::Duration};

/// What the task was asked for.
#[derive(clap::Args)]
pub struct Options {
    /// Series such as 6.1; may be repeated [default: 5.10, 6.1, 6.12 and newer]
    #[arg(long = "kernel", value_name = "SERIES")]
    kernels: Vec<String>,
    /// Only 6.1 and 6.12, one scenario each; for the tests
    #[arg(long)]
    short: bool,
    /// Only scenarios whose name contains this
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
}

/// What Debian offers, oldest first; 5.10 cannot run it and has to say so.
const SERIES: [&str; 5] = ["5.10", "6.1", "6.12", "6.18", "7.3"];
const SHORT: [&str; 2] = ["6.1", "6.12"];
const SHORT_SCENARIO: &str = "ident-slow";
/// The first kernel that has what the object needs.
const OLDEST: (u64, u64) = (5, 17);
const BACK_ENDS: [&str; 2] = ["fentry", "tracepoint"];
const LIMIT: Duration = Duration::from_mins(20);

/// Runs it; how many runs were good.
pub fn measure(options: &Options) -> anyhow::Result<u64> {
    setup::lab()?;
    run(Command::new("cargo").args(["build", "--quiet", "--release", "--package", "mta-trace"]))?;
    let live = live_test()?;
    let tools = Tools::get()?;
    let series: Vec<&str> = match (options.short, options.kernels.as_slice()) {
        (true, _) => SHORT.to_vec(),
        (false, []) => SERIES.to_vec(),
        (false, some) => some.iter().map(String::as_str).collect(),
    };
    let scenario = options.scenario.as_deref().or(options.short.then_some(SHORT_SCENARIO));
    let (mut figures, mut retries, mut bad, mut good) = (BTreeMap::new(), 0, Vec::new(), 0);
    for series in series {
        let Some(kernel) = Kernel::get(series, &tools)? else {
            println!("{series}: the mirror has no such kernel");
            continue;
        };
        let doctor = machine::run(&kernel, &tools, "target/release/mta-trace doctor --programs", LIMIT)?;
        retries += doctor.retries;
        if !is_able(&kernel.release) {
            bad.extend(refuses(&kernel, &doctor).err().map(|error| format!("{error:#}")));
            good += 1;
            continue;
        }
        if doctor.status != 0 {
            bad.push(format!("{}: doctor: {}{}", kernel.release, doctor.stdout, doctor.stderr));
            continue;
        }
        figures.insert(kernel.release.clone(), programs(&doctor.stdout));
        for back_end in BACK_ENDS {
            let command = format!("MTA_TRACE_HOOKS={back_end} MTA_TRACE_EMULATED=1 CI=true '{live}' --color never {}", scenario.unwrap_or_default());
            let ended = machine::run(&kernel, &tools, &command, LIMIT)?;
            retries += ended.retries;
            let closing = ended.stdout.lines().rev().find(|line| line.starts_with("test result: ")).unwrap_or("no result").to_owned();
            println!("{}, {back_end}: {closing} ({:.0} s)", kernel.release, ended.time.as_secs_f64());
            if ended.status == 0 && closing.contains("ok.") {
                good += 1;
            } else {
                bad.push(format!("{}, {back_end}: {}{}", kernel.release, ended.stdout, ended.stderr));
            }
        }
    }
    println!("boots that had to be repeated: {retries}");
    ensure!(bad.is_empty(), "{}", bad.join("\n"));
    if !options.short && options.kernels.is_empty() {
        write_table(&figures, scenario)?;
    }
    Ok(good)
}

fn is_able(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse::<u64>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= OLDEST
}

/// A kernel that is too old is refused in clear words.
fn refuses(kernel: &Kernel, doctor: &Ended) -> anyhow::Result<()> {
    let says = doctor.stdout.lines().find(|line| line.contains("MISSING  kernel"));
    ensure!(doctor.status == 3 && says.is_some(), "{}: not refused: {}{}", kernel.release, doctor.stdout, doctor.stderr);
    println!("{}: refused: {}", kernel.release, says.unwrap_or_default());
    Ok(())
}

/// Path of the live test, built.
fn live_test() -> anyhow::Result<String> {
    let build = ["test", "--quiet", "--package", "mta-trace-tests", "--test", "live", "--no-run", "--message-format=json"];
    let messages = output(Command::new("cargo").args(build))?;
    let paths = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    // The binaries that a test may call are built and named too.
    let mut tests = paths.filter(|message| message.pointer("/target/name").is_some_and(|name| name == "live"));
    let found = tests.find_map(|message| Some(message.get("executable")?.as_str()?.to_owned()));
    let path = found.context("cargo names no live test")?;
    // Puts the packages of the lab where the machines find them, and shows that the lab works here.
    run(Command::new(&path).arg(SHORT_SCENARIO))?;
    Ok(path)
}

/// Instructions that the verifier walked through, by program.
fn programs(doctor: &str) -> BTreeMap<String, u64> {
    let figures = |line: &str| {
        let mut words = line.strip_prefix("program")?.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    };
    doctor.lines().filter_map(figures).collect()
}

/// Writes the table, and says what changed.
fn write_table(figures: &BTreeMap<String, BTreeMap<String, u64>>, scenario: Option<&str>) -> anyhow::Result<()> {
    let path = root().join("docs/kernels.md");
    let tests = scenario.map_or("all live tests pass".to_owned(), |name| format!("the live test `{name}` passes"));
    let mut text = format!(
        "# Kernels\n\nMade by `cargo xtask kernels`: {tests} on these kernels of Debian with both back ends, in a virtual machine. Figures: \
         instructions that the\nverifier walked through (its limit is 1,000,000) when it checked a program. States and stack depth are not in it: the \
         loader's library\nasks for the verifier's log only when a program is refused.\n\n| program |"
    );
    for release in figures.keys() {
        let _ = write!(text, " {release} |");
    }
    text.push_str("\n|---|");
    text.push_str(&"---:|".repeat(figures.len()));
    text.push('\n');
    let mut names: Vec<&String> = figures.values().flat_map(BTreeMap::keys).collect();
    names.sort();
    names.dedup();
    for name in names {
        let _ = write!(text, "| {name} |");
        for of_kernel in figures.values() {
            let _ = write!(text, " {} |", of_kernel.get(name).map_or("-".to_owned(), u64::to_string));
        }
        text.push('\n');
    }
    let before = fs::read_to_string(&path).unwrap_or_default();
    for line in text.lines().filter(|line| line.starts_with('|') && !before.contains(*line)) {
        println!("changed: {line}");
    }
    if figures.is_empty() {
        bail!("no kernel gave figures");
    }
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}
