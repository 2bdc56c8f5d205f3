//! A scripted SMTP client with a clock of its own.
//!
//! In come steps, out come exchanges: when the last byte of each command left and when its whole reply was here, on
//! the same monotonic clock as the tracer's. It checks reply codes and nothing else. Not here: what the times should be.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::journal::{Journal, What, now_ns};
use crate::scenario::Step;
use crate::stop::Stop;
use crate::wire::Wire;

/// One or more commands sent together, and their replies.
#[derive(Debug, Clone, Default)]
pub struct Exchange {
    /// The verbs as the report names them.
    pub verbs: Vec<String>,
    /// When the last byte was handed to the kernel (before that call).
    pub sent_ns: u64,
    /// When each whole reply was here, and its code; fewer than verbs if the client left.
    pub replies: Vec<(u16, u64)>,
    /// How long the client, ready to read a reply, waited for a processor: its clock ran, and the server was done.
    pub late_ns: u64,
}

/// What the client measured.
#[derive(Debug, Clone, Default)]
pub struct Played {
    /// Its own address and port.
    pub local: String,
    /// In order; the first is the greeting (`CONNECT`).
    pub exchanges: Vec<Exchange>,
}

/// A line that went over the wire, for whoever watches.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    /// When.
    pub t_ns: u64,
    /// From the client, or from the server.
    pub is_client: bool,
    /// Without its line end.
    pub text: &'a str,
}

/// What a client needs of its lab.
pub struct Surroundings<'a> {
    /// Where it writes down what it does.
    pub journal: &'a Journal,
    /// Cuts its sleeps short.
    pub stop: &'a Stop,
    /// Longest time for one reply.
    pub limit: Duration,
    /// Takes a lock, kills the server: what goes beyond the connection.
    pub act: &'a dyn Fn(&Step) -> Result<()>,
}

/// Plays a dialogue on a connection that `connect` opens.
pub fn play(
    dialogue: &[Step],
    around: &Surroundings<'_>,
    connect: impl FnOnce() -> Result<(TcpStream, u64)>,
    on_line: &mut dyn FnMut(&Line<'_>),
) -> Result<Played> {
    let (stream, begun_ns) = connect()?;
    around.journal.note_at(begun_ns, What::ClientConnect);
    let local = stream.local_addr().context("own address")?.to_string();
    around.journal.note(What::ClientConnected { local: local.clone() });
    let wire = Wire::new(stream, around.limit)?;
    let mut player = Player { wire, around, on_line, begun_ns, played: Played { local, ..Played::default() } };
    for (index, step) in dialogue.iter().enumerate() {
        player.step(step).with_context(|| format!("step {} of the dialogue", index + 1))?;
    }
    Ok(player.played)
}

struct Player<'a, 'l> {
    wire: Wire,
    around: &'a Surroundings<'a>,
    on_line: &'l mut dyn FnMut(&Line<'_>),
    begun_ns: u64,
    played: Played,
}

fn pause(around: &Surroundings<'_>, seconds: f64) -> Result<()> {
    around.journal.note(What::ClientPause);
    ensure!(around.stop.pass(Duration::from_secs_f64(seconds)), "the lab ended");
    around.journal.note(What::ClientGoesOn);
    Ok(())
}

impl Player<'_, '_> {
    fn step(&mut self, step: &Step) -> Result<()> {
        if step.greeting && self.played.exchanges.last().is_some_and(|last| last.verbs == ["TLS"]) {
            // TLS came first: of the greeting the tracer sees no more than of any other reply.
            self.played.exchanges.push(Exchange { verbs: vec!["GREETING".into()], sent_ns: now_ns(), ..Exchange::default() });
            return self.read(self.played.exchanges.len() - 1, 1, &step.codes);
        }
        if step.greeting {
            self.played.exchanges.insert(0, Exchange { verbs: vec!["CONNECT".into()], sent_ns: self.begun_ns, ..Exchange::default() });
            return self.read(0, 1, &step.codes);
        }
        if let Some(line) = &step.line {
            return self.exchange(&[line], step);
        }
        if let Some(lines) = &step.batch {
            return self.exchange(&lines.iter().map(String::as_str).collect::<Vec<_>>(), step);
        }
        if let Some(line) = &step.split {
            return self.split(line, step);
        }
        if let Some(bytes) = &step.raw {
            let verb = step.verb.clone().unwrap_or_else(|| "INVALID".into());
            self.send(vec![verb], bytes.as_bytes())?;
            return self.read(self.played.exchanges.len() - 1, step.replies, &step.codes);
        }
        if let Some(body) = &step.body {
            return self.body(&stuffed(body), step);
        }
        if step.reply {
            let last = self.played.exchanges.iter().rposition(|exchange| exchange.replies.is_empty()).context("nothing was sent before")?;
            return self.read(last, 1, &step.codes);
        }
        if let Some(line) = &step.send {
            return self.send(vec![verb(line)], format!("{line}\r\n").as_bytes());
        }
        if let Some(question) = &step.until_asked {
            return self.wait_asked(question);
        }
        if step.leave {
            self.around.journal.note(What::ClientLeft);
            return self.wire.shutdown();
        }
        if step.tls {
            let sent_ns = now_ns();
            let around = self.around;
            self.wire.start_tls(|| if step.gap_s > 0.0 { pause(around, step.gap_s) } else { Ok(()) })?;
            // Where it comes first the client cannot see when the server came to it.
            let replies = if self.played.exchanges.is_empty() { Vec::new() } else { vec![(0, now_ns())] };
            self.played.exchanges.push(Exchange { verbs: vec!["TLS".into()], sent_ns, replies, late_ns: 0 });
            return Ok(());
        }
        if let Some(seconds) = step.sleep_s {
            ensure!(self.around.stop.pass(Duration::from_secs_f64(seconds)), "the lab ended");
            return Ok(());
        }
        if step.connect.is_some() {
            return Ok(());
        }
        (self.around.act)(step)
    }

    fn exchange(&mut self, lines: &[&str], step: &Step) -> Result<()> {
        let bytes: String = lines.iter().flat_map(|line| [*line, "\r\n"]).collect();
        self.send(lines.iter().map(|line| verb(line)).collect(), bytes.as_bytes())?;
        self.read(self.played.exchanges.len() - 1, lines.len(), &step.codes)
    }

    fn body(&mut self, text: &str, step: &Step) -> Result<()> {
        let mut last = text;
        if step.gap_s > 0.0 {
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            let (end, head) = lines.split_last().context("a message has an end")?;
            for line in head {
                self.wire.write(line.as_bytes())?;
                self.pause(step.gap_s)?;
            }
            last = end;
        }
        self.send(vec!["EOM".into()], last.as_bytes())?;
        self.read(self.played.exchanges.len() - 1, 1, &step.codes)
    }

    fn pause(&self, seconds: f64) -> Result<()> {
        pause(self.around, seconds)
    }

    fn split(&mut self, line: &str, step: &Step) -> Result<()> {
        let bytes = format!("{line}\r\n").into_bytes();
        let (last, head) = bytes.split_last().context("an empty line")?;
        for byte in head {
            self.wire.write(&[*byte])?;
            ensure!(self.around.stop.pass(Duration::from_millis(step.gap_ms)), "the lab ended");
        }
        self.send(vec![verb(line)], &[*last])?;
        self.read(self.played.exchanges.len() - 1, 1, &step.codes)
    }

    fn send(&mut self, verbs: Vec<String>, bytes: &[u8]) -> Result<()> {
        let sent_ns = now_ns();
        self.wire.write(bytes)?;
        for line in String::from_utf8_lossy(bytes).lines() {
            (self.on_line)(&Line { t_ns: sent_ns, is_client: true, text: line });
        }
        for verb in &verbs {
            self.around.journal.note_at(sent_ns, What::ClientSent { verb: verb.clone() });
        }
        self.played.exchanges.push(Exchange { verbs, sent_ns, ..Exchange::default() });
        Ok(())
    }

    fn read(&mut self, exchange: usize, count: usize, codes: &[u16]) -> Result<()> {
        for index in 0..count {
            let runnable_ns = runnable_ns()?;
            let reply = self.wire.read_reply()?;
            let late_ns = self::runnable_ns()?.saturating_sub(runnable_ns);
            for line in &reply.lines {
                (self.on_line)(&Line { t_ns: reply.t_ns, is_client: false, text: line });
            }
            let Some(exchange) = self.played.exchanges.get_mut(exchange) else { bail!("no exchange to read for") };
            let verb = exchange.verbs.get(index).cloned().unwrap_or_default();
            exchange.replies.push((reply.code, reply.t_ns));
            exchange.late_ns += late_ns;
            self.around.journal.note_at(reply.t_ns, What::ClientReply { verb, code: reply.code });
            if let Some(code) = codes.get(index) {
                ensure!(*code == reply.code, "expected {code}, got {}", reply.lines.join(" / "));
            }
        }
        Ok(())
    }

    fn wait_asked(&self, question: &str) -> Result<()> {
        let asked = |what: &What| matches!(what, What::DnsQuery { qtype, qname, .. } if format!("{qtype} {qname}") == question);
        let found = self.around.journal.wait_for(self.begun_ns, self.around.limit, asked);
        found.map(drop).with_context(|| format!("no name server was asked for {question}"))
    }
}

/// How long this thread has waited for a processor so far (`sched_info.run_delay`, Documentation/scheduler/sched-stats.rst).
fn runnable_ns() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").context("read own schedstat")?;
    text.split_whitespace().nth(1).and_then(|ns| ns.parse().ok()).with_context(|| format!("schedstat: {text:?}"))
}

/// A message with doubled dots, its line ends made CRLF, and the final dot.
fn stuffed(body: &str) -> String {
    let lines = body.lines().map(|line| format!("{}{line}\r\n", if line.starts_with('.') { "." } else { "" }));
    lines.chain(std::iter::once(".\r\n".to_owned())).collect()
}

fn verb(line: &str) -> String {
    line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase()
}

/// Connects from one address to another and tells when it began; to be run inside the client's namespace.
pub fn connect(from: SocketAddr, to: SocketAddr) -> Result<(TcpStream, u64)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    let family = if to.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket: OwnedFd = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).context("socket")?;
    rustix::net::bind(&socket, &from).with_context(|| format!("bind {from}"))?;
    let begun_ns = now_ns();
    rustix::net::connect(&socket, &to).with_context(|| format!("connect to {to}"))?;
    Ok((socket.into(), begun_ns))
}

/// Sends a SYN and waits for nothing: whether there is room for the connection is the server's affair.
pub fn begin_to_connect(from: SocketAddr, to: SocketAddr) -> Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None).context("socket")?;
    rustix::net::bind(&socket, &from).with_context(|| format!("bind {from}"))?;
    match rustix::net::connect(&socket, &to) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error).with_context(|| format!("connect to {to}")),
    }
}
