use super::proto::Value;
use super::*;
use crate::report::{Command, Verb};
use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpListener;
use std::rc::Rc;

/// What was written, to be looked at.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn session(commands: usize) -> Session {
    let command = |index: usize| {
        serde_json::json!({
            "index": index, "verb": "NOOP", "line": "NOOP", "reply_code": 250, "reply": "250 OK", "start_s": index as f64, "elapsed_s": 0.5 + index as f64 * 1e-6,
            "short_waits_s": 0.0, "cpu_s": 0.0, "runqueue_s": 0.0, "unexplained_s": 0.0,
            "waits": [{"cause": "milter", "target": "/run/milter", "start_s": index as f64, "elapsed_s": 0.25, "outcome": "timeout", "syscalls": ["poll"],
                "peer": {"pid": 7, "comm": "opendkim"},
                "inner": [{"cause": "dns", "target": "192.0.2.53:53", "start_s": index as f64 + 0.1, "elapsed_s": 0.1, "outcome": "ok", "syscalls": ["poll"],
                    "dns": {"qname": "example.com", "qtype": "TXT", "rcode": "NOERROR", "servers": []}}]}],
        })
    };
    serde_json::from_value(serde_json::json!({
        "id": "14811-1", "mta": "sendmail", "mta_version": "8.17.1.9", "pid": 14811, "daemon_pid": 13633, "client": "10.99.0.1:54712", "server": "10.99.0.2:25",
        "started": "2026-03-21T04:43:26.521219Z", "elapsed_s": commands as f64, "client_s": 1.2, "complete": true, "began": "accept", "end": "quit", "tls": null,
        "queue_ids": ["6AO4hfnA018762"], "commands": (0..commands).map(command).collect::<Vec<_>>(), "findings": [],
    }))
    .expect("a session")
}

fn totals() -> Report {
    serde_json::from_value(serde_json::json!({
        "schema": "mta-trace.report/1", "tool": {"version": "0.1.0", "kernel": "6.1.0", "hooks": "tracepoint"},
        "log": {"events": 0, "lost": 0, "truncated": 0}, "sessions": [],
    }))
    .expect("a report")
}

fn value<'a>(span: &'a Span, key: &str) -> Option<&'a Value> {
    span.attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()
}

#[test]
fn waits_lie_in_commands_and_helpers_are_services() {
    let spans = spans::of(&session(2));
    let of = |owned: &Owned| (owned.span.name.clone(), owned.service.clone());
    let server = Service::Server { name: "sendmail".into(), version: Some("8.17.1.9".into()) };
    let helper = Service::Helper { name: "opendkim".into() };
    let expected = [("SMTP session", &server), ("NOOP", &server), ("milter", &server), ("dns TXT", &helper)]
        .map(|(name, service)| (name.to_owned(), service.clone()));
    assert_eq!(spans[..4].iter().map(of).collect::<Vec<_>>(), expected);
    for pair in spans[..4].windows(2) {
        assert_eq!(pair[1].span.parent_span_id, pair[0].span.span_id);
        assert!(
            pair[0].span.start_time_unix_nano <= pair[1].span.start_time_unix_nano
                && pair[1].span.end_time_unix_nano <= pair[0].span.end_time_unix_nano
        );
    }
    let wait = &spans[2].span;
    assert_eq!((wait.start_time_unix_nano, wait.end_time_unix_nano), (1_774_068_206_521_219_000, 1_774_068_206_771_219_000));
    assert_eq!(wait.status.as_ref().map(|status| status.code), Some(proto::ERROR));
    assert_eq!(value(wait, "error.type"), Some(&Value::StringValue("timeout".into())));
    assert_eq!(value(wait, "server.address"), Some(&Value::StringValue("/run/milter".into())));
    assert_eq!(value(&spans[0].span, "client.port"), Some(&Value::IntValue(54712)));
    assert_eq!(spans, spans::of(&session(2)), "the same again");
}

#[test]
fn a_long_session_has_fewer_than_a_thousand_spans() {
    let session = session(4_000);
    let spans = spans::of(&session);
    assert_eq!(spans.len(), spans::MAX_SPANS - 1);
    // The longest are kept: commands, since all are longer than any wait.
    assert!(spans[1..].iter().all(|owned| owned.span.name == "NOOP" && owned.span.parent_span_id == spans[0].span.span_id));
    let number = |span: &Span, key: &str| match value(span, key) {
        Some(Value::IntValue(count)) => *count as f64,
        Some(Value::DoubleValue(s)) => *s,
        other => panic!("{key}: {other:?}"),
    };
    let left_out: f64 = spans.iter().map(|owned| number(&owned.span, "mta_trace.left_out.spans")).sum();
    assert!((left_out - f64::from(12_001 - 999)).abs() < 0.5, "{left_out}");
    let kept_s: f64 = spans[1..].iter().map(|owned| (owned.span.end_time_unix_nano - owned.span.start_time_unix_nano) as f64 / 1e9).sum();
    let all_s: f64 = session.commands.iter().map(|command: &Command| command.elapsed_s).sum();
    assert!((kept_s + number(&spans[0].span, "mta_trace.left_out.s") - all_s).abs() < 1e-3);
    assert!(session.commands.iter().all(|command| command.verb == Verb::Noop));
}

#[test]
fn requests_are_bounded() {
    let out = Shared::default();
    let mut export = begin(Output::Stream(Box::new(out.clone()))).expect("begins");
    for _ in 0..5 {
        export.session(&session(200)).expect("written");
    }
    export.finish(&totals()).expect("written");
    let text = String::from_utf8(out.0.take()).expect("JSON");
    let mut all = 0;
    for line in text.lines() {
        let request: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let spans: usize =
            request["resourceSpans"].as_array().expect("list").iter().map(|it| it["scopeSpans"][0]["spans"].as_array().expect("list").len()).sum();
        assert!(spans <= MAX_BATCH);
        all += spans;
    }
    assert_eq!(all, 5 * 601);
    let first: serde_json::Value = serde_json::from_str(text.lines().next().expect("line")).expect("JSON");
    let span = &first["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(span["traceId"].as_str().map(str::len), Some(32));
    assert_eq!(span["startTimeUnixNano"], "1774068206521219000");
    assert_eq!(span["attributes"][2]["value"]["intValue"], "14811");
    assert!(span.get("parentSpanId").is_none() && span.get("status").is_none());
}

/// Head and body of each request.
type Requests = std::thread::JoinHandle<Vec<(String, Vec<u8>)>>;

/// A collector that gives these answers, one to each connection; and what it was sent.
fn collector(answers: &'static [&'static str]) -> (String, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("address"));
    let thread = std::thread::spawn(move || {
        answers
            .iter()
            .map(|answer| {
                let (mut stream, _) = listener.accept().expect("a connection");
                let mut reader = BufReader::new(stream.try_clone().expect("copy"));
                let (mut head, mut length) = (String::new(), 0);
                while !head.ends_with("\r\n\r\n") {
                    let mut line = String::new();
                    reader.read_line(&mut line).expect("head");
                    length = line.strip_prefix("Content-Length: ").map_or(length, |it| it.trim().parse().expect("length"));
                    head.push_str(&line);
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).expect("body");
                stream.write_all(answer.as_bytes()).expect("answered");
                (head, body)
            })
            .collect()
    });
    (endpoint, thread)
}

fn send(endpoint: &str) -> Result<(), Error> {
    let resolve: Resolve =
        |host, port| std::net::ToSocketAddrs::to_socket_addrs(&(host, port)).map(Iterator::collect).map_err(|error| error.to_string());
    let mut export = begin(Output::Endpoint { url: endpoint.to_owned(), resolve })?;
    export.session(&session(1))?;
    export.finish(&totals())
}

#[test]
fn a_busy_collector_is_asked_once_more() {
    let (endpoint, thread) =
        collector(&["HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]);
    send(&endpoint).expect("sent");
    let requests = thread.join().expect("collector");
    assert!(
        requests[0].0.starts_with("POST /v1/traces HTTP/1.1\r\n") && requests[0].0.contains("\r\nContent-Type: application/x-protobuf\r\n"),
        "{}",
        requests[0].0
    );
    assert_eq!(requests[0].1, requests[1].1);
    let traces = Traces::decode(requests[0].1.as_slice()).expect("protobuf");
    assert_eq!(traces.resource_spans.iter().flat_map(|it| &it.scope_spans).flat_map(|it| &it.spans).count(), 4);
}

#[test]
fn what_goes_wrong_is_said() {
    let (endpoint, _thread) = collector(&["HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nno\x1b[2J way"]);
    let error = send(&endpoint).expect_err("refused").to_string();
    assert_eq!(error, format!("{endpoint}: answered with HTTP status 404: no\\x1b[2J way; name the collector's base URL: /v1/traces is added to it"));
    // PartialSuccess { rejected_spans: 3, error_message: "full" }.
    let (endpoint, _thread) =
        collector(&["HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 10\r\n\r\n\x0a\x08\x08\x03\x12\x04full"]);
    let error = send(&endpoint).expect_err("rejected").to_string();
    assert_eq!(error, format!("{endpoint}: took the requests, but rejected 3 spans: full"));
    let (endpoint, _thread) = collector(&["HTTP/1.1 503 Busy\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n"]);
    let error = send(&endpoint).expect_err("busy").to_string();
    assert!(error.ends_with("answered with HTTP status 503; it has too much to do, try again later; it asks to be tried again in 3600 s"), "{error}");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("address");
    let error = send(&format!("http://{free}")).expect_err("nobody").to_string();
    assert!(error.contains(&format!("cannot connect to {free}: Connection refused")), "{error}");
    assert!(send("localhost:4318").expect_err("no URL").to_string().contains("is no URL that begins with http:// or https://"));
}
