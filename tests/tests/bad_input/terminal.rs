//! A terminal that is closed while a tracer runs in it: an ssh session that breaks.

use crate::{
    LIMIT,
    program::{Tracer, binary},
    world::{lab, report, session},
};
use lab::{Lab, terminal::Terminal};
use rustix::process::Signal;
use std::{fs, os::unix::process::ExitStatusExt as _, path::Path, process::Command};

tests! {
    root: a_terminal_that_is_lost_ends_it_with_a_whole_log, behind_nohup_it_goes_on_without_its_terminal;
    anyone:
}

/// A tracer that a shell of this terminal has started: the terminal is its controlling one.
fn attach(lab: &Lab, name: &str, before: &str, log: &Path, args: &[&str]) -> Tracer {
    let script = format!("{before} exec setsid --ctty \"$@\" <\"$0\" >\"$0\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, name]).arg(binary()).args(["attach", "-p", &lab.daemon_pid().to_string(), "-o"]).arg(log).args(args);
    Tracer::start(&mut command, &lab.dir().join("tracer"))
}

fn a_terminal_that_is_lost_ends_it_with_a_whole_log() {
    let lab = lab("lost-terminal");
    let log = lab.dir().join("trace.jsonl");
    let Terminal { window, name } = Terminal::open(24, 80).unwrap();
    let tracer = attach(&lab, &name, "", &log, &[]);
    session(&lab);
    drop(window);
    let ended = tracer.wait();
    assert_eq!(ended.status.signal(), None, "SIGHUP ends it in order: {}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    let last = fs::read_to_string(&log).unwrap().lines().last().unwrap_or_default().to_owned();
    assert!(last.contains(r#""k":"end""#) && last.contains(r#""reason":"signal""#), "{last}");
    assert_eq!(report(&log)["sessions"].as_array().unwrap().len(), 1);
    session(&lab);
}

fn behind_nohup_it_goes_on_without_its_terminal() {
    let lab = lab("nohup");
    let log = lab.dir().join("trace.jsonl");
    let Terminal { window, name } = Terminal::open(24, 80).unwrap();
    let tracer = attach(&lab, &name, "trap '' HUP;", &log, &["--view", "none"]);
    session(&lab);
    drop(window);
    session(&lab);
    tracer.signal(Signal::INT);
    let ended = tracer.wait();
    // The report cannot be printed any more; the log is whole.
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("Input/output error"), "{}", ended.stderr);
    let report = report(&log);
    assert!(report["sessions"].as_array().unwrap().len() == 2 && report["log"].get("unfinished").is_none(), "{report}");
    assert!(lab.wait_served(LIMIT));
}
