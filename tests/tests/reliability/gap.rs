//! Records are lost in the middle of sessions: which of them are incomplete, and what may still be said of the others.

use crate::{
    LIMIT,
    world::{Client, Tracer, lab_with},
};
use lab::{
    Lab,
    scenario::{DnsAction, DnsRule, Scenario},
};
use rustix::process::Signal;
use serde_json::Value;

/// More commands than fit into the ring: of each, a read and a write of 352 bytes.
const FLOOD: usize = 1_000;
const RING: &str = "256K";

/// The name server is silent for a second: a command that long may have `absent` claims.
fn silent(scenario: &mut Scenario) {
    scenario.dns.options = "timeout:1 attempts:1".into();
    scenario.dns.rules = vec![DnsRule { name: "example.com".into(), action: DnsAction::Silent, ..DnsRule::default() }];
}

fn slow_mail(client: &mut Client) {
    // Whether it is taken is sendmail's affair; that it takes its time is what is wanted.
    client.say("MAIL FROM:<a@example.com>", "");
}

fn whole_session(lab: &Lab, name: &str) {
    let mut client = Client::connect(lab);
    client.say(&format!("HELO {name}.lab.test"), "250");
    slow_mail(&mut client);
    client.say("QUIT", "221");
}

pub fn a_session_with_a_gap_says_so() {
    let lab = lab_with("gap", silent);
    let mut tracer = Tracer::attach(lab.daemon_pid(), lab.dir(), &["--ring-size", RING]);
    whole_session(&lab, "before");
    assert!(lab.wait_served(LIMIT));
    let mut flooded = Client::connect(&lab);
    flooded.say("HELO flooded.lab.test", "250");
    let is_of_flooded = |record: &Value| record["call"] == "accept" && record["peer"] == flooded.address.as_str();
    // It is in the log, so the reader has nothing of it in hand.
    tracer.wait_record(is_of_flooded);
    tracer.process.signal(Signal::STOP).unwrap();
    for _ in 0..FLOOD {
        flooded.say("RSET", "250");
    }
    slow_mail(&mut flooded);
    // Sessions of which nothing, or only the end, is received.
    whole_session(&lab, "unseen");
    let mut late = Client::connect(&lab);
    late.say("HELO late.lab.test", "250");
    tracer.process.signal(Signal::CONT).unwrap();
    // A switch that the kernel did not tell of is a loss too, and may be told before.
    let loss = tracer.wait_record(|record| record["k"] == "loss" && record["ring"].as_u64() > Some(0));
    assert_eq!(loss["tables"], 0, "{loss}");
    flooded.say("RSET", "250");
    late.say("RSET", "250");
    flooded.say("QUIT", "221");
    late.say("QUIT", "221");
    let (flooded, late) = (flooded.address, late.address);
    assert!(lab.wait_served(LIMIT));
    whole_session(&lab, "after");
    assert!(lab.wait_served(LIMIT));
    tracer.process.signal(Signal::INT).unwrap();
    let (records, report) = tracer.wait();
    let last = records.iter().rfind(|record| record["k"] == "loss").unwrap();
    assert_eq!(report["log"]["lost"], last["ring"]);
    let sessions = report["sessions"].as_array().unwrap();
    let hosts: Vec<String> = sessions.iter().map(host).collect();
    for (name, is_complete) in [("before", true), ("flooded", false), ("after", true)] {
        let at = hosts.iter().position(|host| host == &format!("HELO {name}.lab.test")).unwrap_or_else(|| panic!("{name} is missing: {hosts:?}"));
        assert_eq!(sessions[at]["complete"], is_complete, "{name}: {}", sessions[at]);
        assert_eq!(sessions[at]["end"], "quit", "{name}");
        let absent = absent(&sessions[at]);
        assert!(is_complete != absent.is_empty() && !absent.contains(&"dns".to_owned()), "{name}: what is said to be absent is {absent:?}");
    }
    let is_flooded = |session: &&Value| session["client"] == flooded.as_str();
    assert_eq!(sessions.iter().filter(is_flooded).count(), 1, "{hosts:?}");
    // Nobody else's session is taken for another's: what is reported of the late one is its own, if anything is.
    assert!(sessions.len() <= 4 && sessions.iter().filter(|session| session["client"] == late.as_str()).all(|late| late["complete"] == false));
}

/// What it called itself.
fn host(session: &Value) -> String {
    let commands = session["commands"].as_array().unwrap();
    commands.iter().find(|command| command["verb"] == "HELO").and_then(|command| command["line"].as_str()).unwrap_or_default().to_owned()
}

fn absent(session: &Value) -> Vec<String> {
    let commands = session["commands"].as_array().unwrap();
    let lists = commands.iter().filter_map(|command| command["absent"].as_array());
    lists.flatten().map(|name| name.as_str().unwrap().to_owned()).collect()
}
