//! A client's figures beside a server's.

use super::*;
use crate::probe::Told;
use serde_json::{Value, json};

const MS: u64 = 1_000_000;

fn command(index: usize, verb: &str, start_s: f64, elapsed_s: f64, waits: &[Value]) -> Value {
    json!({"index": index, "verb": verb, "line": null, "reply_code": 250, "reply": null, "start_s": start_s, "elapsed_s": elapsed_s,
        "short_waits_s": 0.0, "cpu_s": 0.0, "runqueue_s": 0.0, "unexplained_s": 0.0, "waits": waits})
}

/// A session that was accepted 1 ms after its client began to connect at 1 s.
fn report(client: &str, commands: &[Value]) -> Report {
    let session = |id: &str, client: &str, commands: &[Value]| {
        json!({"id": id, "mta": "sendmail", "mta_version": null, "pid": 1, "daemon_pid": 1, "client": client, "server": "10.99.0.2:25",
            "started": "1970-01-01T00:00:01.001000Z", "elapsed_s": 1.0, "client_s": 0.0, "complete": true, "began": "accept", "end": "quit",
            "tls": null, "queue_ids": [], "commands": commands, "findings": []})
    };
    let sessions = [session("1-1", "10.99.0.9:1", &[]), session("1-2", client, commands)];
    serde_json::from_value(json!({"schema": "mta-trace.report/1", "tool": {"version": "0", "kernel": "6", "hooks": "tracepoint"},
        "log": {"events": 0, "lost": 0, "truncated": 0}, "sessions": sessions}))
    .expect("a report")
}

fn timed(sent_ms: u64, done_ms: u64, verbs: &[Verb]) -> Timed {
    let told = |verb: &Verb| Told { verb: *verb, line: None, reply: (*verb != Verb::Tls).then(|| (250, None, (1000 + done_ms) * MS)) };
    Timed { sent_ns: (1000 + sent_ms) * MS, done_ns: (1000 + done_ms) * MS, commands: verbs.iter().map(told).collect() }
}

fn joined(commands: &[Value], exchanges: Vec<Timed>) -> Probe {
    let client = "10.99.0.1:4000".to_owned();
    let played = Played { client: client.clone(), connect_ns: [1000 * MS, 1001 * MS], exchanges, ..Played::default() };
    let mut report = report(&client, commands);
    join(&mut report, alone(&played, 0));
    assert_eq!(report.sessions.len(), 1, "the other session is left out");
    let probe = report.sessions.remove(0).probe.expect("the probe is in its session");
    assert!(probe.notes[0].starts_with("1 other session"), "{:?}", probe.notes);
    *probe
}

/// To the microsecond.
fn is(value: Option<f64>, expected: f64) -> bool {
    value.is_some_and(|value| (value - expected).abs() < 1e-6)
}

#[test]
fn what_is_not_the_servers_is_outside() {
    let commands = [command(0, "CONNECT", 0.0, 0.010, &[]), command(1, "EHLO", 0.012, 0.002, &[]), command(2, "QUIT", 0.020, 0.001, &[])];
    let probe = joined(&commands, vec![timed(0, 12, &[Verb::Connect]), timed(12, 16, &[Verb::Ehlo]), timed(20, 23, &[Verb::Quit])]);
    assert!(is(probe.accept_s, 0.001) && is(Some(probe.connect_s), 0.001) && is(Some(probe.elapsed_s), 0.023), "{probe:?}");
    for (exchange, (server_s, outside_s)) in probe.exchanges.iter().zip([(0.010, 0.002), (0.002, 0.002), (0.001, 0.002)]) {
        assert!(is(exchange.server_s, server_s) && is(exchange.outside_s, outside_s), "{exchange:?}");
    }
    assert!(is(probe.server_s, 0.013) && is(probe.outside_s, 0.006));
}

#[test]
fn a_batch_is_one_exchange() {
    let commands = [command(0, "MAIL", 0.001, 0.3, &[]), command(1, "RCPT", 0.301, 0.1, &[]), command(2, "RCPT", 0.401, 0.1, &[])];
    let probe = joined(&commands, vec![timed(1, 510, &[Verb::Mail, Verb::Rcpt, Verb::Rcpt])]);
    assert!(is(probe.exchanges[0].server_s, 0.5) && is(probe.exchanges[0].outside_s, 0.009));
    assert_eq!(probe.exchanges[0].commands.iter().map(|it| it.command).collect::<Vec<_>>(), [Some(0), Some(1), Some(2)]);
}

#[test]
fn a_command_that_was_not_traced_is_not_taken_from_another_exchange() {
    let commands = [command(0, "RCPT", 0.100, 0.050, &[])];
    let probe = joined(&commands, vec![timed(1, 20, &[Verb::Rcpt]), timed(90, 160, &[Verb::Rcpt])]);
    assert_eq!(probe.exchanges[0].server_s, None);
    assert!(is(probe.exchanges[1].server_s, 0.05));
}

#[test]
fn inside_tls_it_is_told_by_time() {
    let tls = json!({"cause": "tls", "target": null, "start_s": 0.02, "elapsed_s": 0.004, "outcome": "ok", "syscalls": []});
    let commands = [
        command(0, "STARTTLS", 0.010, 0.001, &[]),
        // From the 220 on, and until its tickets are out.
        command(1, "TLS", 0.011, 0.020, &[tls]),
        command(2, "OPAQUE", 0.040, 0.010, &[]),
        command(3, "OPAQUE", 0.060, 0.500, &[]),
    ];
    let exchanges = vec![timed(10, 13, &[Verb::Starttls]), timed(13, 25, &[Verb::Tls]), timed(40, 52, &[Verb::Ehlo]), timed(60, 570, &[Verb::Mail])];
    let probe = joined(&commands, exchanges);
    let server: Vec<Option<f64>> = probe.exchanges.iter().map(|it| it.server_s).collect();
    assert!(is(server[0], 0.001) && is(server[1], 0.012) && is(server[2], 0.010) && is(server[3], 0.5), "{server:?}");
    assert_eq!(probe.exchanges[3].commands[0].command, Some(3));
}

#[test]
fn what_was_given_up_has_no_more_than_the_client_waited() {
    let commands = [command(0, "MAIL", 0.001, 20.0, &[])];
    let mut given_up = timed(1, 5001, &[Verb::Mail]);
    given_up.commands[0].reply = None;
    let probe = joined(&commands, vec![given_up]);
    assert!(is(probe.exchanges[0].server_s, 5.0) && is(probe.exchanges[0].outside_s, 0.0), "{probe:?}");
}

#[test]
fn a_session_that_was_not_seen_is_said() {
    let mut report = report("10.99.0.1:1", &[]);
    join(&mut report, Probe { client: "192.0.2.1:9".into(), ..Probe::default() });
    assert_eq!(report.sessions.len(), 2);
    assert!(report.probe.is_some_and(|probe| probe.notes[0].contains("the server's side was not seen")));
}
