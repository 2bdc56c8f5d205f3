//! Which process is meant: by PID, port, name, or by itself. Only looks; changes nothing.

use super::{
    Error,
    proc::{self, Sockets, State},
};
use crate::{
    event::{Endpoint, Proto, SocketId},
    mta::{self, Mta, Shape},
    options::AttachOptions,
};
use std::fs;

/// SMTP (RFC 5321, 4.5.4.2).
const SMTP_PORT: u16 = 25;

/// What is going to be traced.
#[derive(Debug)]
pub struct Target {
    /// The process that was named or found.
    pub pid: u32,
    /// Its program.
    pub exe: String,
    /// `sendmail` ... or `unknown`.
    pub mta: &'static str,
    /// Its version, where it is known.
    pub version: Option<String>,
    /// How its processes share its sessions.
    pub shape: Shape,
    /// Where it listens; empty for a child that serves a session.
    pub listening: Vec<Endpoint>,
}

/// Finds the process that the options mean.
pub fn find(options: &AttachOptions) -> Result<Target, Error> {
    let pid = match (options.pid, &options.mta, options.port) {
        (Some(pid), _, _) => pid,
        (None, Some(mta), port) => by_name(mta, port)?,
        (None, None, port) => by_port(port.unwrap_or(SMTP_PORT))?,
    };
    look_at(pid)
}

fn look_at(pid: u32) -> Result<Target, Error> {
    // `Tgid` of a thread that is not the leader differs: the process is meant.
    let pid = proc::status(pid, "Tgid").ok_or(Error::NoProcess(pid))?;
    let exe = match fs::read_link(proc::path(pid, "exe")) {
        Ok(_) => proc::exe(pid).ok_or(Error::Vanished(pid))?,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Err(Error::NotPermitted { what: format!("reading /proc/{pid}/exe") });
        }
        Err(_) if proc::has_ended(pid) => return Err(Error::Vanished(pid)),
        Err(_) => return Err(Error::KernelThread(pid)),
    };
    if let Err(source) = fs::read_dir(proc::path(pid, "fd")) {
        let path = proc::path(pid, "fd");
        return Err(if source.kind() == std::io::ErrorKind::PermissionDenied {
            Error::NotPermitted { what: format!("reading {}", path.display()) }
        } else {
            Error::Vanished(pid)
        });
    }
    let known = mta::by_program(&exe);
    let is_family = known.is_some_and(|known| matches!(known.shape(), Shape::EventLoop { .. }));
    let pid = if is_family { oldest_of_its_kind(pid, &exe) } else { pid };
    let screener = known.and_then(Mta::screener).filter(|name| proc::comm(pid).as_deref() == Some(name));
    // Those to whom it passes clients are its parent's children.
    let pid = screener.and_then(|_| proc::status(pid, "PPid")).filter(|parent| proc::exe(*parent).is_some_and(|exe| is_mta(&exe))).unwrap_or(pid);
    let exe = if screener.is_some() { proc::exe(pid).ok_or(Error::Vanished(pid))? } else { exe };
    let listening = if is_family { listening_in_tree(pid) } else { listening(pid) };
    if listening.is_empty() && serving(pid).is_none() {
        return Err(if proc::has_ended(pid) { Error::Vanished(pid) } else { Error::NoServer { pid, exe } });
    }
    if proc::is_32_bit(pid) {
        return Err(Error::Bits32(pid));
    }
    let version = known.and_then(|known| known.version_in(&fs::read(proc::path(pid, "exe")).ok()?));
    let (mta, shape) = known.map_or_else(|| ("unknown", shape_of_unknown(pid)), |known| (known.name(), known.shape()));
    Ok(Target { pid, exe, mta, version, shape, listening })
}

/// The parent of all: what listens may be one of its children, and what that asks another.
fn oldest_of_its_kind(pid: u32, exe: &str) -> u32 {
    let parent = proc::status(pid, "PPid").filter(|parent| *parent > 1 && proc::exe(*parent).as_deref() == Some(exe));
    parent.map_or(pid, |parent| oldest_of_its_kind(parent, exe))
}

fn listening_in_tree(root: u32) -> Vec<Endpoint> {
    let mut all: Vec<Endpoint> = proc::tree(root).into_iter().flat_map(listening).collect();
    all.sort();
    all.dedup();
    all
}

/// What waits for many descriptors by epoll serves many clients.
fn shape_of_unknown(pid: u32) -> Shape {
    let is_loop = proc::descriptors(pid).iter().any(|(_, link)| link == "anon_inode:[eventpoll]");
    if is_loop { Shape::EventLoop { has_messages: false } } else { Shape::ForkPerSession }
}

/// Whether a program is a mail server that is known by its name.
pub fn is_mta(exe: &str) -> bool {
    mta::by_program(exe).is_some()
}

/// Whether a process is a mail server, or one of its processes, that has a TCP socket which listens: it accepts sessions, of whomever.
pub fn is_mail_listener(pid: u32) -> bool {
    proc::exe(pid).is_some_and(|exe| is_mta(&exe)) && !listening(pid).is_empty()
}

/// The mail servers that run here and that `attach` can be given, as text: `sendmail 8.17.1.9, pid 1234, 0.0.0.0:25`.
pub fn all_here() -> Vec<String> {
    let listeners: Vec<u32> = proc::all().into_iter().filter(|pid| is_mail_listener(*pid)).collect();
    let is_root = |pid: &u32| proc::status(*pid, "PPid").is_none_or(|parent| !listeners.contains(&parent));
    let mut all: Vec<String> = listeners.iter().filter(|pid| is_root(pid)).filter_map(|pid| look_at(*pid).ok()).map(|it| described(&it)).collect();
    all.sort();
    all.dedup();
    all
}

fn described(target: &Target) -> String {
    let version = target.version.as_deref().map(|version| format!(" {version}")).unwrap_or_default();
    let places: Vec<String> = target.listening.iter().map(ToString::to_string).collect();
    format!("{}{version}, pid {}, {}", target.mta, target.pid, places.join(", "))
}

fn listening(pid: u32) -> Vec<Endpoint> {
    let sockets = Sockets::of(pid);
    let mut all: Vec<Endpoint> = proc::descriptors(pid)
        .iter()
        .filter_map(|(_, link)| sockets.get(proc::socket_inode(link)?))
        .filter(|(id, state)| *state == State::Listening && id.proto == Proto::Tcp)
        .filter_map(|(id, _)| id.local.clone())
        .collect();
    all.sort();
    all.dedup();
    all
}

/// The client's connection of a process that serves a session: an established TCP connection whose local port is one on which somebody
/// listens in its network namespace (its own connections to helpers have other ports).
pub fn serving(pid: u32) -> Option<SocketId> {
    let sockets = Sockets::of(pid);
    proc::descriptors(pid)
        .iter()
        .filter_map(|(_, link)| sockets.get(proc::socket_inode(link)?))
        .find(|(id, state)| {
            id.proto == Proto::Tcp
                && *state == State::Established
                && id.local.as_ref().and_then(Endpoint::port).is_some_and(|port| !sockets.listening_on(port).is_empty())
        })
        .map(|(id, _)| id.clone())
}

fn by_port(port: u16) -> Result<u32, Error> {
    let inodes = Sockets::of(std::process::id()).listening_on(port);
    let holders: Vec<u32> = proc::all().into_iter().filter(|pid| holds(*pid, &inodes)).collect();
    choose(port, &holders, Error::NobodyListens(port))
}

fn holds(pid: u32, inodes: &[u64]) -> bool {
    !inodes.is_empty() && proc::descriptors(pid).iter().any(|(_, link)| proc::socket_inode(link).is_some_and(|inode| inodes.contains(&inode)))
}

fn by_name(name: &str, port: Option<u16>) -> Result<u32, Error> {
    let Some(mta) = mta::known(name) else {
        let known: Vec<&str> = mta::ALL.iter().map(|mta| mta.name()).collect();
        return Err(Error::UnknownMta(name.to_owned(), known.join(", ")));
    };
    let is_meant = |pid: &u32| {
        proc::exe(*pid).and_then(|exe| mta::by_program(&exe)).is_some_and(|of| of.name() == mta.name())
            && listening(*pid).iter().any(|end| port.is_none_or(|port| end.port() == Some(port)))
    };
    let mut found: Vec<u32> = proc::all().into_iter().filter(is_meant).collect();
    // Those of our own network namespace come before those in containers.
    let own = proc::network("self");
    if found.iter().any(|pid| proc::network(&pid.to_string()) == own) {
        found.retain(|pid| proc::network(&pid.to_string()) == own);
    }
    choose(port.unwrap_or(SMTP_PORT), &found, Error::NoMta(mta.name().to_owned()))
}

/// The one among processes that hold a listening socket: children inherit it, so those whose parent holds it too do not count.
fn choose(port: u16, holders: &[u32], none: Error) -> Result<u32, Error> {
    let roots: Vec<u32> = holders.iter().copied().filter(|pid| proc::status(*pid, "PPid").is_none_or(|parent| !holders.contains(&parent))).collect();
    match roots.as_slice() {
        [] => Err(none),
        [pid] => Ok(*pid),
        several => {
            let names: Vec<String> = several.iter().map(|pid| format!("{pid} ({})", proc::exe(*pid).unwrap_or_else(|| "?".into()))).collect();
            Err(Error::Ambiguous { port, candidates: names.join(", ") })
        }
    }
}
