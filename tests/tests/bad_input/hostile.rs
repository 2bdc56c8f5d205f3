//! Hostile bytes from the network.

use crate::{
    LIMIT,
    program::{Tracer, mta_trace},
    world::{Client, lab, lab_with, path_text, quit, report, session, traced},
};
use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use lab::{
    Lab,
    journal::{Event, What},
    scenario::{DnsAction, DnsRule},
};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
};

tests! {
    root: hostile_smtp_lines, hostile_dns_answers, hostile_dns_answers_in_a_log;
    anyone:
}

fn hostile_smtp_lines() {
    let lab = lab("hostile-smtp");
    let log = lab.dir().join("trace.jsonl");
    for view in ["timeline", "strace"] {
        let tracer = Tracer::attach(&lab, view, &["--sessions", "4", "--force", "-o", &path_text(&log), "--view", view]);
        for hostile in [
            [&b"NOOP "[..], &vec![b'A'; 1 << 20]].concat(),
            b"NOOP \0\0\0x\0".to_vec(),
            b"NOOP \xff\xfe\xc0\x80\xed\xa0\x80\xf5".to_vec(),
            "HELO \u{1b}[2J\u{1b}]0;title\u{7}\u{202e}\u{9b}31m\u{7f}\r\nNOOP \u{1b}[31m".as_bytes().to_vec(),
        ] {
            talk(&lab, &hostile).expect("the mail server answers");
            assert!(lab.wait_served(LIMIT));
        }
        let ended = tracer.wait();
        is_printable(&ended.is_done().stdout);
        is_printable(ended.stderr.as_bytes());
        let replayed = mta_trace(&["report", &path_text(&log)]);
        is_printable(&replayed.is_done().stdout);
        assert_eq!(report(&log)["sessions"].as_array().unwrap().len(), 4);
    }
    session(&lab);
}

/// Reads the greeting, sends the line, then QUIT; reads until the server closes.
fn talk(lab: &Lab, line: &[u8]) -> Result<String> {
    let mut stream: TcpStream = lab.connect()?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut greeting = String::new();
    BufReader::new(stream.try_clone()?).read_line(&mut greeting)?;
    ensure!(greeting.starts_with("220"), "{greeting}");
    // sendmail may refuse the line and close before it has read all of it.
    let _ = stream.write_all(line).and_then(|()| stream.write_all(b"\r\nQUIT\r\n"));
    let mut replies = Vec::new();
    let read = stream.read_to_end(&mut replies);
    ensure!(!replies.is_empty(), "no reply: {read:?}");
    String::from_utf8(replies).context("replies")
}

#[track_caller]
fn is_printable(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    let bad = |c: &char| c.is_control() && *c != '\n' || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    assert_eq!(text.chars().find(bad), None, "{text:?}");
}

/// Takes a real answer and gives what takes its place.
type Trick<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

fn hostile_dns_answers() {
    let rule = |name: &str, qtype: &str, action| DnsRule { name: name.into(), qtype: qtype.into(), action, ..DnsRule::default() };
    let lab = lab_with("hostile-dns", |scenario| {
        // What the resolver takes for no answer at all it asks once more, a second later.
        scenario.dns.options = "timeout:1".into();
        scenario.dns.rules = vec![
            rule("example.com", "AAAA", DnsAction::Cut),
            rule("example.com", "MX", DnsAction::Loop),
            rule("example.net", "AAAA", DnsAction::Labels),
        ];
    });
    let log = lab.dir().join("trace.jsonl");
    let tracer = Tracer::attach(&lab, "tracer", &["--sessions", "1", "-o", &path_text(&log)]);
    let mut client = Client::connect(&lab);
    client.say("HELO client.lab.test", "250");
    client.say("MAIL FROM:<a@client.lab.test>", "250");
    // Whether sendmail accepts such domains is its own affair; it answers.
    for line in ["RCPT TO:<b@example.com>", "RCPT TO:<b@example.net>"] {
        client.send(line);
        client.reply("");
    }
    quit(client, &lab);
    is_printable(&tracer.wait().is_done().stdout);
    for damage in ["cut", "loop", "labels"] {
        let is_sent = |event: &Event| matches!(&event.what, What::DnsReply { rcode, .. } if rcode == damage);
        assert!(lab.journal().events().iter().any(is_sent), "no answer was sent that is `{damage}`");
    }
    let report = report(&log);
    let commands = report["sessions"][0]["commands"].as_array().unwrap();
    let verbs: Vec<&str> = commands.iter().filter_map(|command| command["verb"].as_str()).collect();
    assert_eq!(verbs, ["CONNECT", "HELO", "MAIL", "RCPT", "RCPT", "QUIT", "DISCONNECT"], "{report}");
    // It serves the next one as if nothing had been.
    let mut client = Client::connect(&lab);
    client.say("HELO client.lab.test", "250");
    client.say("MAIL FROM:<a@client.lab.test>", "250");
    quit(client, &lab);
}

fn hostile_dns_answers_in_a_log() {
    let lab = lab("hostile-dns-log");
    let text = fs::read_to_string(traced(&lab)).unwrap();
    let head = |id: &[u8]| [id, &[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]].concat();
    let tail = [0, 28, 0, 1];
    let labels = |id: &[u8], count: usize| [head(id), [1, b'a'].repeat(count), vec![0], tail.to_vec()].concat();
    let tricks: [(&str, Trick<'_>); 9] = [
        ("cut behind the id", &|real| real[..2].to_vec()),
        ("cut in the header", &|real| real[..7].to_vec()),
        ("cut in the name", &|real| real[..real.len().min(15)].to_vec()),
        ("pointer to itself", &|real| [head(&real[..2]), vec![0xc0, 12], tail.to_vec()].concat()),
        ("two pointers in a circle", &|real| [head(&real[..2]), vec![0xc0, 14, 0xc0, 12], tail.to_vec()].concat()),
        ("pointer behind the end", &|real| [head(&real[..2]), vec![0xff, 0xff], tail.to_vec()].concat()),
        ("255 labels", &|real| labels(&real[..2], 255)),
        ("127 labels", &|real| labels(&real[..2], 127)),
        ("escape sequences in a label", &|real| [head(&real[..2]), vec![5, 0x1b, b'[', b'3', b'1', b'm', 0], tail.to_vec()].concat()),
    ];
    for (name, trick) in tricks {
        let mut damaged = 0;
        let lines: Vec<String> = text
            .lines()
            .map(|line| {
                let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
                let data = record["data"].as_str().map(|text| STANDARD.decode(text).unwrap()).filter(|data| data.len() > 12);
                let is_dns = record["peer"].as_str().is_some_and(|peer| peer.ends_with(":53"));
                let is_answer = record["call"].as_str().is_some_and(|call| call.starts_with("recv") || call == "read");
                if let (true, true, Some(data)) = (is_dns, is_answer, data) {
                    damaged += 1;
                    let answer = trick(&data);
                    record["ret"] = answer.len().into();
                    record["data"] = STANDARD.encode(&answer).into();
                }
                record.to_string()
            })
            .collect();
        assert!(damaged >= 2, "{name}: only {damaged} packets");
        let path = lab.dir().join("dns.jsonl");
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        let ended = mta_trace(&["report", &path_text(&path)]);
        is_printable(&ended.is_done().stdout);
        assert_eq!(report(&path)["sessions"].as_array().unwrap().len(), 1, "{name}");
    }
}
