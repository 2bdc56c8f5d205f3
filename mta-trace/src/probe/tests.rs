//! The client against made-up servers on loopback.

use super::*;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

/// A server of one connection.
fn server(serve: impl FnOnce(TcpStream) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("an address");
    (address, std::thread::spawn(move || serve(listener.accept().expect("a client").0)))
}

fn plan() -> Plan {
    Plan { helo: "c.test".into(), quit_after: Some(Stage::Helo), ..Plan::default() }
}

fn played(plan: &Plan, timeout: Duration, serve: impl FnOnce(TcpStream) + Send + 'static) -> (Played, Result<(), Error>) {
    let (address, thread) = server(serve);
    let to = Destination { host: "localhost".into(), addresses: vec![address], timeout, tls_verify: false };
    let progress = Progress::default();
    let done = play(plan, &to, &progress);
    assert!(progress.over.get().is_some() && progress.client.get() == Some(&done.0.client));
    thread.join().expect("the server");
    done
}

const LIMIT: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

/// Says one thing after another, each behind something of the client.
fn says(mut stream: TcpStream, texts: &[&str]) {
    let mut reader = BufReader::new(stream.try_clone().expect("a copy"));
    for (n, text) in texts.iter().enumerate() {
        if n > 0 {
            // What the client sends at once comes at once.
            let read = reader.fill_buf().map_or(0, <[u8]>::len);
            reader.consume(read);
        }
        // A client that is not content leaves.
        let _ = stream.write_all(text.as_bytes());
    }
    let _ = reader.read_to_end(&mut Vec::new());
}

#[test]
fn a_session_is_measured() {
    let (played, done) = played(&plan(), LIMIT, |mut stream| {
        std::thread::sleep(Duration::from_millis(30));
        // In pieces, and several lines.
        for piece in ["2", "20-hel", "lo\r\n220 mx\r\n"] {
            stream.write_all(piece.as_bytes()).expect("written");
            std::thread::sleep(Duration::from_millis(5));
        }
        says(stream, &["", "250-mx\r\n250 SIZE\r\n", "221 bye\r\n"]);
    });
    done.expect("it is played");
    let codes: Vec<_> = played.exchanges.iter().map(|it| (it.commands[0].verb, it.commands[0].reply.as_ref().map(|reply| reply.0))).collect();
    assert_eq!(codes, [(Verb::Connect, Some(220)), (Verb::Ehlo, Some(250)), (Verb::Quit, Some(221))]);
    let greeting = &played.exchanges[0];
    assert!(greeting.done_ns - greeting.sent_ns >= 40_000_000, "until its last line");
    assert_eq!((played.exchanges[0].sent_ns, played.stopped), (played.connect_ns[0], None));
    assert!(played.exchanges.windows(2).all(|pair| pair[0].done_ns <= pair[1].sent_ns));
}

#[test]
fn failures_say_what_happened() {
    let (_, done) = played(&plan(), SHORT, |stream| says(stream, &[""]));
    assert_eq!(done.expect_err("late").to_string(), "the greeting: nothing came within 100ms; --timeout gives it longer");
    let (half, done) = played(&plan(), LIMIT, |stream| {
        let mut stream = stream;
        stream.write_all(b"220 mx\r\n250-half").expect("written");
        let _ = BufReader::new(&stream).read_line(&mut String::new());
    });
    assert!(done.expect_err("closed").to_string().starts_with("EHLO: the server closed the connection"));
    assert_eq!((half.exchanges.len(), &half.exchanges[1].commands[0].reply), (2, &None));
    let (_, done) = played(&plan(), LIMIT, |stream| says(stream, &["SSH-2.0-x\x1b[2J\r\n"]));
    assert!(done.expect_err("no SMTP").to_string().contains("is no reply of SMTP"));
    let (_, done) = played(&plan(), LIMIT, |mut stream| {
        // The client leaves in the middle.
        let _ = stream.write_all(&b"220-x\r\n".repeat(100_000));
    });
    assert!(done.expect_err("no end").to_string().contains("longer than"));
    let closed = TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("an address");
    let to = Destination { host: "localhost".into(), addresses: vec![closed], timeout: LIMIT, tls_verify: false };
    let (played, done) = play(&plan(), &to, &Progress::default());
    assert!(
        done.expect_err("nobody")
            .to_string()
            .ends_with("no connection: refused; see whether a mail server listens on this address and port (`ss -ltn`)")
    );
    assert_eq!(played.client, "");
}

#[test]
fn a_server_that_drips_is_late() {
    let (_, done) = played(&plan(), SHORT, |mut stream| {
        while stream.write_all(b"2").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert!(matches!(done, Err(Error::Timeout { .. })), "{done:?}");
}

#[test]
fn what_came_before_tls_is_dropped() {
    let plan = Plan { starttls: true, ..plan() };
    let injected = "220 go\r\n250-injected\r\n250 AUTH PLAIN\r\n";
    let (played, done) = played(&plan, LIMIT, move |stream| says(stream, &["220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n", injected, "no TLS\r\n"]));
    assert!(matches!(done, Err(Error::Tls { .. })), "{done:?}");
    let dropped = injected.len() - "220 go\r\n".len();
    assert!(played.notes[0].starts_with(&format!("{dropped} bytes that came behind the reply to STARTTLS")), "{:?}", played.notes);
    assert_eq!(played.exchanges.len(), 3, "nothing of it is a reply: {:?}", played.exchanges);
}

#[test]
fn a_login_takes_one_exchange_and_is_not_shown() {
    let password = Password::from_file(b"geheim").expect("a password");
    let login = Some(Login { user: "user".into(), password });
    let plan = Plan { login, quit_after: Some(Stage::Auth), ..plan() };
    // A server that repeats what it is sent.
    let replies = ["220 mx\r\n", "250-mx\r\n250 AUTH LOGIN\r\n", "334 x\r\n", "334 x\r\n", "535 no Z2VoZWlt\r\n", "221 bye\r\n"];
    let (played, done) = played(&plan, LIMIT, move |stream| says(stream, &replies));
    done.expect("it is played");
    let verbs: Vec<Verb> = played.exchanges.iter().map(|it| it.commands[0].verb).collect();
    assert_eq!(verbs, [Verb::Connect, Verb::Ehlo, Verb::Auth, Verb::Quit]);
    let auth = &played.exchanges[2].commands[0];
    assert_eq!((auth.line.as_deref(), auth.reply.as_ref().map(|it| (it.0, &it.1))), (Some("AUTH LOGIN"), Some((535, &None))));
    assert!(!format!("{played:?}").contains("Z2Vo") && !format!("{played:?}").contains("geheim"));
    assert_eq!(played.stopped.as_deref(), Some("AUTH was refused with 535"));
}
