//! The loop with made-up sources.

use super::*;
use crate::event::{End, LOG_SCHEMA, Target};

struct Fake {
    batches: Vec<Vec<Record>>,
    is_over: bool,
    reasons: std::rc::Rc<std::cell::RefCell<Vec<String>>>,
}

impl Source for Fake {
    fn header(&self) -> Header {
        Header {
            schema: LOG_SCHEMA.to_owned(),
            tool: "0.1.0".to_owned(),
            kernel: "6.1.0".to_owned(),
            arch: "x86_64".to_owned(),
            hooks: "tracepoint".to_owned(),
            boot_to_wall_ns: 0,
            attach_ns: [0, 1],
            target: Target { pid: 1, exe: "/usr/sbin/sendmail".to_owned(), mta: "sendmail".to_owned(), mta_version: None, listening: Vec::new() },
            client: vec!["10.0.0.1".to_owned()],
            min_wait_ns: 1_000_000,
            existing: false,
            no_chains: false,
        }
    }

    fn seeds(&self) -> Vec<Record> {
        Vec::new()
    }

    async fn next(&mut self, timeout: Duration) -> Option<Vec<Record>> {
        if let Some(batch) = self.batches.pop() {
            return Some(batch);
        }
        tokio::time::sleep(timeout).await;
        None
    }

    fn waiting(&mut self, _at_least_ns: u64) -> Vec<Record> {
        Vec::new()
    }

    fn is_target_alive(&self) -> bool {
        !self.is_over
    }

    fn stop(self, reason: &str) -> Vec<Record> {
        self.reasons.borrow_mut().push(reason.to_owned());
        vec![Record::End(End { t: 9, reason: reason.to_owned() })]
    }
}

struct Seen {
    finished: Finished,
    reason: String,
    warnings: Vec<String>,
}

fn go(is_over: bool, limits: Limits, log: Option<log::Writer>) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("in a test");
    let reasons = std::rc::Rc::default();
    let source = Fake { batches: Vec::new(), is_over, reasons: std::rc::Rc::clone(&reasons) };
    let mut warnings = Vec::new();
    let finished = runtime.block_on(async {
        let signals = Signals::new().expect("in a test");
        let view: View<Vec<u8>> = View::None;
        run(source, log, view, limits, signals, || (), &mut |text| warnings.push(text.to_owned())).await
    });
    let reason = reasons.borrow().join(",");
    Seen { finished, reason, warnings }
}

#[test]
fn ends_with_its_target() {
    let seen = go(true, Limits::default(), None);
    assert_eq!(seen.reason, "target-exited");
    assert!(!seen.finished.report.log.unfinished);
    assert_eq!(seen.finished.accepted.sentence(), "0 sessions from 10.0.0.1; nobody else was accepted either");
}

#[test]
fn ends_after_its_time_or_its_sessions() {
    let limits = Limits { duration: Some(Duration::from_millis(20)), ..Limits::default() };
    assert_eq!(go(false, limits, None).reason, "duration");
    assert_eq!(go(false, Limits { sessions: Some(0), ..Limits::default() }, None).reason, "sessions");
}

#[test]
fn ends_with_its_client() {
    let limits = || Limits { only: Some(Arc::default()), duration: Some(Duration::from_millis(300)), ..Limits::default() };
    assert_eq!(go(false, limits(), None).reason, "duration", "it has not begun");
    let without_connection = limits();
    without_connection.only.as_ref().expect("a client").over.set(Instant::now()).expect("once");
    assert_eq!(go(false, without_connection, None).reason, "sessions", "it came to nothing");
    let left = limits();
    let client = left.only.as_ref().expect("a client");
    client.client.set("10.0.0.1:1".into()).expect("once");
    client.over.set(Instant::now()).expect("once");
    assert_eq!(go(false, left, None).reason, "duration", "its session may still end");
}

struct Failing(io::ErrorKind);

impl Write for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_said_once_and_tracing_goes_on() {
    let log = log::Writer::new("x.jsonl", Box::new(Failing(io::ErrorKind::StorageFull)), false);
    let limits = Limits { duration: Some(Duration::from_millis(1300)), ..Limits::default() };
    let seen = go(false, limits, Some(log));
    assert_eq!(seen.reason, "duration");
    assert_eq!(seen.warnings.len(), 1, "{:?}", seen.warnings);
    assert!(seen.warnings[0].contains("x.jsonl") && seen.warnings[0].contains("without the log"));
    assert!(seen.finished.log_error.is_some());
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let log = log::Writer::new("standard output", Box::new(Failing(io::ErrorKind::BrokenPipe)), false);
    let limits = Limits { duration: Some(Duration::from_secs(20)), ..Limits::default() };
    let seen = go(false, limits, Some(log));
    assert_eq!(seen.reason, "signal");
    assert!(seen.warnings.is_empty());
}
