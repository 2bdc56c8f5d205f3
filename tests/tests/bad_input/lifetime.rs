//! What happens to the daemon and to the tracer in the middle of a trace.

use crate::{
    LIMIT,
    program::{Tracer, binary, run},
    world::{Client, lab, lab_with, path_text, quit, report, session, silent_aaaa, traced, wait_asked},
};
use lab::{bpf::Objects, bpf_ids::Kind};
use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    process::Command,
    time::{Duration, Instant},
};

tests! {
    root: the_daemon_executes_itself_on_hup, two_tracers_on_one_daemon, signals_end_it_with_the_summary, nothing_stays_when_it_is_killed, it_ends_after_a_time_or_a_number_of_sessions, a_daemon_that_is_stopped_ends_the_trace, a_pipe_that_is_closed_is_no_failure;
    anyone:
}

fn the_daemon_executes_itself_on_hup() {
    let lab = lab("hup");
    let log = lab.dir().join("trace.jsonl");
    let tracer = Tracer::attach(&lab, "tracer", &["-o", &path_text(&log), "--view", "none"]);
    session(&lab);
    let pid = rustix::process::Pid::from_raw(i32::try_from(lab.daemon_pid()).unwrap()).unwrap();
    let listening = || listening_inodes(lab.daemon_pid());
    let before = listening();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    let end = Instant::now() + LIMIT;
    // The kernel has no event for "somebody listens".
    while (listening().is_empty() || listening() == before) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!listening().is_empty() && listening() != before, "sendmail restarts itself");
    session(&lab);
    tracer.interrupt().is_done();
    let report = report(&log);
    let sessions = report["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 2, "the session after the restart is traced too");
    for session in sessions {
        assert_eq!(session["commands"].as_array().unwrap().len(), 9, "{session}");
    }
}

/// Inodes of the sockets that a process holds and that listen.
fn listening_inodes(pid: u32) -> Vec<String> {
    let tables = ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default()).concat();
    let listens = |line: &&str| line.split_whitespace().nth(3) == Some("0A");
    let inodes: Vec<&str> = tables.lines().filter(listens).filter_map(|line| line.split_whitespace().nth(9)).collect();
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let links = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    links.map(|link| path_text(&link)).filter(|link| inodes.iter().any(|inode| *link == format!("socket:[{inode}]"))).collect()
}

fn two_tracers_on_one_daemon() {
    let lab = lab("two-tracers");
    let logs = ["first", "second"].map(|name| lab.dir().join(format!("{name}.jsonl")));
    let tracers: Vec<Tracer> = logs
        .iter()
        .map(|log| Tracer::attach(&lab, &log.file_stem().unwrap().to_string_lossy(), &["--sessions", "1", "-o", &path_text(log), "--view", "none"]))
        .collect();
    session(&lab);
    for tracer in tracers {
        tracer.wait().is_done();
    }
    let commands = logs.map(|log| {
        let report = report(&log);
        report["sessions"][0]["commands"].as_array().unwrap().iter().map(|command| command["verb"].to_string()).collect::<Vec<_>>()
    });
    assert_eq!(commands[0], commands[1]);
    assert_eq!(commands[0].len(), 9);
}

fn signals_end_it_with_the_summary() {
    let lab = lab("signals");
    for (name, signal) in [("int", rustix::process::Signal::INT), ("term", rustix::process::Signal::TERM)] {
        let tracer = Tracer::attach(&lab, name, &[]);
        session(&lab);
        tracer.signal(signal);
        let ended = tracer.wait();
        assert_eq!(ended.status.code(), Some(0), "{name}: {}", ended.stderr);
        assert!(ended.out().contains("1 session,") && ended.out().contains("ended by QUIT"), "{}", ended.out());
    }
}

fn nothing_stays_when_it_is_killed() {
    let lab = lab_with("killed-tracer", silent_aaaa);
    let tracer = Tracer::attach(&lab, "killed", &["--view", "none"]);
    let objects = Objects::of(tracer.id()).unwrap();
    assert!(Kind::ALL.iter().all(|kind| objects.count(*kind) > 0 || *kind == Kind::Btf), "the tracer holds programs, maps and links");
    // Killed in the middle of a wait of a traced session, which goes on.
    let mut client = Client::connect(&lab);
    client.say("HELO client.lab.test", "250");
    client.send("MAIL FROM:<a@example.com>");
    wait_asked(&lab, "AAAA example.com");
    tracer.signal(rustix::process::Signal::KILL);
    assert_eq!(tracer.wait().status.signal(), Some(9));
    objects.wait_gone(LIMIT).unwrap();
    let second = Tracer::attach(&lab, "second", &["--sessions", "1"]);
    client.reply("250");
    quit(client, &lab);
    let mut client = Client::connect(&lab);
    client.say("HELO client.lab.test", "250");
    quit(client, &lab);
    let ended = second.wait();
    assert!(ended.is_done().out().contains("1 session,"), "{}", ended.out());
}

fn it_ends_after_a_time_or_a_number_of_sessions() {
    let lab = lab("limits");
    let began = Instant::now();
    let tracer = Tracer::attach(&lab, "duration", &["--duration", "1s"]);
    let ended = tracer.wait();
    assert!(ended.is_done().out().contains("nobody was accepted"), "{}", ended.out());
    assert!(began.elapsed() >= Duration::from_secs(1));
    let tracer = Tracer::attach(&lab, "sessions", &["--sessions", "2"]);
    session(&lab);
    session(&lab);
    let ended = tracer.wait();
    assert!(ended.is_done().out().contains("2 sessions,"), "{}", ended.out());
}

fn a_daemon_that_is_stopped_ends_the_trace() {
    let lab = lab("daemon-stopped");
    let log = lab.dir().join("trace.jsonl");
    let tracer = Tracer::attach(&lab, "tracer", &["-o", &path_text(&log)]);
    session(&lab);
    let mut client = Client::connect(&lab);
    client.say("HELO open.lab.test", "250");
    // Its children go on, as when it is stopped to be started anew, and so does the trace as long as one of them serves.
    let daemon = rustix::process::Pid::from_raw(i32::try_from(lab.daemon_pid()).unwrap()).unwrap();
    let ended = rustix::process::pidfd_open(daemon, rustix::process::PidfdFlags::empty()).unwrap();
    rustix::process::pidfd_send_signal(&ended, rustix::process::Signal::TERM).unwrap();
    assert_eq!(lab::Stop::new().unwrap().wait_readable_for(&ended, LIMIT), Some(true), "sendmail ends");
    client.say("MAIL FROM:<a@example.com>", "250");
    quit(client, &lab);
    let ended = tracer.wait();
    assert!(ended.is_done().out().contains("2 sessions,"), "{}", ended.out());
    assert!(ended.stderr.contains(&format!("the mail server (pid {}) has ended", lab.daemon_pid())), "{}", ended.stderr);
    let last = fs::read_to_string(&log).unwrap().lines().last().unwrap_or_default().to_owned();
    assert!(last.contains(r#""reason":"target-exited""#), "{last}");
    let report = report(&log);
    let is_whole = |session: &serde_json::Value| session["complete"] == true && session["end"] == "quit";
    assert!(report["sessions"].as_array().unwrap().iter().all(is_whole), "{report}");
}

fn a_pipe_that_is_closed_is_no_failure() {
    let lab = lab("closed-pipe");
    let log = traced(&lab);
    for (name, script) in
        [("nobody reads", "\"$0\" report \"$1\" | true"), ("a part is read", "\"$0\" report \"$1\" --format json | head -c 10 >/dev/null")]
    {
        let ended = run(Command::new("bash").args(["-o", "pipefail", "-c", script]).arg(binary()).arg(&log));
        assert!(ended.is_done().stderr.is_empty(), "{name}: {}", ended.stderr);
    }
}
