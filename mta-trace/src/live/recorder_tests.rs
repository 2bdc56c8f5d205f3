//! The flight recorder against recorded sessions.

use super::*;
use crate::analysis::Analysis;
use crate::log;
use crate::update::Update;

fn recorded(name: &str) -> Vec<Record> {
    let path = format!("{}/../tests/replay/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let items = log::read(&path).expect("a golden log").map(|item| item.expect("a readable line"));
    items.filter_map(|item| if let log::Item::Record(record) = item { Some(*record) } else { None }).collect()
}

/// What is written of these records.
fn kept(records: &[Record], slower_than_s: f64) -> Vec<Record> {
    let (mut recorder, mut analysis, mut updates, mut kept) = (Recorder::new(slower_than_s), Analysis::new(), Vec::new(), Vec::new());
    for record in records {
        kept.extend(recorder.take(record));
        analysis.feed(record, &mut updates);
        for update in updates.drain(..) {
            if let Update::SessionEnded(session) = update {
                kept.extend(recorder.ended(&session));
            }
        }
    }
    kept
}

fn report(records: &[Record]) -> crate::report::Report {
    let items = records.iter().map(|record| Ok(log::Item::Record(Box::new(record.clone()))));
    crate::analysis::replay(items, Analysis::new(), |_| Ok::<_, log::Error>(())).expect("records")
}

#[test]
fn a_slow_session_is_written_whole() {
    let forking = ["the-case", "child-mailer", "accept-late", "killed"];
    // Their processes accept by themselves, one session after another.
    let servers = ["postfix-policy-slow", "postfix-sleep", "postfix-milter-opendkim"];
    for name in forking.into_iter().chain(servers) {
        let all = recorded(name);
        let (before, after) = (report(&all), report(&kept(&all, 1.0)));
        assert_eq!(after.sessions.len(), 1, "{name}");
        assert_eq!(serde_json::to_string(&before.sessions).unwrap(), serde_json::to_string(&after.sessions).unwrap(), "{name}");
    }
}

/// It was thrown away together with the session whose number its process got.
#[test]
fn regress_a_session_whose_process_number_was_used_before_is_kept() {
    let path = format!("{}/../tests/replay-handmade/pid-reused-behind-loss.jsonl", env!("CARGO_MANIFEST_DIR"));
    let items = log::read(&path).expect("a log").map(|item| item.expect("a readable line"));
    let all: Vec<Record> = items.filter_map(|item| if let log::Item::Record(record) = item { Some(*record) } else { None }).collect();
    let (before, after) = (report(&all), report(&kept(&all, 0.0)));
    assert_eq!(before.sessions.len(), 2);
    assert_eq!(serde_json::to_string(&before.sessions).unwrap(), serde_json::to_string(&after.sessions).unwrap());
}

#[test]
fn a_fast_session_is_not_written() {
    let kept = kept(&recorded("fast"), 1.0);
    assert!(report(&kept).sessions.is_empty());
    // What is no session's own is always written.
    let is_of_session = |record: &&Record| {
        matches!(record, Record::Sys(_) | Record::Block(_) | Record::Fork(_) | Record::Exec(_) | Record::Exit(_) | Record::SeedFd(_))
    };
    assert_eq!(kept.iter().find(is_of_session), None);
}

#[test]
fn regress_sessions_of_servers_that_accept_by_themselves_are_kept() {
    let all = recorded("postfix-policy-slow");
    assert!(report(&kept(&all, 1000.0)).sessions.is_empty());
    let (fast, slow) = (recorded("postfix-fast"), recorded("postfix-ptr-silent"));
    assert_eq!((report(&kept(&fast, 1.0)).sessions.len(), report(&kept(&slow, 1.0)).sessions.len()), (0, 1));
}

/// It accepts in one process and is served by another. What postscreen has opened before its first accept is not kept: files of it that nobody waits long for.
#[test]
fn regress_a_session_that_is_passed_on_is_written() {
    for name in ["postfix-postscreen", "postfix-postscreen-again"] {
        let all = recorded(name);
        let (before, after) = (report(&all), report(&kept(&all, 1.0)));
        assert!(!before.sessions.is_empty() && before.sessions.len() == after.sessions.len(), "{name}");
        for (before, after) in before.sessions.iter().zip(&after.sessions) {
            assert_eq!((&before.findings, before.end, before.commands.len()), (&after.findings, after.end, after.commands.len()), "{name}");
        }
    }
}

/// Descriptors that a server has had for long are told once, be its session fast; a helper is released behind its session.
#[test]
fn regress_what_is_no_session_s_own_is_written() {
    let all = recorded("postfix-policy-slow");
    let accept = all.iter().position(|record| matches!(record, Record::Sys(sys) if is_accept(sys))).expect("an accept");
    let Record::Sys(sys) = &all[accept] else { unreachable!("an accept is a call") };
    let descriptor = Record::SeedFd(SeedFd { pid: sys.pid, fd: 99, path: Some("/etc/hosts".into()), socket: None, client: false });
    let release = Record::Release(crate::event::Release { t: u64::MAX, pid: 4_000_000 });
    let mut with = all.clone();
    with.insert(accept + 1, descriptor.clone());
    with.insert(with.len() - 1, release.clone());
    let kept = kept(&with, 1000.0);
    assert!(kept.contains(&descriptor) && kept.contains(&release) && report(&kept).sessions.is_empty());
}

#[test]
fn memory_is_bounded() {
    let all = recorded("the-case");
    let mut recorder = Recorder::new(1000.0);
    let call = all.iter().find(|record| matches!(record, Record::Sys(sys) if sys.call == Call::Poll)).expect("a poll");
    let until = all.iter().position(|record| record == call).expect("a poll");
    let mut written: usize = all.iter().take(until).map(|record| recorder.take(record).len()).sum();
    for _ in 0..=MAX_OF_SESSION {
        written += recorder.take(call).len();
        assert!(recorder.held <= MAX_OF_SESSION);
    }
    assert!(written > MAX_OF_SESSION, "a session that is too long is written: {written}");
}
