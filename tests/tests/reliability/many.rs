//! Many sessions at once: none is taken for another, and the kernel's tables are empty afterwards.

use crate::{
    LIMIT,
    world::{Client, Tracer, folder, lab},
};
use lab::{Lab, bpf::Objects, scenario::Scenario};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use std::{
    collections::BTreeMap,
    io::Read as _,
    time::{Duration, Instant},
};

const SESSIONS: usize = 1_000;

pub fn a_thousand_sessions_at_once() {
    // Each is a descriptor here.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let lab = lab("thousand");
    let tracer = Tracer::attach(lab.daemon_pid(), lab.dir(), &["--ring-size", "16M"]);
    let tables = Objects::of(tracer.process.id()).unwrap();
    let entries = || ["THREADS", "SESSIONS"].map(|table| tables.entries(table).unwrap());
    let before = entries();
    let mut clients: Vec<Client> = (0..SESSIONS)
        .map(|number| {
            let mut client = Client::connect(&lab);
            client.say(&format!("HELO c{number}.lab.test"), "250");
            client
        })
        .collect();
    let [threads, sessions] = entries();
    assert_eq!([threads - before[0], sessions - before[1]], [SESSIONS; 2], "all of them are open");
    for (number, client) in clients.iter_mut().enumerate() {
        client.say(&format!("MAIL FROM:<n{number}@example.com>"), "250");
    }
    for client in &mut clients {
        client.say("QUIT", "221");
    }
    let addresses: BTreeMap<String, usize> = clients.drain(..).enumerate().map(|(number, client)| (client.address, number)).collect();
    assert!(lab.wait_served(LIMIT));
    assert_eq!(entries(), before, "nothing of them stays in the tables");
    tracer.process.signal(Signal::INT).unwrap();
    let (_, report) = tracer.wait();
    assert_eq!(report["log"]["lost"], 0);
    let reported = report["sessions"].as_array().unwrap();
    assert_eq!(reported.len(), SESSIONS);
    let mut missing = addresses.clone();
    for session in reported {
        let number = missing.remove(session["client"].as_str().unwrap()).unwrap_or_else(|| panic!("no client, or twice: {session}"));
        let line = |verb: &str| {
            let commands = session["commands"].as_array().unwrap();
            let lines: Vec<&str> = commands.iter().filter(|command| command["verb"] == verb).filter_map(|command| command["line"].as_str()).collect();
            lines.join("|")
        };
        let expected = [format!("HELO c{number}.lab.test"), format!("MAIL FROM:<n{number}@example.com>"), "QUIT".to_owned()];
        assert_eq!(["HELO", "MAIL", "QUIT"].map(line), expected, "{session}");
        assert!(session["complete"] == true && session["end"] == "quit", "{session}");
    }
}

/// Exim's daemon answers by itself and forks for nobody: those clients stayed in the table of sessions until it was full.
pub fn regress_clients_that_a_daemon_refuses_leave_nothing() {
    let mut scenario = Scenario::named("exim-fast").unwrap();
    scenario.exim.main = vec!["smtp_accept_max = 1".to_owned()];
    let lab = Lab::up_in(&scenario, &folder("refused").join("lab")).unwrap();
    lab.install_faults().unwrap();
    let tracer = Tracer::attach(lab.daemon_pid(), lab.dir(), &[]);
    let tables = Objects::of(tracer.process.id()).unwrap();
    let client = Client::connect(&lab);
    let before = tables.entries("SESSIONS").unwrap();
    for _ in 0..20 {
        let mut said = String::new();
        lab.connect().unwrap().read_to_string(&mut said).unwrap();
        assert!(said.starts_with("421"), "{said}");
    }
    // The connection ends before the call that ends it, and a table of the kernel has no event for an entry that goes.
    let end = Instant::now() + LIMIT;
    while tables.entries("SESSIONS").unwrap() != before {
        assert!(Instant::now() < end, "{before} entries before, {} behind the refusals", tables.entries("SESSIONS").unwrap());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(before >= 1, "the client that is served has an entry");
    drop(client);
    tracer.process.signal(Signal::INT).unwrap();
    tracer.wait();
}
