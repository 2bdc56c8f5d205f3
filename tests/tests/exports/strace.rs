//! strace and the tracer at the same dialogue: what the tracer tells is a part of what strace tells.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::tracer::{READY, Tracer};
use lab::{Lab, netns, run, scenario::Scenario};

const LIMIT: Duration = Duration::from_mins(1);
/// strace tells when a call began, the tracer of a short one when it returned; in between strace had the thread stopped.
const SLACK_S: f64 = 0.05;
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
    let ours = folder.join("ours.txt");
    let output = Command::new(run::tracer_path()?).arg("export").arg(&log).args(["--to", "strace", "-o"]).arg(&ours).stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let last = last_close(&std::fs::read_to_string(&ours)?).context("no descriptor is closed")?;
    wait_for(|| Ok(last_close(&std::fs::read_to_string(&theirs)?).is_some_and(|it| it >= last - SLACK_S)))?;
    strace.interrupt(LIMIT)?;
    let said = super::check(Command::new("/usr/bin/python3").arg(super::script("check_strace.py")).arg("--part").args([&ours, &theirs]))?;
    println!("{name}: {said}");
    let found = said.split_whitespace().next().and_then(|word| word.parse::<usize>().ok()).context("the script counts calls")?;
    ensure!(found >= least, "only {said}");
    Ok(())
}

/// When the last descriptor was closed, which is what the last process of a session does, s.
fn last_close(text: &str) -> Option<f64> {
    let closes = text.lines().filter(|line| line.contains(" close(") && line.contains(" = 0") || line.contains("+++ exited with "));
    closes.filter_map(|line| line.split_whitespace().nth(1)?.parse().ok()).max_by(f64::total_cmp)
}

/// A file has no event for what is written to it.
fn wait_for(is_there: impl Fn() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + LIMIT;
    while !is_there()? {
        ensure!(Instant::now() < end, "strace does not tell of the last call");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
