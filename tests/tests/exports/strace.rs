//! strace and the tracer at the same dialogue: what the tracer tells is a part of what strace tells.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::tracer::{READY, Tracer};
use lab::{Lab, Stop, netns, run, scenario::Scenario};

const LIMIT: Duration = Duration::from_mins(1);
/// One of each kind of server: that forks for a session, that accepts by itself, that executes itself.
const SCENARIOS: [(&str, usize); 3] = [("ident-slow", 20), ("postfix-policy-slow", 25), ("exim-ident-slow", 20)];

pub fn real_strace_tells_the_same() -> Result<()> {
    SCENARIOS.iter().try_for_each(|(name, calls)| of(name, *calls).with_context(|| (*name).to_owned()))
}

fn of(name: &str, least: usize) -> Result<()> {
    let folder = super::folder(&format!("beside-{name}"))?;
    let scenario = Scenario::named(name)?;
    let lab = Lab::up_in(&scenario, &folder.join("lab"))?;
    let theirs = folder.join("strace.txt");
    let mut command = Command::new("strace");
    command.args(["-f", "-ttt", "-T", "-s", "8192", "-v", "-o"]).arg(&theirs).args(["-p", &lab.daemon_pid().to_string()]).stdout(Stdio::null());
    netns::die_with_parent(&mut command);
    let strace = Tracer::start(&mut command, |_| {})?;
    strace.wait_for("attached", LIMIT).context("strace")?;
    let log = folder.join("trace.jsonl");
    let mut command = Command::new(run::tracer_path()?);
    command.args(["attach", "-p", &lab.daemon_pid().to_string(), "--sessions", "1", "--view", "none", "--hooks", "tracepoint", "-o"]).arg(&log);
    command.args(["--client", &scenario.client]).stdout(Stdio::null());
    netns::die_with_parent(&mut command);
    let tracer = Tracer::start(&mut command, |_| {})?;
    tracer.wait_for(READY, run::READY_LIMIT)?;
    lab.install_faults()?;
    lab.play_all()?;
    tracer.wait(LIMIT)?.success()?;
    // What the last of them says is in the file when it has ended.
    Stop::new()?.pass(Duration::from_millis(300));
    strace.interrupt(LIMIT)?;
    let ours = folder.join("ours.txt");
    let output = Command::new(run::tracer_path()?).arg("export").arg(&log).args(["--to", "strace", "-o"]).arg(&ours).stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = super::check(Command::new("/usr/bin/python3").arg(super::script("check_strace.py")).arg("--part").args([&ours, &theirs]))?;
    println!("{name}: {said}");
    let found = said.split_whitespace().next().and_then(|word| word.parse::<usize>().ok()).context("the script counts calls")?;
    ensure!(found >= least, "only {said}");
    Ok(())
}
