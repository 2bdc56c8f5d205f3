//! A load with a tracer, and tracers that are killed under a full one: `soak [--minutes N] [--clients N] [--kills N]`, called by
//! `cargo xtask soak`; without arguments half a minute of full load.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use lab::{
    Lab, kills,
    load::{self, Clients},
    scenario::Scenario,
    soak::{self, Plan},
};

/// The short form.
const SHORT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let (mut time, mut clients, mut kills, mut seed) = (SHORT, load::FULL, 0, None);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let text = rest.next().with_context(|| format!("{argument} needs a number"))?;
        let number: u64 = text.parse().with_context(|| format!("{argument}: `{text}` is no number"))?;
        match argument.as_str() {
            "--minutes" => time = Duration::from_secs(number * 60),
            "--clients" => clients = Clients(usize::try_from(number)?),
            "--kills" => kills = usize::try_from(number)?,
            "--seed" => seed = Some(number),
            _ => bail!("usage: soak [--minutes N [--clients N]] [--kills N [--seed N]]"),
        }
    }
    if !time.is_zero() {
        let lab = lab("soak")?;
        println!("{}", soak::run(&lab, Plan { time, clients, may_lose: false })?);
    }
    if kills > 0 {
        // Other moments each time; an error names them.
        let seed = seed.unwrap_or_else(lab::journal::now_ns);
        println!("{}", kills::kill(&lab("kills")?, kills, seed)?);
    }
    Ok(())
}

fn lab(name: &str) -> Result<Lab> {
    let lab = Lab::up_in(&Scenario::named("fast")?, &lab::packages::target_dir().join("reliability").join(name))?;
    lab.install_faults()?;
    Ok(lab)
}
