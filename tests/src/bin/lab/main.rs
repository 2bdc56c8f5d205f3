//! The lab by hand: `lab setup`, `lab list`, `lab play NAME`, `lab record [NAME]...`, `lab demo LOG`,
//! `lab matrix`, `lab score`, `lab picture`.
//!
//! `play` puts a lab up, says how to attach to its daemon, waits for Enter and plays the dialogue; Ctrl-C ends everything.
//! `record`, `demo`, `matrix`, `score` and `picture` are what `cargo xtask` calls.

mod demo;
mod interrupt;
mod matrix;
mod picture;
mod record;
mod small;
mod world;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use lab::Lab;
use lab::scenario::Scenario;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<ExitCode> {
    match arguments {
        ["setup"] => {
            lab::packages::setup()?;
            for mta in lab::mta::ALL {
                lab::packages::Packages::unpack(*mta)?;
            }
            lab::packages::Packages::of(lab::opendkim::SETS, lab::opendkim::LIBRARIES)?;
            lab::packages::Packages::of(lab::unbound::SETS, lab::unbound::LIBRARIES)?;
        }
        ["list"] => Scenario::all()?.iter().for_each(|scenario| println!("{:34} {}", scenario.name, scenario.title)),
        ["play", name] => play(&Scenario::named(name)?)?,
        ["record"] => record::all(Scenario::all()?)?,
        ["record", names @ ..] => {
            record::all(names.iter().map(|name| Scenario::named(name)).collect::<Result<_>>()?)?;
        }
        ["matrix"] => matrix::write()?,
        ["score"] => matrix::score()?,
        ["picture"] => picture::take()?,
        ["demo", log] => return demo::run(Path::new(log)),
        [small::SERVER] => small::serve()?,
        [small::SESSION] => small::session()?,
        _ => bail!("usage: lab setup | list | play NAME | record [NAME]... | demo LOG | matrix | score | picture"),
    }
    Ok(ExitCode::SUCCESS)
}

fn play(scenario: &Scenario) -> Result<()> {
    let lab = Lab::up(scenario)?;
    eprintln!("{}: {}", scenario.name, scenario.title);
    eprintln!("it listens: mta-trace attach -p {} --client {} --sessions 1", lab.daemon_pid(), scenario.client);
    eprintln!("Enter begins the dialogue");
    std::io::stdin().read_line(&mut String::new()).context("wait for Enter")?;
    lab.install_faults()?;
    lab.play_other()?;
    let mut begun_ns = None;
    lab.play(&scenario.dialogue, |line| {
        let begun_ns = *begun_ns.get_or_insert(line.t_ns);
        let time = lab::journal::seconds(line.t_ns.saturating_sub(begun_ns));
        println!("{time:8.3} {} {}", if line.is_client { 'C' } else { 'S' }, line.text);
    })?;
    Ok(())
}
