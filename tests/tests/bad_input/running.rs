//! A session that runs already when the tracer attaches.

use crate::{
    program::{Ended, Tracer, binary},
    world::{Client, folder, lab_with, quit, report, silent_aaaa, wait_asked},
};
use lab::{Lab, journal::now_ns, scenario::Scenario};
use std::{fs, process::Command};

tests! {
    root: a_child_that_serves_a_session_already, sessions_that_run_already_are_taken_in_on_demand, an_smtpd_of_postfix_that_serves_a_session_already;
    anyone:
}

/// Attaches while MAIL waits for a name server that never answers; gives the report and what the tracer said.
fn attached_late(name: &str, args: impl FnOnce(&Lab) -> Vec<String>) -> Late {
    let lab = lab_with(name, silent_aaaa);
    let log = lab.dir().join("trace.jsonl");
    let mut client = Client::connect(&lab);
    client.say("HELO client.lab.test", "250");
    client.send("MAIL FROM:<a@example.com>");
    // The answer never comes: five seconds until it is asked again.
    wait_asked(&lab, "AAAA example.com");
    let mut command = Command::new(binary());
    command.arg("attach").args(args(&lab)).args(["--view", "none", "--sessions", "1", "-o"]).arg(&log);
    let tracer = Tracer::start(&mut command, &lab.dir().join("tracer"));
    client.reply("250");
    quit(client, &lab);
    let ended = tracer.wait();
    ended.is_done();
    let header = fs::read_to_string(&log).unwrap().lines().next().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok()).unwrap();
    let attached_ns = header["attach_ns"][1].as_u64().unwrap();
    let waited_s = lab::journal::seconds(wait_asked(&lab, "A example.com") - attached_ns);
    Late { report: report(&log), ended, waited_s }
}

/// What the log and the name server say about the wait that was going on.
struct Late {
    report: serde_json::Value,
    ended: Ended,
    /// From attaching to the next question, which is asked when this one was given up.
    waited_s: f64,
}

#[track_caller]
fn is_seeded(late: &Late) {
    let Late { report, waited_s, .. } = late;
    let sessions = report["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 1, "{report}");
    assert_eq!(sessions[0]["began"], "seeded", "{report}");
    let commands = sessions[0]["commands"].as_array().unwrap();
    let waits: Vec<&serde_json::Value> = commands.iter().flat_map(|command| command["waits"].as_array().unwrap()).collect();
    let long: Vec<_> = waits.iter().filter(|wait| wait["elapsed_s"].as_f64().unwrap() > 2.0).collect();
    let [wait] = long.as_slice() else { panic!("one wait was going on: {report}") };
    assert_eq!(wait["cause"], "dns", "{report}");
    let elapsed_s = wait["elapsed_s"].as_f64().unwrap();
    assert!((elapsed_s - waited_s).abs() <= lab::measure::slack_s(*waited_s), "the name server saw {waited_s} s, found {elapsed_s} s");
    assert!(commands.iter().any(|command| command["verb"] == "QUIT"), "{report}");
}

fn a_child_that_serves_a_session_already() {
    let late = attached_late("child", |lab| {
        let serving = lab.serving();
        assert_eq!(serving.len(), 1, "{serving:?}");
        vec!["-p".into(), serving[0].to_string()]
    });
    is_seeded(&late);
    assert!(late.ended.stderr.contains("serving a session"), "{}", late.ended.stderr);
}

fn sessions_that_run_already_are_taken_in_on_demand() {
    let late = attached_late("existing", |lab| vec!["-p".into(), lab.daemon_pid().to_string(), "--existing".into()]);
    is_seeded(&late);
}

/// Postfix's processes live longer than a session: the next one of the same process is whole, and what lies between is nobody's.
fn an_smtpd_of_postfix_that_serves_a_session_already() {
    let lab = Lab::up_in(&Scenario::named("postfix-dnsbl-silent").unwrap(), &folder("smtpd").join("lab")).unwrap();
    lab.install_faults().unwrap();
    let log = lab.dir().join("trace.jsonl");
    let mut client = Client::connect(&lab);
    client.say("HELO client.lab.test", "250");
    client.say("MAIL FROM:<a@example.com>", "250");
    client.send("RCPT TO:<b@example.net>");
    wait_asked(&lab, "A 1.0.99.10.bl.lab.test");
    let serving = lab.serving();
    assert_eq!(serving.len(), 1, "{serving:?}");
    let mut command = Command::new(binary());
    command.args(["attach", "-p", &serving[0].to_string(), "--view", "none", "--sessions", "2", "-o"]).arg(&log);
    let tracer = Tracer::start(&mut command, &lab.dir().join("tracer"));
    client.reply("250");
    let replied_ns = now_ns();
    client.say("QUIT", "221");
    drop(client);
    let mut next = Client::connect(&lab);
    next.say("QUIT", "221");
    tracer.wait().is_done();
    let header: serde_json::Value = serde_json::from_str(fs::read_to_string(&log).unwrap().lines().next().unwrap()).unwrap();
    let waited_s = lab::journal::seconds(replied_ns - header["attach_ns"][1].as_u64().unwrap());
    let report = report(&log);
    let [first, second] = report["sessions"].as_array().unwrap().as_slice() else { panic!("{report}") };
    assert_eq!((&first["began"], &first["end"], &first["complete"]), (&"seeded".into(), &"quit".into(), &false.into()), "{report}");
    let waits = first["commands"][0]["waits"].as_array().unwrap();
    // What follows is cleanup, as far as that takes longer than a millisecond.
    assert_eq!(waits[0]["cause"], "dns", "{report}");
    let elapsed_s = waits[0]["elapsed_s"].as_f64().unwrap();
    let rest_s: f64 = waits.iter().skip(1).map(|wait| wait["elapsed_s"].as_f64().unwrap()).sum();
    assert!((elapsed_s + rest_s - waited_s).abs() <= lab::measure::slack_s(waited_s), "the client saw {waited_s} s, found {elapsed_s} s");
    assert_eq!((&second["began"], &second["end"], &second["complete"]), (&"accept".into(), &"quit".into(), &true.into()), "{report}");
    assert_eq!(second["pid"], first["pid"], "{report}");
}
