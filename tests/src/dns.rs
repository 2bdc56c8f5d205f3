//! A name server that does what a rule says: answers, late answers, silence, errors, truncation; over UDP and TCP.
//!
//! In come questions, out go answers, and both go into the journal. What no rule matches is answered at once from a
//! small zone. Not a general name server: one question a message, no EDNS, no compression but of the question's name.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::dns_wire::{Damage, Question, Rcode, Reply};
use crate::journal::{Journal, What};
use crate::netns::Netns;
use crate::scenario::{DnsAction, DnsRule};
use crate::stop::Stop;
use crate::zone;

type Rules = Arc<RwLock<Vec<DnsRule>>>;
/// Questions so far, by server, name and type.
type Counts = Arc<Mutex<HashMap<(String, String, String), u32>>>;

/// The rules of all servers; none until `install`.
#[derive(Debug, Clone, Default)]
pub struct Dns {
    rules: Rules,
    counts: Counts,
}

impl Dns {
    /// Puts the rules in force and counts the questions from here on.
    pub fn install(&self, rules: &[DnsRule]) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules.to_vec();
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Starts a server on port 53 of `address`.
    pub fn serve(&self, ns: &Netns, address: &str, journal: &Journal, stop: &Stop) -> Result<()> {
        let (udp, tcp) = ns.run(|| {
            let udp = UdpSocket::bind((address, 53)).with_context(|| format!("bind UDP {address}:53"))?;
            let tcp = TcpListener::bind((address, 53)).with_context(|| format!("bind TCP {address}:53"))?;
            Ok((Arc::new(udp), tcp))
        })?;
        let server = Server { dns: self.clone(), address: address.to_owned(), journal: journal.clone(), stop: stop.clone() };
        let tcp_server = server.clone();
        std::thread::spawn(move || server.run_udp(&udp));
        std::thread::spawn(move || tcp_server.run_tcp(&tcp));
        Ok(())
    }

    fn rule(&self, server: &str, question: &Question, attempt: u32) -> DnsRule {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        rules.iter().find(|rule| matches(rule, server, question, attempt)).cloned().unwrap_or_default()
    }

    fn count(&self, server: &str, question: &Question) -> u32 {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (server.to_owned(), question.name.clone(), question.qtype.to_string());
        let count = counts.entry(key).or_default();
        *count += 1;
        *count
    }
}

fn matches(rule: &DnsRule, server: &str, question: &Question, attempt: u32) -> bool {
    let is_name = match rule.name.as_str() {
        "" => true,
        suffix if suffix.starts_with('.') => question.name.ends_with(suffix),
        name => question.name == name,
    };
    is_name
        && (rule.qtype.is_empty() || rule.qtype == question.qtype.to_string())
        && rule.attempt.is_none_or(|only| only == attempt)
        && rule.server.as_deref().is_none_or(|only| only == server)
}

/// What is sent, and how late.
struct Verdict {
    delay: Duration,
    answer: Option<Answer>,
}

/// A message, and how it is called in the journal.
struct Answer {
    bytes: Vec<u8>,
    rcode: String,
    is_truncated: bool,
}

impl Answer {
    fn of(reply: &Reply, question: &Question) -> Self {
        Self { bytes: reply.encode(question), rcode: reply.rcode.to_string(), is_truncated: reply.is_truncated }
    }

    fn damaged(damage: Damage, question: &Question) -> Self {
        Self { bytes: damage.encode(question), rcode: format!("{damage:?}").to_lowercase(), is_truncated: false }
    }
}

fn decide(rule: &DnsRule, question: &Question, is_tcp: bool) -> Verdict {
    let chain = rule.chain.clone();
    let with = |rcode, is_truncated, records| Answer::of(&Reply { rcode, is_truncated, chain: chain.clone(), records }, question);
    let empty = |rcode| with(rcode, false, Vec::new());
    let from_zone = || {
        let last = Question { name: rule.chain.last().unwrap_or(&question.name).clone(), ..question.clone() };
        let records = if rule.data.is_empty() { zone::records(&last) } else { Some(zone::parse(question, &rule.data)) };
        records.map_or_else(|| empty(Rcode::NxDomain), |records| with(Rcode::NoError, false, records))
    };
    let answer = match rule.action {
        DnsAction::Silent => None,
        DnsAction::Answer => Some(from_zone()),
        DnsAction::Truncate if is_tcp => Some(from_zone()),
        DnsAction::Truncate => Some(with(Rcode::NoError, true, Vec::new())),
        DnsAction::Servfail => Some(empty(Rcode::ServFail)),
        DnsAction::Nxdomain => Some(empty(Rcode::NxDomain)),
        DnsAction::Refused => Some(empty(Rcode::Refused)),
        DnsAction::Nodata => Some(empty(Rcode::NoError)),
        DnsAction::Cut => Some(Answer::damaged(Damage::Cut, question)),
        DnsAction::Loop => Some(Answer::damaged(Damage::Loop, question)),
        DnsAction::Labels => Some(Answer::damaged(Damage::Labels, question)),
    };
    Verdict { delay: Duration::from_secs_f64(if is_tcp { rule.tcp_delay_s } else { rule.delay_s }), answer }
}

#[derive(Clone)]
struct Server {
    dns: Dns,
    address: String,
    journal: Journal,
    stop: Stop,
}

impl Server {
    fn run_udp(&self, socket: &Arc<UdpSocket>) {
        let mut buffer = [0_u8; 2048];
        while self.stop.wait_readable(&**socket) {
            let Ok((len, peer)) = socket.recv_from(&mut buffer) else { continue };
            let Some(question) = buffer.get(..len).and_then(Question::parse) else { continue };
            let verdict = self.judge(&question, false);
            if verdict.delay.is_zero() {
                self.send(&question, &verdict, |bytes| send_datagram(socket, bytes, peer));
            } else {
                let (server, socket) = (self.clone(), Arc::clone(socket));
                std::thread::spawn(move || {
                    if server.stop.pass(verdict.delay) {
                        server.send(&question, &verdict, |bytes| send_datagram(&socket, bytes, peer));
                    }
                });
            }
        }
    }

    fn run_tcp(&self, listener: &TcpListener) {
        while self.stop.wait_readable(listener) {
            let Ok((stream, _)) = listener.accept() else { continue };
            let server = self.clone();
            std::thread::spawn(move || server.serve_stream(stream));
        }
    }

    fn serve_stream(&self, mut stream: TcpStream) {
        while self.stop.wait_readable(&stream) {
            let mut len = [0_u8; 2];
            if stream.read_exact(&mut len).is_err() {
                return;
            }
            let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
            if stream.read_exact(&mut message).is_err() {
                return;
            }
            let Some(question) = Question::parse(&message) else { return };
            let verdict = self.judge(&question, true);
            if !self.stop.pass(verdict.delay) {
                return;
            }
            self.send(&question, &verdict, |bytes| {
                let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
                // The client may be gone by now; the journal says when we answered.
                let _ = stream.write_all(&[&len[..], bytes].concat());
            });
        }
    }

    /// Counts and notes a question, and finds what to do with it.
    fn judge(&self, question: &Question, is_tcp: bool) -> Verdict {
        let attempt = self.dns.count(&self.address, question);
        let rule = self.dns.rule(&self.address, question, attempt);
        self.journal.note(What::DnsQuery {
            server: format!("{}:53", self.address),
            id: question.id,
            qname: question.name.clone(),
            qtype: question.qtype.to_string(),
            is_tcp,
            attempt,
            action: format!("{:?}", rule.action).to_lowercase(),
        });
        decide(&rule, question, is_tcp)
    }

    fn send(&self, question: &Question, verdict: &Verdict, write: impl FnOnce(&[u8])) {
        let Some(answer) = &verdict.answer else { return };
        // Noted before it is sent: the MTA may have gone on before this thread runs again.
        self.journal.note(What::DnsReply {
            server: format!("{}:53", self.address),
            id: question.id,
            qname: question.name.clone(),
            qtype: question.qtype.to_string(),
            rcode: answer.rcode.clone(),
            is_truncated: answer.is_truncated,
        });
        write(&answer.bytes);
    }
}

fn send_datagram(socket: &UdpSocket, bytes: &[u8], peer: SocketAddr) {
    // The asking socket may be closed by now, then an ICMP error comes back here.
    let _ = socket.send_to(bytes, peer);
}
