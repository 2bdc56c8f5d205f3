//! The flight recorder: `--slower-than` keeps the slow sessions and nothing else, `--log-max-size` begins the log again, and memory stays.

use crate::{
    LIMIT,
    world::{Client, attach, lab, lab_with, report},
};
use lab::{
    Lab, load,
    measure::{answered_s, slack_s},
    memory::Memory,
    scenario::{DnsRule, Scenario},
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// Long enough for the sessions by which memory is judged.
const TIME: Duration = Duration::from_secs(20);
/// Clients at a time, when the log is begun again.
const CLIENTS: usize = 4;
/// A session's records take some 20 KB.
const MAX_SIZE: &str = "300K";

/// One command of the slow session takes this long.
const SLOW_S: f64 = 2.0;

fn slow_org(scenario: &mut Scenario) {
    scenario.dns.rules = vec![DnsRule { name: "example.org".into(), qtype: "AAAA".into(), delay_s: SLOW_S, ..DnsRule::default() }];
}

/// A message; gives the client's address.
fn session(lab: &Lab, domain: &str) -> String {
    let mut client = Client::connect(lab);
    client.say("HELO recorder.lab.test", "250");
    client.say(&format!("MAIL FROM:<a@{domain}>"), "250");
    client.say("RCPT TO:<b@example.net>", "250");
    client.say("DATA", "354");
    client.say("Subject: test\r\n\r\nhello\r\n.", "250");
    client.say("QUIT", "221");
    client.address
}

pub fn only_the_slow_session_is_kept_and_memory_stays() {
    let lab = lab_with("recorder", slow_org);
    let log = lab.dir().join("slow.jsonl");
    let tracer = attach(&lab, &log, &["--slower-than", "1s"]);
    let ((memory, slow), sent) = load::beside(&lab, load::CARRIED, |sessions| {
        let mut client = Client::connect(&lab);
        client.say("HELO recorder.lab.test", "250");
        client.say("MAIL FROM:<a@example.org>", "250");
        client.say("QUIT", "221");
        Ok((Memory::watch(&tracer, TIME, sessions)?, client.address))
    })
    .unwrap();
    tracer.interrupt(LIMIT).unwrap().success().unwrap();
    let size = fs::metadata(&log).unwrap().len();
    eprintln!("one slow session beside {} fast ones, a log of {size} bytes, {memory}", sent.sessions);
    assert_eq!(memory.problem(), None);
    let report = report(&log);
    assert_eq!(report["log"]["lost"], 0, "{}", report["log"]);
    let sessions = report["sessions"].as_array().unwrap();
    let slow_s =
        |session: &Value| session["commands"].as_array().unwrap().iter().map(|command| command["elapsed_s"].as_f64().unwrap()).fold(0.0, f64::max);
    let kept: Vec<(&str, f64)> = sessions.iter().map(|session| (session["client"].as_str().unwrap(), slow_s(session))).collect();
    assert!(kept.iter().all(|(_, slow_s)| *slow_s >= 1.0), "a fast session is kept: {kept:?}");
    let session = sessions.iter().find(|session| session["client"] == slow.as_str()).expect("the slow session is kept");
    assert!(session["complete"] == true && session["end"] == "quit" && session["commands"].as_array().unwrap().len() == 5, "{session}");
    // The processors are taken: whoever is woken waits for one.
    let measured_s = answered_s(&lab.journal().events(), "example.org").expect("the name server was asked");
    assert!((slow_s(session) - measured_s).abs() <= slack_s(measured_s) + 0.1, "the name server took {measured_s} s: {session}");
}

/// Sessions side by side until the log has been begun again, and one more of each client; their clients' addresses, sorted.
fn sessions_until_begun_again(lab: &Lab, old: &Path) -> Vec<String> {
    let one_after_another = || {
        let mut addresses = Vec::new();
        while !old.exists() {
            addresses.push(session(lab, "example.com"));
        }
        addresses.push(session(lab, "example.com"));
        addresses
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(one_after_another)).collect();
        let mut addresses: Vec<String> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        addresses.sort();
        addresses
    })
}

/// A session that is written is written in one go: it stands in one log, and is whole there.
pub fn a_slow_session_is_in_one_log() {
    let (addresses, reports) = begun_again("rotated-slow", &["--slower-than", "1ms"]);
    assert_eq!(clients(&reports), addresses, "each session is told in one of the logs");
    for session in sessions(&reports) {
        assert!(is_whole(session), "{session}");
    }
}

/// Traces until the log has been begun again; the addresses of all clients, and the reports of the old log and of the new one.
fn begun_again(name: &str, args: &[&str]) -> (Vec<String>, [Value; 2]) {
    let lab = lab(name);
    let new = lab.dir().join("trace.jsonl");
    let old = PathBuf::from(format!("{}.1", new.display()));
    let tracer = attach(&lab, &new, &[&["--log-max-size", MAX_SIZE], args].concat());
    let addresses = sessions_until_begun_again(&lab, &old);
    assert!(lab.wait_served(LIMIT));
    tracer.interrupt(LIMIT).unwrap().success().unwrap();
    let [seeds_old, seeds_new] = [&old, &new].map(|log| {
        let text = fs::read_to_string(log).unwrap();
        let is_seed = |line: &&str| line.starts_with(r#"{"k":"header""#) || line.starts_with(r#"{"k":"seed."#);
        text.lines().filter(is_seed).map(str::to_owned).collect::<Vec<_>>()
    });
    assert!(seeds_old.len() > 1 && seeds_old == seeds_new, "both have the same beginning: {seeds_old:#?} {seeds_new:#?}");
    (addresses, [report(&old), report(&new)])
}

pub fn a_log_that_is_begun_again_is_two_logs() {
    let (addresses, reports) = begun_again("rotated", &[]);
    assert_eq!(clients(&reports), addresses, "each session is told in one of the logs");
    for session in sessions(&reports) {
        // Whoever was in the middle of it is told as far as the old log goes, and so that it is seen.
        let is_cut = session["complete"] == false && session["end"] == "detached";
        assert!(is_whole(session) || is_cut, "{session}");
    }
    assert!(reports[0]["log"]["unfinished"] == true && reports[1]["log"].get("unfinished").is_none(), "{} {}", reports[0]["log"], reports[1]["log"]);
}

fn sessions(reports: &[Value; 2]) -> impl Iterator<Item = &Value> {
    reports.iter().flat_map(|report| report["sessions"].as_array().unwrap())
}

/// Sorted addresses; a port may come round again.
fn clients(reports: &[Value; 2]) -> Vec<String> {
    let mut clients: Vec<String> = sessions(reports).map(|session| session["client"].as_str().unwrap().to_owned()).collect();
    clients.sort();
    clients
}

fn is_whole(session: &Value) -> bool {
    session["complete"] == true && session["end"] == "quit" && session["commands"].as_array().unwrap().len() == 9
}
