//! A milter that answers each callback as late and as unkindly as its scenario says (protocol version 6).
//!
//! ```text
//! packet = length 4 (of what follows) | command 1 | data
//! MTA: O negotiate, D macros (no reply), C connect, H helo, M mail, R rcpt, T data, L header, N eoh, B body, E eom, A, Q
//! milter: O, c continue, a accept, r reject, t tempfail
//! ```
//! In come packets, out go replies, both noted in the journal. It changes no message and asks for no macro.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::journal::{Journal, What};
use crate::netns::Netns;
use crate::scenario::{self, MilterReply, MilterStage};
use crate::stop::Stop;

/// Port of the TCP milter.
pub const PORT: u16 = 8891;

type Stages = Arc<RwLock<std::collections::BTreeMap<String, MilterStage>>>;

/// A running milter.
#[derive(Debug, Clone)]
pub struct Milter {
    stages: Stages,
    journal: Journal,
    stop: Stop,
    connections: Arc<AtomicU32>,
}

impl Milter {
    /// A milter that answers everything at once until faults are installed.
    pub fn new(journal: &Journal, stop: &Stop) -> Self {
        Self { stages: Stages::default(), journal: journal.clone(), stop: stop.clone(), connections: Arc::default() }
    }

    /// Puts the delays and replies in force.
    pub fn install(&self, scenario: &scenario::Milter) {
        self.stages.write().unwrap_or_else(PoisonError::into_inner).clone_from(&scenario.stages);
    }

    /// Listens on TCP on the client's side.
    pub fn serve_tcp(&self, ns: &Netns, address: &str) -> Result<()> {
        let listener = ns.run(|| TcpListener::bind((address, PORT)).context("bind the milter's port"))?;
        let milter = self.clone();
        std::thread::spawn(move || {
            while milter.stop.wait_readable(&listener) {
                if let Ok((stream, _)) = listener.accept() {
                    milter.spawn(stream);
                }
            }
        });
        Ok(())
    }

    /// Listens on a unix socket.
    pub fn serve_unix(&self, listener: UnixListener) {
        let milter = self.clone();
        std::thread::spawn(move || {
            while milter.stop.wait_readable(&listener) {
                if let Ok((stream, _)) = listener.accept() {
                    milter.spawn(stream);
                }
            }
        });
    }

    fn spawn(&self, stream: impl Read + Write + AsFd + Send + 'static) {
        let milter = self.clone();
        let connection = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        std::thread::spawn(move || milter.serve(stream, connection));
    }

    fn serve(&self, mut stream: impl Read + Write + AsFd, connection: u32) {
        while self.stop.wait_readable(&stream) {
            let Some((command, data)) = read_packet(&mut stream) else { return };
            let Some(stage) = stage(command) else {
                match command {
                    b'Q' => return,
                    b'D' => {
                        // The macros go ahead of their callback, which Nagle may then hold back.
                        if let Some(stage) = data.first().copied().and_then(stage) {
                            self.journal.note(What::MilterMacros { stage: stage.to_owned(), connection });
                        }
                        continue;
                    }
                    b'O' if stream.write_all(&negotiate(&data)).is_err() => return,
                    _ => continue,
                }
            };
            self.journal.note(What::MilterCall { stage: stage.to_owned(), connection });
            let MilterStage { delay_s, reply } = {
                let stages = self.stages.read().unwrap_or_else(PoisonError::into_inner);
                stages.get(stage).cloned().unwrap_or_default()
            };
            if !self.stop.pass(Duration::from_secs_f64(delay_s)) {
                return;
            }
            let (byte, name) = match reply {
                MilterReply::Continue => (b'c', "continue"),
                MilterReply::Accept => (b'a', "accept"),
                MilterReply::Reject => (b'r', "reject"),
                MilterReply::Tempfail => (b't', "tempfail"),
            };
            self.journal.note(What::MilterReply { stage: stage.to_owned(), connection, reply: name.to_owned() });
            if stream.write_all(&[0, 0, 0, 1, byte]).is_err() {
                return;
            }
        }
    }
}

/// Name of a callback as libmilter has it; `None` for packets that are no callback or get no reply.
fn stage(command: u8) -> Option<&'static str> {
    Some(match command {
        b'C' => "connect",
        b'H' => "helo",
        b'M' => "envfrom",
        b'R' => "envrcpt",
        b'T' => "data",
        b'L' => "header",
        b'N' => "eoh",
        b'B' => "body",
        b'E' => "eom",
        b'U' => "unknown",
        _ => return None,
    })
}

fn read_packet(stream: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).ok()?;
    let mut packet = vec![0; usize::try_from(u32::from_be_bytes(len)).ok().filter(|len| (1..=1 << 20).contains(len))?];
    stream.read_exact(&mut packet).ok()?;
    let (command, data) = packet.split_first()?;
    Some((*command, data.to_vec()))
}

/// Version 6 or what the MTA offers if that is less, no actions, every callback wanted and answered.
fn negotiate(offer: &[u8]) -> Vec<u8> {
    let version = offer.first_chunk::<4>().map_or(6, |bytes| u32::from_be_bytes(*bytes).min(6));
    let mut packet = vec![0, 0, 0, 13, b'O'];
    packet.extend(version.to_be_bytes());
    packet.extend([0; 8]);
    packet
}
