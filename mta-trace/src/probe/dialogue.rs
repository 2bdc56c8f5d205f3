//! Which command comes next: a pure state machine from replies to acts.
//!
//! In: a [`Plan`], and the replies to each act. Out: the next [`Act`]. Invariants: a batch is sent only where PIPELINING was offered (RFC
//! 2920), what a server offered before TLS is forgotten (RFC 3207, 4.2), and whatever it answers the dialogue ends. Not here: bytes,
//! clocks and TLS (`wire.rs`).

use super::plan::{Login, Plan, Stage};
use super::reply::Reply;
use crate::report::Verb;
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// What is to be done next.
#[derive(Debug, PartialEq)]
pub enum Act {
    /// Wait for the greeting.
    Hear,
    /// Send these lines at once, and read a reply to each.
    Say(Vec<Line>),
    /// Begin TLS; then [`Dialogue::secured`].
    StartTls,
    /// Send the message, or only its final dot, and read a reply.
    Message {
        /// The server wants a message, but nobody is to get it.
        is_empty: bool,
    },
    /// Close the connection.
    Close,
}

/// One line that is sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// What the report calls it.
    pub verb: Verb,
    /// Without its line end; may hold a secret.
    pub text: String,
    /// What of it may be shown.
    pub shown: String,
    /// It goes on with the command before it: an answer to a 334.
    pub is_answer: bool,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Line").field(&self.verb).field(&self.shown).finish()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Plain,
    /// How many of the answers have been given.
    Login(u8),
    Cancelled,
    Mail,
    Rcpt(usize),
    Batch,
    Data,
    Message,
    Rset,
    Quit,
}

/// A dialogue under way.
#[derive(Debug)]
pub struct Dialogue<'a> {
    plan: &'a Plan,
    at: At,
    is_secure: bool,
    /// Of the last EHLO.
    offers: Offers,
    accepted: usize,
    stopped: Option<String>,
    notes: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Offers {
    starttls: bool,
    pipelining: bool,
    /// Mechanisms in capitals.
    auth: Vec<String>,
}

impl Offers {
    /// RFC 5321, 4.1.1.1: the first line is the server's name, each other one an extension.
    fn of(reply: &Reply) -> Self {
        let mut offers = Self::default();
        for line in reply.lines.iter().skip(1) {
            // Old servers write `AUTH=LOGIN`.
            let line = line.to_ascii_uppercase().replacen("AUTH=", "AUTH ", 1);
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("STARTTLS") => offers.starttls = true,
                Some("PIPELINING") => offers.pipelining = true,
                Some("AUTH") => offers.auth.extend(words.map(str::to_owned)),
                Some(_) | None => {}
            }
        }
        offers
    }
}

impl<'a> Dialogue<'a> {
    /// At its beginning: the server speaks first.
    pub fn new(plan: &'a Plan) -> Self {
        Self { plan, at: At::Greeting, is_secure: false, offers: Offers::default(), accepted: 0, stopped: None, notes: Vec::new() }
    }

    /// What is done first.
    pub const BEGIN: Act = Act::Hear;

    /// Why it did not go on to its end, and what else is to be said.
    pub fn outcome(self) -> (Option<String>, Vec<String>) {
        (self.stopped, self.notes)
    }

    /// The replies to the last act: one to each line, fewer where a 421 ended them.
    pub fn heard(&mut self, replies: &[Reply]) -> Act {
        let Some(last) = replies.last() else { return Act::Close };
        // RFC 5321, 3.8: the server closes behind it.
        if last.code == 421 && self.at != At::Quit {
            self.stop_with("the server closed the session with 421");
            return Act::Close;
        }
        match self.at {
            At::Greeting => self.after_greeting(last),
            At::Ehlo => self.after_ehlo(last),
            At::Helo if last.is_good() => self.after_hello(Offers::default()),
            At::Helo => self.refused("HELO", last),
            At::StartTls if last.code == 220 => Act::StartTls,
            At::StartTls => self.refused("STARTTLS", last),
            At::Plain => self.after_plain(last),
            At::Login(given) => self.after_login(given, last),
            At::Cancelled => self.refused("AUTH", last),
            At::Mail if last.is_good() => self.after_mail(),
            At::Mail => self.refused("MAIL", last),
            At::Rcpt(index) => self.after_rcpt(index, last),
            At::Batch => self.after_batch(replies),
            At::Data if last.code == 354 => self.message(false),
            At::Data => self.refused("DATA", last),
            At::Message => self.after_message(last),
            At::Rset => self.quit(),
            At::Quit => Act::Close,
        }
    }

    /// TLS stands. What was offered before is forgotten.
    pub fn secured(&mut self) -> Act {
        self.is_secure = true;
        self.offers = Offers::default();
        if self.quits_after(Stage::Tls) { self.quit() } else { self.ehlo() }
    }

    /// Something that the report has to say.
    pub fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    fn after_greeting(&mut self, reply: &Reply) -> Act {
        if !reply.is_good() {
            return self.refused("the greeting", reply);
        }
        if self.quits_after(Stage::Connect) { self.quit() } else { self.ehlo() }
    }

    fn ehlo(&mut self) -> Act {
        self.say(At::Ehlo, Verb::Ehlo, format!("EHLO {}", self.plan.helo))
    }

    fn after_ehlo(&mut self, reply: &Reply) -> Act {
        match reply.code {
            200..300 => self.after_hello(Offers::of(reply)),
            // RFC 5321, 3.2: who does not know EHLO is asked by HELO.
            500..600 if !self.is_secure => self.say(At::Helo, Verb::Helo, format!("HELO {}", self.plan.helo)),
            _ => self.refused("EHLO", reply),
        }
    }

    fn after_hello(&mut self, offers: Offers) -> Act {
        self.offers = offers;
        if !self.is_secure && self.quits_after(Stage::FirstHelo) {
            return self.quit();
        }
        if self.plan.starttls && !self.is_secure {
            if self.offers.starttls {
                return self.say(At::StartTls, Verb::Starttls, "STARTTLS".to_owned());
            }
            return self.stop("the server does not offer STARTTLS, and nothing was sent without it");
        }
        if self.quits_after(Stage::Helo) || self.quits_after(Stage::FirstHelo) {
            return self.quit();
        }
        match &self.plan.login {
            Some(login) => self.auth(login),
            None => self.envelope(),
        }
    }

    fn auth(&mut self, login: &Login) -> Act {
        let has = |name: &str| self.offers.auth.iter().any(|it| it == name);
        if has("PLAIN") {
            // RFC 4616, 2: authorisation identity, user, password, with NUL between them.
            let secret = STANDARD.encode([&b"\0"[..], login.user.as_bytes(), b"\0", login.password.bytes()].concat());
            return self.say_secret(At::Plain, format!("AUTH PLAIN {secret}"), "AUTH PLAIN", false);
        }
        if has("LOGIN") {
            return self.say_secret(At::Login(0), "AUTH LOGIN".to_owned(), "AUTH LOGIN", false);
        }
        let offered = if self.offers.auth.is_empty() { "no AUTH".to_owned() } else { format!("only AUTH {}", self.offers.auth.join(" ")) };
        self.stop(&format!("the server offers {offered}, neither PLAIN nor LOGIN"))
    }

    fn after_plain(&mut self, reply: &Reply) -> Act {
        match reply.code {
            200..300 => self.after_auth(),
            // It has all that PLAIN has to say.
            300..400 => self.cancel(),
            _ => self.refused("AUTH", reply),
        }
    }

    /// RFC 4954, 4: a line of one star ends an exchange.
    fn cancel(&mut self) -> Act {
        self.say_secret(At::Cancelled, "*".to_owned(), "", true)
    }

    fn after_login(&mut self, given: u8, reply: &Reply) -> Act {
        let Some(login) = &self.plan.login else { return self.quit() };
        match (reply.code, given) {
            (300..400, 0) => self.say_secret(At::Login(1), STANDARD.encode(&login.user), "", true),
            (300..400, 1) => self.say_secret(At::Login(2), STANDARD.encode(login.password.bytes()), "", true),
            (300..400, _) => self.cancel(),
            (200..300, 2) => self.after_auth(),
            _ => self.refused("AUTH", reply),
        }
    }

    fn after_auth(&mut self) -> Act {
        if self.quits_after(Stage::Auth) { self.quit() } else { self.envelope() }
    }

    fn envelope(&mut self) -> Act {
        let Some(from) = &self.plan.from else { return self.quit() };
        let mail = line(Verb::Mail, format!("MAIL FROM:<{from}>"));
        if self.plan.pipeline && !self.offers.pipelining {
            self.note("the server does not offer PIPELINING: commands were sent one by one".to_owned());
        }
        if !self.plan.pipeline || !self.offers.pipelining || self.quits_after(Stage::Mail) {
            self.at = At::Mail;
            return Act::Say(vec![mail]);
        }
        let rcpts = (0..self.plan.rcpts.len()).filter_map(|index| self.rcpt_line(index));
        // RFC 2920, 3.1: DATA may only be the last of a batch.
        let data = self.wants_message().then(|| line(Verb::Data, "DATA".to_owned()));
        let lines = std::iter::once(mail).chain(rcpts).chain(data).collect();
        self.at = At::Batch;
        Act::Say(lines)
    }

    fn rcpt_line(&self, index: usize) -> Option<Line> {
        self.plan.rcpts.get(index).map(|rcpt| line(Verb::Rcpt, format!("RCPT TO:<{rcpt}>")))
    }

    fn wants_message(&self) -> bool {
        self.plan.message.is_some() && !self.quits_after(Stage::Rcpt)
    }

    fn after_mail(&mut self) -> Act {
        if self.quits_after(Stage::Mail) { self.quit() } else { self.rcpt(0) }
    }

    fn rcpt(&mut self, index: usize) -> Act {
        let Some(line) = self.rcpt_line(index) else { return self.after_rcpts() };
        self.at = At::Rcpt(index);
        Act::Say(vec![line])
    }

    fn after_rcpt(&mut self, index: usize, reply: &Reply) -> Act {
        self.accepted += usize::from(reply.is_good());
        self.rcpt(index + 1)
    }

    fn after_rcpts(&mut self) -> Act {
        if self.quits_after(Stage::Rcpt) {
            return self.quit();
        }
        if self.accepted == 0 {
            return self.stop("no recipient was accepted");
        }
        self.note_refused();
        if self.wants_message() { self.say(At::Data, Verb::Data, "DATA".to_owned()) } else { self.say(At::Rset, Verb::Rset, "RSET".to_owned()) }
    }

    fn note_refused(&mut self) {
        let (accepted, all) = (self.accepted, self.plan.rcpts.len());
        if accepted < all {
            self.note(format!("{accepted} of {all} recipients were accepted"));
        }
    }

    fn after_batch(&mut self, replies: &[Reply]) -> Act {
        let rcpts = replies.get(1..).unwrap_or_default();
        let rcpts = rcpts.get(..self.plan.rcpts.len()).unwrap_or(rcpts);
        self.accepted = rcpts.iter().filter(|reply| reply.is_good()).count();
        let is_mail_good = replies.first().is_some_and(Reply::is_good);
        let data = replies.get(1 + self.plan.rcpts.len());
        match (is_mail_good && self.accepted > 0, data) {
            (true, None) => self.after_rcpts(),
            (true, Some(data)) => {
                self.note_refused();
                if data.code == 354 { self.message(false) } else { self.refused("DATA", data) }
            }
            (false, data) => {
                let reason = if is_mail_good { "no recipient was accepted" } else { "MAIL was refused" };
                self.stop_with(reason);
                // RFC 2920, 3.1: a server that wants a message all the same gets an empty one.
                if data.is_some_and(|data| data.code == 354) { self.message(true) } else { self.quit() }
            }
        }
    }

    fn message(&mut self, is_empty: bool) -> Act {
        self.at = At::Message;
        Act::Message { is_empty }
    }

    fn after_message(&mut self, reply: &Reply) -> Act {
        if reply.is_good() || self.stopped.is_some() { self.quit() } else { self.refused("the message", reply) }
    }

    fn quits_after(&self, stage: Stage) -> bool {
        self.plan.quit_after == Some(stage)
    }

    fn say(&mut self, at: At, verb: Verb, text: String) -> Act {
        self.at = at;
        Act::Say(vec![line(verb, text)])
    }

    fn say_secret(&mut self, at: At, text: String, shown: &str, is_answer: bool) -> Act {
        self.at = at;
        Act::Say(vec![Line { verb: Verb::Auth, text, shown: shown.to_owned(), is_answer }])
    }

    fn quit(&mut self) -> Act {
        self.say(At::Quit, Verb::Quit, "QUIT".to_owned())
    }

    fn refused(&mut self, what: &str, reply: &Reply) -> Act {
        self.stop(&format!("{what} was refused with {}", reply.code))
    }

    fn stop(&mut self, reason: &str) -> Act {
        self.stop_with(reason);
        self.quit()
    }

    /// The first reason is the one that counts.
    fn stop_with(&mut self, reason: &str) {
        self.stopped.get_or_insert_with(|| reason.to_owned());
    }
}

fn line(verb: Verb, text: String) -> Line {
    Line { verb, shown: text.clone(), text, is_answer: false }
}

#[cfg(test)]
#[path = "dialogue_tests.rs"]
mod tests;
