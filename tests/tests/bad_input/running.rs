//! A session that runs already when the tracer attaches.

use crate::{
    program::{Ended, Tracer, binary},
    world::{Client, is_able, lab_with, report, silent_aaaa},
};
use lab::Lab;
use std::{process::Command, time::Duration};

/// Attaches while MAIL waits for a name server that never answers; gives the report and what the tracer said.
fn attached_late(name: &str, args: impl FnOnce(&Lab) -> Vec<String>) -> (serde_json::Value, Ended) {
    let lab = lab_with(name, silent_aaaa);
    let log = lab.dir().join("trace.jsonl");
    let mut client = Client::connect(&lab);
    client.say("HELO client.lab.test", "250");
    client.send("MAIL FROM:<a@example.com>");
    // The question is asked at once, and the answer never comes: five seconds until it is asked again.
    std::thread::sleep(Duration::from_millis(500));
    let mut command = Command::new(binary());
    command.arg("attach").args(args(&lab)).args(["--view", "none", "--sessions", "1", "-o"]).arg(&log);
    let tracer = Tracer::start(&mut command, &lab.dir().join("tracer"));
    client.reply("250");
    client.quit(&lab);
    let ended = tracer.wait();
    ended.is_done();
    (report(&log), ended)
}

#[track_caller]
fn is_seeded(report: &serde_json::Value) {
    let sessions = report["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 1, "{report}");
    assert_eq!(sessions[0]["began"], "seeded", "{report}");
    let commands = sessions[0]["commands"].as_array().unwrap();
    let waits: Vec<&serde_json::Value> = commands.iter().flat_map(|command| command["waits"].as_array().unwrap()).collect();
    let long: Vec<_> = waits.iter().filter(|wait| wait["elapsed_s"].as_f64().unwrap_or(0.0) > 2.0).collect();
    assert!(!long.is_empty(), "the wait that was going on is there: {report}");
    assert!(long.iter().any(|wait| wait["cause"] == "dns" || wait.to_string().contains("poll")), "{report}");
    assert!(commands.iter().any(|command| command["verb"] == "QUIT"), "{report}");
}

#[test]
fn a_child_that_serves_a_session_already() {
    if !is_able() {
        return;
    }
    let (report, ended) = attached_late("child", |lab| {
        let serving = lab.serving();
        assert_eq!(serving.len(), 1, "{serving:?}");
        vec!["-p".into(), serving[0].to_string()]
    });
    is_seeded(&report);
    assert!(ended.stderr.contains("serving a session"), "{}", ended.stderr);
}

#[test]
fn sessions_that_run_already_are_taken_in_on_demand() {
    if !is_able() {
        return;
    }
    let (report, _) = attached_late("existing", |lab| vec!["-p".into(), lab.daemon_pid().to_string(), "--existing".into()]);
    is_seeded(&report);
}
