//! Services that an MTA asks and that answer late: one file each, which knows as much of the protocol as a late answer needs.
//!
//! In come the scenario's `late` and connections, out go answers, each `delay_s` after its question once the faults are in force; the
//! journal has both. What is asked is read and forgotten. Not here: services with faults of their own (milter, name server, sink).

mod clamd;
mod dovecot;
mod ldap;
mod mysql;
mod nscd;
mod pgsql;
mod smtp;
mod socket;
mod tcp_table;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::journal::{Journal, What};
use crate::netns::Netns;
use crate::scenario::{Late as Settings, Service};
use crate::stop::Stop;
use crate::unix;

/// Where a service listens.
enum Place {
    /// On a port of the client's side.
    Port(u16),
    /// On a unix socket, in a folder below the lab's own.
    Unix(&'static str, &'static str),
}

/// How one service speaks; an error is that the MTA hung up, or the end of the lab.
type Converse = fn(&mut Peer) -> std::io::Result<()>;

fn of(service: Service) -> (&'static str, Place, Converse) {
    match service {
        Service::Clamd => ("clamd", Place::Port(3310), clamd::converse),
        Service::Dovecot => ("dovecot", Place::Unix("run/dovecot", "auth"), dovecot::converse),
        Service::Ldap => ("ldap", Place::Port(389), ldap::converse),
        Service::Mysql => ("mysql", Place::Port(3306), mysql::converse),
        Service::Nscd => ("nscd", Place::Unix("run/nscd", "socket"), nscd::converse),
        Service::Pgsql => ("pgsql", Place::Port(5432), pgsql::converse),
        Service::Smtp => ("smtp", Place::Port(10024), smtp::converse),
        Service::Socket => ("socket", Place::Port(10050), socket::converse),
        Service::TcpTable => ("tcp-table", Place::Port(10051), tcp_table::converse),
    }
}

/// Whether the services of a lab are late yet.
#[derive(Debug, Clone, Default)]
pub struct Late(Arc<AtomicBool>);

impl Late {
    /// From now on they are.
    pub fn install(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Serves one until the lab ends; `dir` is the lab's folder.
    pub fn serve(&self, ns: &Netns, dir: &Path, settings: &Settings, journal: &Journal, stop: &Stop) -> Result<()> {
        let (name, place, converse) = of(settings.service);
        let around = Around {
            name,
            delay: Duration::from_secs_f64(settings.delay_s),
            etc: dir.join("etc"),
            late: self.clone(),
            journal: journal.clone(),
            stop: stop.clone(),
        };
        match place {
            Place::Port(port) => {
                let listener = ns.run(|| TcpListener::bind(("10.99.0.1", port)).with_context(|| format!("bind the port of {name}")))?;
                accept(listener, |listener| listener.accept().map(|(stream, _)| stream), around, converse);
            }
            Place::Unix(folder, socket) => {
                let folder = dir.join(folder);
                let listener = unix::bind_stream(&folder, socket)?;
                // Whoever serves is not root.
                let everybody = std::fs::Permissions::from_mode(0o666);
                std::fs::set_permissions(folder.join(socket), everybody).with_context(|| format!("chmod the socket of {name}"))?;
                accept(listener, |listener: &UnixListener| listener.accept().map(|(stream, _)| stream), around, converse);
            }
        }
        Ok(())
    }
}

fn accept<L, S>(listener: L, next: fn(&L) -> std::io::Result<S>, around: Around, converse: Converse)
where
    L: AsFd + Send + 'static,
    S: Stream + 'static,
{
    std::thread::spawn(move || {
        while around.stop.wait_readable(&listener) {
            let Ok(stream) = next(&listener) else { continue };
            let mut peer = Peer { stream: Box::new(stream), around: around.clone() };
            // A mail server that hangs up is no error of the lab.
            std::thread::spawn(move || drop(converse(&mut peer)));
        }
    });
}

#[derive(Clone)]
struct Around {
    name: &'static str,
    delay: Duration,
    etc: PathBuf,
    late: Late,
    journal: Journal,
    stop: Stop,
}

trait Stream: Read + Write + AsFd + Send {}
impl<T: Read + Write + AsFd + Send> Stream for T {}

/// The MTA at the far end of one connection.
struct Peer {
    stream: Box<dyn Stream>,
    around: Around,
}

impl Peer {
    /// So many bytes.
    fn read(&mut self, len: usize) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let mut have = 0;
        while let Some(rest) = bytes.get_mut(have..).filter(|rest| !rest.is_empty()) {
            if !self.around.stop.wait_readable(&*self.stream) {
                return Err(ErrorKind::Interrupted.into());
            }
            match self.stream.read(rest)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => have += read,
            }
        }
        Ok(bytes)
    }

    /// Up to this byte, which is not part of it.
    fn read_until(&mut self, end: u8) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            match self.read(1)?.first() {
                Some(&byte) if byte != end => bytes.push(byte),
                _ => return Ok(bytes),
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// It has been asked: time passes until the answer.
    fn think(&self) -> std::io::Result<()> {
        let Around { name, delay, late, journal, stop, .. } = &self.around;
        if !late.0.load(Ordering::Relaxed) {
            return Ok(());
        }
        journal.note(What::LateRequest { service: (*name).to_owned() });
        if !stop.pass(*delay) {
            return Err(ErrorKind::Interrupted.into());
        }
        journal.note(What::LateReply { service: (*name).to_owned() });
        Ok(())
    }

    /// The folder that is the MTA's `/etc`.
    fn etc(&self) -> &Path {
        &self.around.etc
    }
}
