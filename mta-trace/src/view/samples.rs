//! Made-up sessions for the tests of the views.

use crate::diagnosis::findings;
use crate::report::{Began, Cause, Command, Dns, DnsServer, LogSummary, Outcome, REPORT_SCHEMA, Report, Session, SessionEnd, Tool, Verb, Wait};

/// Compares with the text that is kept beside this file; `BLESS=1` writes it anew, to be read in the diff.
pub fn check(name: &str, text: &str) {
    let path = format!("{}/src/view/samples/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, text).expect("in a test");
    }
    assert_eq!(text, std::fs::read_to_string(&path).expect("in a test"), "\n{text}");
}

pub fn report(sessions: Vec<Session>) -> Report {
    Report {
        schema: REPORT_SCHEMA.to_owned(),
        tool: Tool { version: "0.1.0".to_owned(), kernel: "6.1.0".to_owned(), hooks: "tracepoint".to_owned() },
        log: LogSummary { events: 812, ..LogSummary::default() },
        daemon: None,
        findings: Vec::new(),
        sessions,
        left_out: None,
        probe: None,
    }
}

pub fn wait(cause: Cause, target: &str, start_s: f64, elapsed_s: f64, outcome: Outcome) -> Wait {
    Wait { start_s, elapsed_s, syscalls: vec!["poll".to_owned()], ..Wait::bare(cause, Some(target.to_owned()), outcome) }
}

pub fn silent(qtype: &str, qname: &str, start_s: f64) -> Wait {
    let server =
        DnsServer { address: "10.99.0.1:53".to_owned(), attempts: 2, answered: false, waited_s: Some(10.01), tcp_attempts: None, truncated: false };
    Wait {
        attempts: Some(2),
        dns: Some(Dns {
            qname: qname.to_owned(),
            qtype: qtype.to_owned(),
            rcode: None,
            servers: vec![server],
            unanswered: None,
            purpose: None,
            zone: None,
        }),
        ..wait(Cause::Dns, "10.99.0.1:53", start_s, 10.01, Outcome::Timeout)
    }
}

pub fn command(index: usize, verb: Verb, line: Option<&str>, reply: &str, start_s: f64, waits: Vec<Wait>) -> Command {
    Command {
        index,
        verb,
        line: line.map(str::to_owned),
        line_bytes: None,
        reply_code: reply.get(..3).and_then(|code| code.parse().ok()),
        reply: (!reply.is_empty()).then(|| reply.to_owned()),
        start_s,
        elapsed_s: waits.iter().map(|wait| wait.elapsed_s).sum::<f64>() + 0.002,
        short_waits_s: 0.0,
        cpu_s: 0.002,
        runqueue_s: 0.0,
        unexplained_s: 0.0,
        waits,
        queue_id: None,
        boundary: None,
        absent: Vec::new(),
    }
}

fn session(commands: Vec<Command>) -> Session {
    let last = commands.last().map_or(0.0, |command| command.start_s + command.elapsed_s);
    let server_s: f64 = commands.iter().map(|command| command.elapsed_s).sum();
    let mut session = Session {
        id: "14811-1".to_owned(),
        mta: "sendmail".to_owned(),
        mta_version: Some("8.17.1.9".to_owned()),
        pid: 14811,
        daemon_pid: 13633,
        client: "10.99.0.1:54712".to_owned(),
        server: "10.99.0.2:25".to_owned(),
        started: "2026-03-21T04:43:26.521219Z".to_owned(),
        elapsed_s: last,
        client_s: last - server_s,
        complete: true,
        began: Began::Accept,
        end: SessionEnd::Quit,
        tls: None,
        queue_ids: vec!["6AO4hfnA018762".to_owned()],
        commands,
        left_out: None,
        findings: Vec::new(),
        between: Vec::new(),
        before_accept_s: None,
        inherited_by: Vec::new(),
        probe: None,
    };
    session.findings = findings(&session, &crate::diagnosis::Settings::default());
    session
}

/// PTR and ident at the connection, the two silent questions at MAIL.
pub fn slow_session() -> Session {
    let mut ident = wait(Cause::Ident, "10.99.0.1:113", 10.019, 4.999, Outcome::Timeout);
    ident.syscalls = vec!["connect".to_owned()];
    ident.timer_s = Some(5.0);
    ident.connected = Some(false);
    ident.attempts = Some(1);
    session(vec![
        command(
            0,
            Verb::Connect,
            None,
            "220 m1.example.test ESMTP Sendmail 8.17.1.9/8.17.1.9",
            0.0,
            vec![silent("PTR", "1.0.99.10.in-addr.arpa", 0.004), ident],
        ),
        command(1, Verb::Helo, Some("HELO localhost"), "250 m1.example.test Hello client [10.99.0.1]", 16.201, vec![]),
        command(
            2,
            Verb::Mail,
            Some("MAIL FROM:<a@example.com>"),
            "250 2.1.0 <a@example.com>... Sender ok",
            17.5,
            vec![silent("AAAA", "example.com", 17.501), silent("A", "example.com", 27.511)],
        ),
        command(3, Verb::Quit, Some("QUIT"), "221 2.0.0 m1.example.test closing connection", 38.0, vec![]),
    ])
}

/// Everything that the network can name, hostile.
pub fn hostile_session() -> Session {
    let evil = "\u{1b}]0;owned\u{7}\u{202e}evil".repeat(12);
    let mut it = session(vec![
        command(0, Verb::Mail, Some(&evil), &format!("250 {evil}"), 0.0, vec![silent("A", &evil, 0.0)]),
        command(1, Verb::Data, None, "", 11.0, vec![wait(Cause::FileIo, &evil, 11.0, 1.0, Outcome::Ok)]),
        command(2, Verb::Data, None, "", 13.0, vec![wait(Cause::Network, &evil, 13.0, 1.0, Outcome::Timeout)]),
    ]);
    it.client.clone_from(&evil);
    it.mta_version = Some(evil.clone());
    it.queue_ids = vec![evil];
    it
}
