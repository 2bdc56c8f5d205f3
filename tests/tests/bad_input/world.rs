//! The lab, and clients of its mail server.

use crate::{
    LIMIT,
    program::{Tracer, mta_trace},
};
use lab::{
    Lab,
    journal::What,
    scenario::{DnsAction, DnsRule, Scenario},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

pub use lab::telnet::Telnet as Client;

pub fn folder(name: &str) -> PathBuf {
    let dir = lab::packages::target_dir().join("bad-input").join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("folder");
    dir.canonicalize().expect("folder")
}

pub fn lab(name: &str) -> Lab {
    lab_with(name, |_| {})
}

pub fn lab_with(name: &str, change: impl FnOnce(&mut Scenario)) -> Lab {
    let mut scenario = Scenario::named("fast").expect("scenario");
    change(&mut scenario);
    let lab = Lab::up_in(&scenario, &folder(name).join("lab")).expect("the lab");
    lab.install_faults().expect("faults");
    lab
}

/// Until the server has closed.
#[track_caller]
pub fn quit(mut client: Client, lab: &Lab) {
    client.say("QUIT", "221");
    drop(client);
    assert!(lab.wait_served(LIMIT), "the serving process ends");
}

/// A whole session; the mail server must serve it whatever happens to the tracer.
#[track_caller]
pub fn session(lab: &Lab) {
    let mut client = Client::connect(lab);
    for (line, code) in [
        ("HELO client.lab.test", "250"),
        ("MAIL FROM:<a@example.com>", "250"),
        ("RCPT TO:<b@example.net>", "250"),
        ("DATA", "354"),
        ("Subject: test\r\n\r\nhello\r\n.", "250"),
    ] {
        client.say(line, code);
    }
    quit(client, lab);
}

pub fn report(log: &Path) -> serde_json::Value {
    let ended = mta_trace(&["report", &log.to_string_lossy(), "--format", "json"]);
    serde_json::from_slice(&ended.is_done().stdout).expect("the report is JSON")
}

pub fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// One traced session; its log.
pub fn traced(lab: &Lab) -> PathBuf {
    let log = lab.dir().join("trace.jsonl");
    let tracer = Tracer::attach(lab, "tracer", &["--sessions", "1", "-o", &path_text(&log), "--view", "none"]);
    session(lab);
    tracer.wait().is_done();
    log
}

/// Waits until a name server of the lab was asked; gives the time.
#[track_caller]
pub fn wait_asked(lab: &Lab, question: &str) -> u64 {
    let is_asked = |what: &What| matches!(what, What::DnsQuery { qtype, qname, .. } if format!("{qtype} {qname}") == question);
    lab.journal().wait_for(0, LIMIT, is_asked).expect("a name server is asked").t_ns
}

pub fn silent_aaaa(scenario: &mut Scenario) {
    scenario.dns.rules = vec![DnsRule { name: "example.com".into(), qtype: "AAAA".into(), action: DnsAction::Silent, ..DnsRule::default() }];
}
