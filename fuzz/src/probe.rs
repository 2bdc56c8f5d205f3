//! The client of `probe`: whatever a server says, the dialogue ends, no secret goes out before its TLS, and what is shown is harmless.

use mta_trace::probe::dialogue::{Act, Dialogue};
use mta_trace::probe::reply::{MAX_LINE, MAX_REPLY, Reader, Reply};
use mta_trace::probe::{Login, Password, Plan, Played, Stage, Timed, Told, alone, stuffed};
use mta_trace::report::Verb;
use mta_trace::view::{escape::is_hostile, json, probe};

/// Which switches the first byte turns on.
const TLS: u8 = 1;
const LOGIN: u8 = 2;
const PIPELINE: u8 = 4;
const MESSAGE: u8 = 8;
const STAGE: u8 = 16;

/// More acts than any dialogue has.
const MOST_ACTS: usize = 30;

/// Servers.
pub fn seeds() -> Vec<Vec<u8>> {
    let whole = "220 mx\r\n250-mx\r\n250-STARTTLS\r\n250-PIPELINING\r\n250 AUTH PLAIN LOGIN\r\n";
    let servers = [
        "250 ok\r\n250 ok\r\n354 go\r\n250 queued\r\n221 bye\r\n",
        "220 go\r\n250-mx\r\n250 AUTH LOGIN\r\n334 x\r\n334 x\r\n235 ok\r\n250 ok\r\n550 no\r\n221 bye\r\n",
        "334\r\n535 no\r\n221 bye\r\n",
        "421 too busy\r\n",
    ];
    let switches = [0, TLS | LOGIN, LOGIN, PIPELINE | MESSAGE, MESSAGE, STAGE];
    servers.iter().flat_map(|server| switches.map(|first| [&[first][..], whole.as_bytes(), server.as_bytes()].concat())).collect()
}

/// Checks one input.
pub fn run(bytes: &[u8]) {
    let (first, server) = bytes.split_first().unwrap_or((&0, &[]));
    let replies = replies(server);
    let plan = plan(*first);
    harmless(&play(&plan, replies));
    message(server);
}

/// No more than is allowed is kept, and none of it has a line end.
fn replies(server: &[u8]) -> Vec<Reply> {
    let mut reader = Reader::default();
    let mut all = Vec::new();
    for byte in server {
        match reader.push(*byte) {
            Ok(reply) => all.extend(reply),
            Err(broken) => {
                assert!(broken.to_string().len() < 500);
                break;
            }
        }
    }
    for reply in &all {
        assert!((200..600).contains(&reply.code) && !reply.lines.is_empty() && reply.lines.len() <= MAX_REPLY / 4);
        // What is no UTF-8 is replaced by three bytes.
        assert!(reply.lines.iter().all(|line| line.len() <= 3 * MAX_LINE && !line.contains('\n')));
    }
    all
}

fn plan(switches: u8) -> Plan {
    let is_on = |switch| switches & switch != 0;
    let address = |text: &str| text.parse().expect("an address");
    let password = Password::from_file(b"hunter2hunter2").expect("a password");
    Plan {
        helo: "c.test".into(),
        from: Some(address("a@example.com")),
        rcpts: vec![address("b@example.net"), address("c@example.net")],
        login: is_on(LOGIN).then(|| Login { user: "user".into(), password }),
        starttls: is_on(TLS),
        pipeline: is_on(PIPELINE),
        message: is_on(MESSAGE).then(|| stuffed(b"x")),
        quit_after: is_on(STAGE).then_some(Stage::Rcpt),
    }
}

fn play(plan: &Plan, replies: Vec<Reply>) -> Played {
    let mut dialogue = Dialogue::new(plan);
    let (mut replies, mut is_secure) = (replies.into_iter(), false);
    let mut played = Played { client: "127.0.0.1:1".into(), server: "127.0.0.1:25".into(), ..Played::default() };
    let mut act = Dialogue::BEGIN;
    for _ in 0..MOST_ACTS {
        let lines = match act {
            Act::Close => {
                (played.stopped, played.notes) = dialogue.outcome();
                return played;
            }
            Act::StartTls => {
                assert!(plan.starttls && !is_secure);
                is_secure = true;
                act = dialogue.secured();
                continue;
            }
            Act::Say(lines) => lines,
            Act::Hear | Act::Message { .. } => Vec::new(),
        };
        for line in &lines {
            assert!(!line.text.contains(['\r', '\n']) && !line.shown.contains("aHVudGVyMm"), "{line:?}");
            assert!(line.verb != Verb::Auth || plan.login.is_some() && (is_secure || !plan.starttls), "{line:?}");
        }
        let heard: Vec<Reply> = replies.by_ref().take(lines.len().max(1)).collect();
        let told = |(n, reply): (usize, &Reply)| {
            let line = lines.get(n).map(|line| line.shown.clone());
            Told { verb: lines.get(n).map_or(Verb::Connect, |line| line.verb), line, reply: Some((reply.code, Some(reply.first_line()), 1)) }
        };
        played.exchanges.push(Timed { commands: heard.iter().enumerate().map(told).collect(), ..Timed::default() });
        act = dialogue.heard(&heard);
    }
    panic!("the dialogue has no end: {dialogue:?}");
}

fn harmless(played: &Played) {
    let measured = alone(played, 0);
    for line in probe::alone(&measured).into_iter().chain(probe::beside(&measured)) {
        assert!(line.chars().count() <= 80 && !line.chars().any(is_hostile), "{line:?}");
    }
    let mut text = Vec::new();
    json::write(&mut text, &measured).expect("memory takes everything");
    assert_eq!(serde_json::from_slice::<mta_trace::report::Probe>(&text).expect("own JSON"), measured);
}

/// A server finds the end of the message where it is, and nowhere else.
fn message(bytes: &[u8]) {
    let wire = stuffed(bytes);
    assert!(wire.ends_with(b".\r\n") && !wire[..wire.len() - 3].starts_with(b".\r\n"));
    let ends = wire.windows(5).filter(|part| *part == b"\r\n.\r\n").count();
    assert_eq!(ends, usize::from(wire.len() > 3));
    for pair in wire.windows(2) {
        assert_eq!(pair[0] == b'\r', pair[1] == b'\n', "every line ends in CRLF");
    }
}
