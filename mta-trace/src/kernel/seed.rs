//! What existed before we came, as events: the daemon, the children that serve sessions, their descriptors, and the files
//! that matter for the explanation. Of `/proc/PID/cmdline` only a known verb is taken: sendmail writes the client's line into it.

use super::proc::{self, Sockets};
use crate::event::{Record, SeedFd, SeedFile, SeedProc, SocketId};
use crate::mta;
use mta_trace_common::{smtp, syscalls::Call};
use std::fs;

/// Largest resolv.conf that is kept.
const RESOLV_CONF_MAX: usize = 16 * 1024;

/// A process with its role (`daemon`, `session`, `server`, `loop`).
pub fn process(pid: u32, role: &str) -> Record {
    let blocked = proc::blocked_in(pid, pid);
    let call = blocked.and_then(|(nr, _)| Call::by_number(nr));
    let exe = proc::exe(pid).unwrap_or_default();
    Record::SeedProc(SeedProc {
        pid,
        ppid: proc::status(pid, "PPid").unwrap_or_default(),
        comm: proc::comm(pid).unwrap_or_default(),
        cwd: proc::cwd(pid),
        root: proc::root(pid),
        role: Some(role.to_owned()),
        service: if role == "loop" { service(pid, &exe) } else { None },
        verb: if role == "session" { verb(pid, &exe) } else { None },
        exe,
        call: call.map(|call| call.name().to_owned()),
        fd: call.filter(|call| call.row().fd0).and(blocked).and_then(|(_, [fd, ..])| i32::try_from(fd).ok()),
    })
}

/// The descriptors of a process; `client`: which connection is the client's.
pub fn descriptors(pid: u32, client: Option<&SocketId>) -> Vec<Record> {
    let sockets = Sockets::of(pid);
    let seed = |(fd, link): (i32, String)| {
        let inode = proc::socket_inode(&link);
        let socket = inode.and_then(|inode| sockets.get(inode)).map(|(id, _)| id.clone());
        let is_client = client.is_some_and(|client| inode == Some(client.inode));
        let path = inode.is_none().then(|| if link.starts_with('/') && proc::is_fifo(pid, fd) { format!("fifo:{link}") } else { link });
        (socket.is_some() || path.is_some()).then_some(Record::SeedFd(SeedFd { pid, fd, path, socket, client: is_client }))
    };
    proc::descriptors(pid).into_iter().filter_map(seed).collect()
}

/// The resolver's configuration as the process sees it (its mount namespace and root).
pub fn resolv_conf(pid: u32) -> Option<Record> {
    let (mut text, _) = proc::file_in_root(pid, "/etc/resolv.conf", 1024 * 1024)?;
    text.truncate(RESOLV_CONF_MAX);
    Some(Record::SeedFile(SeedFile { path: "/etc/resolv.conf".into(), text: String::from_utf8_lossy(&text).into_owned() }))
}

/// The service of its server that a process's title names, of those that the server is known to have.
fn service(pid: u32, exe: &str) -> Option<String> {
    let title = fs::read(proc::path(pid, "cmdline")).ok()?;
    let title = String::from_utf8_lossy(&title);
    mta::by_program(exe)?.service_in(title.trim_end_matches('\0')).map(str::to_owned)
}

/// The verb in the title of a process that serves a session, where its server writes one into it.
fn verb(pid: u32, exe: &str) -> Option<String> {
    let title = fs::read(proc::path(pid, "cmdline")).ok()?;
    let title = String::from_utf8_lossy(&title);
    let command = mta::by_program(exe)?.command_in(&title)?;
    if cfg!(feature = "unsafe-unfiltered") {
        return Some(command.to_owned());
    }
    let word: String = command.chars().take_while(char::is_ascii_alphabetic).collect();
    let packed = word.bytes().take(9).fold(0_u64, |packed, byte| packed << 8 | u64::from(byte));
    (word.len() <= 8 && smtp::is_verb(packed)).then(|| word.to_ascii_uppercase())
}
