//! The client of `mta-trace probe`: plays one SMTP session and measures it by its own clock.
//!
//! In: a [`Plan`], where the server is. Out: [`Played`], and with a session of the trace a [`crate::report::Probe`] (`join.rs`). It is a client
//! for one test session: it does not deliver mail, retry, look up MX records, or verify certificates unless it is told to.
//! One thread and blocking calls; nothing here needs a privilege.

pub mod dialogue;
pub mod reply;

mod join;
mod message;
mod plan;
mod tls;
mod wire;

pub use join::{alone, join};
pub use message::stuffed;
pub use plan::{Address, Login, Password, Plan, PlanError, Stage, check_helo};

use crate::report::{ProbeTls, Verb};
use dialogue::{Act, Dialogue, Line};
use reply::{Broken, Reply};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use wire::Wire;

/// TLS for whoever else is a client (`export/otlp/`): there is one place that knows how it is set up.
pub fn over_tls(host: &str, tcp: TcpStream) -> Result<impl io::Read + io::Write, Error> {
    tls::over(host, tcp)
}

/// Where the server is, and how it is spoken to.
#[derive(Clone, Debug)]
pub struct Destination {
    /// As it was given: what a certificate is verified for.
    pub host: String,
    /// Its addresses, tried in order.
    pub addresses: Vec<SocketAddr>,
    /// Longest time for one reply, the connection, or the handshake.
    pub timeout: Duration,
    /// Whether the server's certificate must be valid for `host`.
    pub tls_verify: bool,
}

/// Why a session could not be played to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection.
    #[error("{to}: no connection: {}; {}", reason(source), connect_remedy(source))]
    Connect {
        /// Address.
        to: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Too late.
    #[error("{what}: nothing came within {timeout:?}; --timeout gives it longer")]
    Timeout {
        /// The step.
        what: String,
        /// What was given.
        timeout: Duration,
    },
    /// Closed early.
    #[error("{what}: the server closed the connection; its own log may say why")]
    Closed {
        /// The step.
        what: String,
    },
    /// Another failure of the connection.
    #[error("{what}: the connection failed: {source}; see whether the network is up")]
    Io {
        /// The step.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// Not SMTP.
    #[error(
        "{what}: {broken}; is it a mail server that listens there, and does it want TLS from the first byte (port 465, which is not spoken here)?"
    )]
    Broken {
        /// The step.
        what: String,
        /// Why.
        broken: Broken,
    },
    /// TLS.
    #[error(
        "the TLS handshake failed: {reason}; `openssl s_client -connect HOST:PORT` (with `-starttls smtp` where it is a mail server) tries it by hand"
    )]
    Tls {
        /// Why.
        reason: String,
    },
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        io::ErrorKind::TimedOut => "nobody answered in time".to_owned(),
        _ => error.to_string(),
    }
}

fn connect_remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "see whether a mail server listens on this address and port (`ss -ltn`)",
        io::ErrorKind::TimedOut => "see whether a firewall drops it, or give --timeout",
        _ => "see whether the address is right and can be reached",
    }
}

/// By the client's clock: monotonic ns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Played {
    /// `ADDR:PORT` of the server.
    pub server: String,
    /// `ADDR:PORT` of the client; empty: no connection.
    pub client: String,
    /// When `connect(2)` was called, and when it returned.
    pub connect_ns: [u64; 2],
    /// In order.
    pub exchanges: Vec<Timed>,
    /// What came of STARTTLS.
    pub tls: Option<ProbeTls>,
    /// Why it did not go on to its end.
    pub stopped: Option<String>,
    /// What else is to be said.
    pub notes: Vec<String>,
}

/// What was sent at once, and the replies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timed {
    /// When the last of it was handed to the kernel.
    pub sent_ns: u64,
    /// When the last reply was here, or was given up.
    pub done_ns: u64,
    /// In order.
    pub commands: Vec<Told>,
}

/// One command.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// What it is.
    pub verb: Verb,
    /// What may be shown of its line.
    pub line: Option<String>,
    /// Code, first line (none in an AUTH exchange), and when it was here.
    pub reply: Option<(u16, Option<String>, u64)>,
}

/// What the thread that plays tells the one that traces.
#[derive(Debug, Default)]
pub struct Progress {
    /// `ADDR:PORT` of the client, as soon as it has one.
    pub client: OnceLock<String>,
    /// When the client was done, however it went.
    pub over: OnceLock<Instant>,
}

/// The client's own address towards a server, as the routing table says; nothing is sent.
pub fn own_address(to: SocketAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0; 16], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip().to_canonical())
}

/// Plays the session. What was measured is told however it ends.
pub fn play(plan: &Plan, to: &Destination, progress: &Progress) -> (Played, Result<(), Error>) {
    let mut played = Played::default();
    let done = connect(to, &mut played).and_then(|wire| {
        // Nobody else sets it.
        let _ = progress.client.set(played.client.clone());
        let mut dialogue = Dialogue::new(plan);
        let mut player = Player { wire, plan, to, played: &mut played };
        let done = player.run(&mut dialogue);
        player.wire.close();
        (played.stopped, played.notes) = dialogue.outcome();
        done
    });
    let _ = progress.over.set(Instant::now());
    (played, done)
}

fn connect(to: &Destination, played: &mut Played) -> Result<Wire, Error> {
    let mut failed = None;
    for address in &to.addresses {
        played.server = address.to_string();
        played.connect_ns[0] = wire::now_ns();
        match Wire::connect(*address, to.timeout) {
            Ok(wire) => {
                played.connect_ns[1] = wire::now_ns();
                played.client = wire.local().map(|local| local.to_string()).unwrap_or_default();
                return Ok(wire);
            }
            Err(error) => failed = Some(error),
        }
    }
    let none = || Error::Io { what: to.host.clone(), source: io::Error::other("it has no address") };
    Err(failed.unwrap_or_else(none))
}

struct Player<'a> {
    wire: Wire,
    plan: &'a Plan,
    to: &'a Destination,
    played: &'a mut Played,
}

impl Player<'_> {
    fn run(&mut self, dialogue: &mut Dialogue<'_>) -> Result<(), Error> {
        let mut act = Dialogue::BEGIN;
        loop {
            act = match act {
                Act::Hear => {
                    let sent_ns = self.played.connect_ns[0];
                    let replies = self.exchange(sent_ns, vec![Told { verb: Verb::Connect, line: None, reply: None }])?;
                    dialogue.heard(&replies)
                }
                Act::Say(lines) => {
                    let replies = self.say(lines)?;
                    dialogue.heard(&replies)
                }
                Act::Message { is_empty } => {
                    let all = self.plan.message.as_deref().unwrap_or(message::EMPTY);
                    let sent_ns = self.wire.write("the message", if is_empty { message::EMPTY } else { all })?;
                    let replies = self.exchange(sent_ns, vec![Told { verb: Verb::Eom, line: None, reply: None }])?;
                    dialogue.heard(&replies)
                }
                Act::StartTls => {
                    let dropped = self.wire.drop_unencrypted();
                    if dropped > 0 {
                        dialogue.note(format!(
                            "{dropped} bytes that came behind the reply to STARTTLS, before TLS, were dropped: somebody may have put them there"
                        ));
                    }
                    self.start_tls()?;
                    dialogue.secured()
                }
                Act::Close => return Ok(()),
            }
        }
    }

    fn say(&mut self, lines: Vec<Line>) -> Result<Vec<Reply>, Error> {
        let bytes: Vec<u8> = lines.iter().flat_map(|line| [line.text.as_bytes(), b"\r\n"]).collect::<Vec<_>>().concat();
        let what = lines.first().map_or("", |line| line.verb.name());
        let sent_ns = self.wire.write(what, &bytes)?;
        if lines.iter().all(|line| line.is_answer) {
            return self.go_on();
        }
        let told = |line: Line| Told { verb: line.verb, line: Some(line.shown), reply: None };
        self.exchange(sent_ns, lines.into_iter().map(told).collect())
    }

    /// An answer to a 334 belongs to the exchange before it.
    fn go_on(&mut self) -> Result<Vec<Reply>, Error> {
        let Some(open) = self.played.exchanges.pop() else { return Ok(Vec::new()) };
        self.exchange(open.sent_ns, open.commands)
    }

    /// Reads a reply to each command, up to a 421.
    fn exchange(&mut self, sent_ns: u64, commands: Vec<Told>) -> Result<Vec<Reply>, Error> {
        let mut timed = Timed { sent_ns, done_ns: sent_ns, commands };
        let mut replies = Vec::new();
        let mut done = Ok(());
        for told in &mut timed.commands {
            let what = match told.verb {
                Verb::Connect => "the greeting",
                Verb::Eom => "the end of the message",
                other => other.name(),
            };
            match self.wire.reply(what) {
                Ok((reply, at_ns)) => {
                    // A server may repeat what it was sent.
                    let text = (told.verb != Verb::Auth).then(|| reply.first_line());
                    told.reply = Some((reply.code, text, at_ns));
                    timed.done_ns = at_ns;
                    let is_end = reply.code == 421;
                    replies.push(reply);
                    if is_end {
                        break;
                    }
                }
                Err(error) => {
                    told.reply = None;
                    timed.done_ns = wire::now_ns();
                    done = Err(error);
                    break;
                }
            }
        }
        self.played.exchanges.push(timed);
        done.map(|()| replies)
    }

    fn start_tls(&mut self) -> Result<(), Error> {
        let (tls, sent_ns, done_ns) = self.wire.start_tls(&self.to.host, self.to.tls_verify)?;
        self.played.tls = Some(tls);
        let commands = vec![Told { verb: Verb::Tls, line: None, reply: None }];
        self.played.exchanges.push(Timed { sent_ns, done_ns, commands });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
