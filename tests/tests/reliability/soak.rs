//! The short forms of what `cargo xtask soak` does for minutes and for hundreds of tracers.

use crate::{
    LIMIT,
    world::{attach, lab, report},
};
use lab::{
    Stop,
    journal::now_ns,
    kills, load,
    soak::{self, Plan},
};
use serde_json::Value;
use std::time::Duration;

/// Long enough for the sessions by which memory is judged.
const TIME: Duration = Duration::from_secs(20);
/// So many of which two tracers tell.
const SESSIONS: usize = 500;
/// Half of them when the tracer is ready, a quarter by each back end.
const KILLS: usize = 8;

pub fn what_the_machine_carries_is_traced_without_loss() {
    let figures = soak::run(&lab("carried"), Plan { time: TIME, clients: load::CARRIED, may_lose: false }).unwrap();
    eprintln!("{figures}");
}

pub fn under_full_load_what_is_lost_is_said() {
    let figures = soak::run(&lab("full"), Plan { time: TIME, clients: load::FULL, may_lose: true }).unwrap();
    eprintln!("{figures}");
}

pub fn two_tracers_tell_the_same() {
    let lab = lab("two");
    let logs = ["first", "second"].map(|name| lab.dir().join(format!("{name}.jsonl")));
    let tracers = logs.each_ref().map(|log| attach(&lab, log, &[]));
    let pause = Stop::new().unwrap();
    let ((), sent) = load::beside(&lab, load::CARRIED, |sessions| {
        while sessions() < SESSIONS {
            pause.pass(Duration::from_millis(10));
        }
        Ok(())
    })
    .unwrap();
    for tracer in tracers {
        tracer.interrupt(LIMIT).unwrap().success().unwrap();
    }
    let [first, second] = logs.map(|log| {
        let report = report(&log);
        assert_eq!(report["log"]["lost"], 0, "{}", log.display());
        // No set: a client's port may come round again.
        let mut dialogues: Vec<String> = report["sessions"].as_array().unwrap().iter().map(dialogue).collect();
        dialogues.sort_unstable();
        dialogues
    });
    assert_eq!(first, second);
    assert_eq!(first.len(), sent.sessions, "each session is told");
}

/// Client, completeness and commands of a session.
fn dialogue(session: &Value) -> String {
    let verbs: Vec<&str> = session["commands"].as_array().unwrap().iter().map(|command| command["verb"].as_str().unwrap()).collect();
    format!("{} {} {}", session["client"], session["complete"], verbs.join(" "))
}

pub fn of_killed_tracers_nothing_stays_but_their_logs() {
    // Other moments each time; a failure names the seed.
    let figures = kills::kill(&lab("kills"), KILLS, now_ns()).unwrap();
    eprintln!("{figures}");
}
