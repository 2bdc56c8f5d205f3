//! Every way in which a client may bring a secret: dialogues, each with a canary of its own.
//!
//! Each reply must have the code that the server really gives, so that a case is what its name says.

use crate::{search::base64, server::Server};

/// What a client does.
pub enum Act {
    /// Sends bytes in one segment.
    Send(Vec<u8>),
    /// Sends each byte as a segment of its own.
    Split(Vec<u8>),
    /// Reads a whole reply with this code.
    Reply(u16),
    /// Reads the reply to EHLO, which offers AUTH or not, as the server should.
    Offer,
    /// The server closes the connection and says nothing more.
    Closed,
    /// Waits until the name server was asked: from here on the server waits for it.
    UntilAsked,
    /// The serving child's title holds the canary, and so it does when the tracer looks at it next.
    Titled,
    /// The name server has not answered yet.
    Unanswered,
    /// Attaches a tracer to the serving child, for cases that begin in the middle.
    Attach,
    /// Ends that tracer's trace.
    Detach,
}
use Act::{Attach, Closed, Detach, Offer, Reply, Send, Split, Titled, Unanswered, UntilAsked};

pub struct Case {
    pub name: String,
    pub canary: String,
    pub acts: Vec<Act>,
    pub server: Server,
}

impl Case {
    pub fn split_bytes(&self) -> usize {
        self.acts.iter().map(|act| if let Split(bytes) = act { bytes.len() } else { 0 }).sum()
    }
}

fn case(name: &str, server: Server, acts: impl FnOnce(&str) -> Vec<Act>) -> Case {
    from_the_beginning(name, server, |canary| [Reply(220), Send(line("EHLO client.lab.test")), Offer].into_iter().chain(acts(canary)).collect())
}

/// A dialogue that does not begin with EHLO.
fn from_the_beginning(name: &str, server: Server, acts: impl FnOnce(&str) -> Vec<Act>) -> Case {
    // Letters and digits of one length; different in each case, so that a find names the case.
    let canary = format!("Zq7Canary{}X9", name.replace(|c: char| !c.is_ascii_alphanumeric(), "").to_ascii_lowercase());
    Case { name: name.to_owned(), acts: acts(&canary), canary, server }
}

fn line(text: &str) -> Vec<u8> {
    format!("{text}\r\n").into_bytes()
}

fn plain(canary: &str) -> String {
    base64(format!("\0user\0{canary}").as_bytes())
}

/// One line of a mechanism's dialogue.
struct Said {
    text: String,
    /// What a server says to it that offers AUTH and refuses the password.
    offered: u16,
    /// What a server says to it that offers no AUTH.
    not_offered: u16,
}

/// How the dialogues go.
fn mechanisms(canary: &str) -> Vec<(&'static str, Vec<Said>)> {
    let auth = |text: String, offered| Said { text, offered, not_offered: 504 };
    let answer = |text: String, offered| Said { text, offered, not_offered: 500 };
    vec![
        ("plain-initial", vec![auth(format!("AUTH PLAIN {}", plain(canary)), 535)]),
        ("plain", vec![auth("AUTH PLAIN".into(), 334), answer(plain(canary), 535)]),
        ("login", vec![auth("AUTH LOGIN".into(), 334), answer(base64(b"user"), 334), answer(base64(canary.as_bytes()), 535)]),
        ("login-initial", vec![auth(format!("AUTH LOGIN {}", base64(b"user")), 334), answer(base64(canary.as_bytes()), 535)]),
        // The digest stands for the canary: whoever reads the line reads it.
        ("cram-md5", vec![auth("AUTH CRAM-MD5".into(), 334), answer(base64(format!("user {canary}").as_bytes()), 535)]),
    ]
}

fn code(said: &Said, server: Server) -> u16 {
    match server {
        Server::Without => said.not_offered,
        // What it does not know it calls so, and AUTH it knows.
        Server::Postfix | Server::Postscreen => {
            if said.not_offered == 504 {
                503
            } else {
                500
            }
        }
        Server::Accepting if said.offered == 535 => 235,
        Server::Refusing | Server::Accepting | Server::Slow | Server::PostfixAuth | Server::Exim => said.offered,
    }
}

fn quit() -> [Act; 2] {
    [Send(line("QUIT")), Reply(221)]
}

/// Sends lines one after another, each by `as_act`, and waits for each reply.
fn dialogue(lines: &[Said], server: Server, as_act: fn(Vec<u8>) -> Act) -> Vec<Act> {
    lines.iter().flat_map(|said| [as_act(line(&said.text)), Reply(code(said, server))]).chain(quit()).collect()
}

fn lower(text: &str) -> String {
    if text.starts_with("AUTH") { text.replacen("AUTH", "auth", 1) } else { text.to_owned() }
}

pub fn auth_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (index, (mechanism, _)) in mechanisms("").into_iter().enumerate() {
        let lines = |canary: &str| mechanisms(canary).swap_remove(index).1;
        for server in [Server::Refusing, Server::Accepting, Server::Without, Server::Postfix, Server::PostfixAuth, Server::Exim] {
            // saslauthd needs the password itself: CRAM-MD5 cannot be checked by it.
            if !server.has_cram() && mechanism == "cram-md5" {
                continue;
            }
            let name = |how: &str| format!("{mechanism}-{}-{how}", server.name());
            cases.push(case(&name("segment"), server, |canary| dialogue(&lines(canary), server, Send)));
            cases.push(case(&name("split"), server, |canary| dialogue(&lines(canary), server, Split)));
            cases.push(case(&name("pipelined"), server, |canary| {
                let lines = lines(canary);
                let batch: Vec<u8> = lines.iter().flat_map(|said| line(&said.text)).collect();
                std::iter::once(Send(batch)).chain(lines.iter().map(|said| Reply(code(said, server)))).chain(quit()).collect()
            }));
            cases.push(case(&name("lower"), server, |canary| {
                let lines: Vec<Said> = lines(canary).into_iter().map(|said| Said { text: lower(&said.text), ..said }).collect();
                dialogue(&lines, server, Send)
            }));
        }
    }
    cases
}

/// Up to the 354.
fn until_data() -> Vec<Act> {
    [("MAIL FROM:<a@example.com>", 250), ("RCPT TO:<b@example.net>", 250), ("DATA", 354)]
        .into_iter()
        .flat_map(|(text, code)| [Send(line(text)), Reply(code)])
        .collect()
}

pub fn other_cases() -> Vec<Case> {
    vec![
        case("body-before-354", Server::Refusing, |canary| {
            let batch = ["MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA", "Subject: x", "", canary, "."].map(line).concat();
            // sendmail takes a body before its 354 for an attack.
            vec![Send(batch), Reply(250), Reply(250), Reply(554), Closed]
        }),
        case("postfix-body-before-354", Server::Postfix, |canary| {
            let batch = ["MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA", "Subject: x", "", canary, "."].map(line).concat();
            [Send(batch), Reply(250), Reply(250), Reply(354), Reply(250)].into_iter().chain(quit()).collect()
        }),
        // The message goes on to cleanup over a unix socket.
        case("postfix-body", Server::Postfix, |canary| {
            let body = line(&format!("Subject: {canary}\r\n\r\n{canary}\r\n."));
            until_data().into_iter().chain([Send(body), Reply(250)]).chain(quit()).collect()
        }),
        case("postfix-password-as-command", Server::Postfix, |canary| [Send(line(canary)), Reply(500)].into_iter().chain(quit()).collect()),
        // postscreen looks at what comes too early, to the middle of a line, and lets it lie; an smtpd reads it from its beginning.
        from_the_beginning("postscreen-password-before-the-greeting", Server::Postscreen, |canary| {
            let early = [&line(canary), b"HELO client".as_slice()].concat();
            [Send(early), Reply(220), Reply(500), Send(line(".lab.test")), Reply(250)].into_iter().chain(quit()).collect()
        }),
        case("exim-body", Server::Exim, |canary| {
            let body = line(&format!("Subject: {canary}\r\n\r\n{canary}\r\n."));
            until_data().into_iter().chain([Send(body), Reply(250)]).chain(quit()).collect()
        }),
        case("exim-password-as-command", Server::Exim, |canary| [Send(line(canary)), Reply(500)].into_iter().chain(quit()).collect()),
        case("body", Server::Refusing, |canary| {
            let body = line(&format!("Subject: {canary}\r\n\r\n{canary}\r\n."));
            until_data().into_iter().chain([Send(body), Reply(250)]).chain(quit()).collect()
        }),
        case("password-as-command", Server::Refusing, |canary| [Send(line(canary)), Reply(500)].into_iter().chain(quit()).collect()),
        case("attach-in-auth", Server::Refusing, |canary| {
            let mut acts = vec![Send(line("AUTH LOGIN")), Reply(334), Send(line(&base64(b"user"))), Reply(334), Attach];
            acts.extend([Send(line(&base64(canary.as_bytes()))), Reply(535)]);
            acts.into_iter().chain(quit()).collect()
        }),
        case("attach-in-data", Server::Refusing, |canary| {
            let body = line(&format!("{canary}\r\n."));
            until_data().into_iter().chain([Attach, Send(body), Reply(250)]).chain(quit()).collect()
        }),
        // sendmail 8.17 cuts the line in its title after the verb, but for VRFY and EXPN; there it stands while the name server thinks. The
        // reply repeats it, and VRFY's line and reply may be recorded: so the tracer is gone before the reply.
        case("title", Server::Slow, |canary| {
            let verify = line(&format!("VRFY {canary}@example.com"));
            [Send(verify), UntilAsked, Titled, Attach, Detach, Unanswered, Reply(252)].into_iter().chain(quit()).collect()
        }),
    ]
}
