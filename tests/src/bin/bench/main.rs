//! What tracing costs: `bench [--short] [--assert] [--rounds N] [--messages N]`, called by `cargo xtask bench`, or `bench --instructions`.
//!
//! In comes a real sendmail under the load of Postfix's `smtp-source`, out goes a table of ratios: in each round every
//! variant has its turn, and is compared with the two untraced runs of the same round. Nothing sleeps for a fixed time:
//! tracers are waited for until they say that they are ready, and until they have ended.

mod account;
mod load;
mod log;
mod neighbour;
mod proc;
mod replay;
mod results;
mod tracer;
mod variant;

use anyhow::{Context as _, Result, bail};
use lab::{Lab, scenario::Scenario};
use load::Run;
use results::Results;
use std::{collections::BTreeMap, io::Write as _, process::ExitCode, time::Duration};
use variant::Variant;

/// Longest time that attaching, detaching, or one run may take.
const LIMIT: Duration = Duration::from_mins(2);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["--instructions"] {
        return ended(instructions());
    }
    ended(Options::parse(&arguments).and_then(|options| run(&options)))
}

/// What the calls of a neighbour come to, where a nanosecond is an instruction.
fn instructions() -> Result<()> {
    let lab = Lab::up(&Scenario::named("fast")?)?;
    print!("{}", neighbour::instructions(&lab)?);
    Ok(())
}

fn ended(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    rounds: usize,
    messages: usize,
    is_short: bool,
    is_asserting: bool,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let is_short = arguments.iter().any(|argument| argument == "--short");
        let (rounds, messages) = if is_short { (9, 200) } else { (11, 200) };
        let mut options = Self { rounds, messages, is_short, is_asserting: false };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut number = || -> Result<usize> {
                let text = rest.next().with_context(|| format!("{argument} needs a number"))?;
                text.parse().ok().filter(|n| *n > 0).with_context(|| format!("{argument}: `{text}` is no number above 0"))
            };
            match argument.as_str() {
                "--short" => {}
                "--assert" => options.is_asserting = true,
                "--rounds" => options.rounds = number()?,
                "--messages" => options.messages = number()?,
                _ => bail!("usage: bench [--short] [--assert] [--rounds N] [--messages N]"),
            }
        }
        Ok(options)
    }
}

fn run(options: &Options) -> Result<()> {
    let lab = Lab::up(&Scenario::named("fast")?)?;
    let variants = Variant::all(options.is_short);
    let (mut runs, mut loads) = (BTreeMap::<Variant, Vec<Run>>::new(), Vec::new());
    load::send(&lab, load::CLIENTS * 5).context("warm up")?;
    for round in 0..options.rounds {
        loads.push(proc::load_average()?);
        for turn in 0..variants.len() {
            // Each round begins with another one, so that nobody always follows strace.
            let Some(&variant) = variants.get((turn + round) % variants.len()) else { continue };
            let run = load::measure(&lab, variant, options.messages).with_context(|| variant.title().to_owned())?;
            eprintln!("round {}: {:<48} {:7.3} s", round + 1, variant.title(), run.wall_s);
            runs.entry(variant).or_default().push(run);
        }
    }
    let accounts = account::accounts(&lab)?;
    let (neighbours, replays) = if options.is_short { (Vec::new(), Vec::new()) } else { (neighbour::measure(&lab)?, replay::measure(&lab)?) };
    let results = Results { options, runs, accounts, loads, neighbours, replays };
    let text = results.markdown();
    let path = lab::packages::target_dir().join("bench.md");
    std::fs::write(&path, &text).with_context(|| format!("write {}", path.display()))?;
    // Whoever closed our output has what he wanted; the file is there.
    let _ = std::io::stdout().write_all(text.as_bytes());
    let problems = results.problems();
    if options.is_asserting && !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    for problem in &problems {
        eprintln!("bench: {problem}");
    }
    Ok(())
}
