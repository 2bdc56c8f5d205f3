//! Which process is meant: by PID, port, name, or by itself. Only looks; changes nothing.

use super::{
    Error,
    proc::{self, Sockets, State},
};
use crate::{
    event::{Endpoint, Proto, SocketId},
    options::AttachOptions,
};
use std::fs;

/// SMTP (RFC 5321, 4.5.4.2).
const SMTP_PORT: u16 = 25;

/// How the processes of a mail server share its sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The daemon accepts, and forks a process for each session.
    ForkPerSession,
    /// Processes that were forked before accept by themselves, and serve one session after another.
    PreForked,
    /// One process (or one for each processor) serves many sessions at a time; if it asks other processes of its own, `has_messages` says how.
    EventLoop {
        /// By imsg messages.
        has_messages: bool,
    },
}

/// A mail server that is known.
struct Known {
    name: &'static str,
    /// File names of its programs.
    programs: &'static [&'static str],
    shape: Shape,
    /// Finds its version in its program; none: it is not there, or not to be told from other strings.
    version: fn(&[u8]) -> Option<String>,
}

const MTAS: &[Known] = &[
    Known {
        name: "sendmail",
        programs: &["sendmail", "sendmail-mta", "sendmail.sendmail"],
        shape: Shape::ForkPerSession,
        version: |program| only_version(program, is_version_of_sendmail),
    },
    // Every program of Postfix has its default parameters in it (src/global/mail_version.h).
    Known { name: "postfix", programs: &["master", "smtpd", "postscreen"], shape: Shape::PreForked, version: version_of_postfix },
    Known { name: "exim", programs: &["exim", "exim4"], shape: Shape::ForkPerSession, version: |program| only_version(program, is_version_of_exim) },
    Known { name: "opensmtpd", programs: &["smtpd", "opensmtpd"], shape: Shape::EventLoop { has_messages: true }, version: |_| None },
];

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
    let known = known(&exe);
    let is_family = known.is_some_and(|known| matches!(known.shape, Shape::EventLoop { .. }));
    let pid = if is_family { oldest_of_its_kind(pid, &exe) } else { pid };
    let listening = if is_family { listening_in_tree(pid) } else { listening(pid) };
    if listening.is_empty() && serving(pid).is_none() {
        return Err(if proc::has_ended(pid) { Error::Vanished(pid) } else { Error::NoServer { pid, exe } });
    }
    if proc::is_32_bit(pid) {
        return Err(Error::Bits32(pid));
    }
    let version = known.and_then(|known| (known.version)(&fs::read(proc::path(pid, "exe")).ok()?));
    let (mta, shape) = known.map_or_else(|| ("unknown", shape_of_unknown(pid)), |known| (known.name, known.shape));
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

fn file_name(exe: &str) -> &str {
    exe.rsplit('/').next().unwrap_or(exe)
}

fn known(exe: &str) -> Option<&'static Known> {
    // Postfix and OpenSMTPD both have an `smtpd`; Postfix's lies in its own folder.
    let is_postfix = exe.contains("/postfix/");
    MTAS.iter().find(|known| known.programs.contains(&file_name(exe)) && (known.name != "postfix" || is_postfix))
}

fn mta_of(exe: &str) -> &'static str {
    known(exe).map_or("unknown", |known| known.name)
}

/// Whether a program is a mail server that is known by its name.
pub fn is_mta(exe: &str) -> bool {
    mta_of(exe) != "unknown"
}

/// Whether a process is a mail server, or one of its processes, that has a TCP socket which listens: it accepts sessions, of whomever.
pub fn is_mail_listener(pid: u32) -> bool {
    proc::exe(pid).is_some_and(|exe| is_mta(&exe)) && !listening(pid).is_empty()
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
    let Some(Known { name: mta, .. }) = MTAS.iter().find(|known| known.name == name) else {
        let known: Vec<&str> = MTAS.iter().map(|known| known.name).collect();
        return Err(Error::UnknownMta(name.to_owned(), known.join(", ")));
    };
    let is_meant = |pid: &u32| {
        proc::exe(*pid).is_some_and(|exe| mta_of(&exe) == *mta) && listening(*pid).iter().any(|end| port.is_none_or(|port| end.port() == Some(port)))
    };
    let mut found: Vec<u32> = proc::all().into_iter().filter(is_meant).collect();
    // Those of our own network namespace come before those in containers.
    let own = proc::network("self");
    if found.iter().any(|pid| proc::network(&pid.to_string()) == own) {
        found.retain(|pid| proc::network(&pid.to_string()) == own);
    }
    choose(port.unwrap_or(SMTP_PORT), &found, Error::NoMta((*mta).to_owned()))
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

/// The version that stands in a program as a string of its own; none: there is no such string, or several that differ.
fn only_version(program: &[u8], is_version: fn(&[&str]) -> bool) -> Option<String> {
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let strings = program.split(|byte| *byte == 0).filter(|text| (4..16).contains(&text.len())).filter_map(|text| std::str::from_utf8(text).ok());
    let mut versions = strings.filter(|text| {
        let parts: Vec<&str> = text.split('.').collect();
        parts.iter().all(is_number) && is_version(&parts)
    });
    let first = versions.next()?;
    versions.all(|other| other == first).then(|| first.to_owned())
}

/// `Version` in `sendmail/version.c`: `8.17.1.9`.
fn is_version_of_sendmail(parts: &[&str]) -> bool {
    parts.len() >= 3 && parts.first() == Some(&"8")
}

/// `EXIM_VERSION_STR` in `src/version.c`: `4.96`, `4.94.2`. The numbers of its libraries begin with 4 as well, but go on with one digit.
fn is_version_of_exim(parts: &[&str]) -> bool {
    matches!(parts, ["4", release] | ["4", release, _] if release.len() == 2)
}

/// `mail_version` among the default parameters (`DEF_MAIL_VERSION` in `src/global/mail_version.h`): `3.7.11`.
fn version_of_postfix(program: &[u8]) -> Option<String> {
    let text = program.split(|byte| *byte == 0).find_map(|text| text.strip_prefix(b"mail_version="))?;
    std::str::from_utf8(text).ok().filter(|text| text.len() < 32 && text.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_programs() {
        let of_sendmail = |program: &[u8]| only_version(program, is_version_of_sendmail);
        assert_eq!(of_sendmail(b"8.8\0x 8.17.1.9\x008.17.1.9\0").as_deref(), Some("8.17.1.9"));
        assert_eq!(of_sendmail(b"8..1\0"), None);
        let of_exim = |program: &[u8]| only_version(program, is_version_of_exim);
        assert_eq!(of_exim(b"4.0.0\x004.96\0Exim 4.95\0").as_deref(), Some("4.96"));
        assert_eq!(of_exim(b"\x004.94.2\x004.94.2\0").as_deref(), Some("4.94.2"));
        assert_eq!(version_of_postfix(b"x\0mail_version=3.7.11\0").as_deref(), Some("3.7.11"));
        assert_eq!(version_of_postfix(b"mail_version\0"), None);
        // Which one it is nobody knows.
        assert_eq!(of_exim(b"\x004.96\x004.98\0"), None);
    }
}
