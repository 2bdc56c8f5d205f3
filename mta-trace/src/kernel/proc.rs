//! What /proc tells of processes and sockets that existed before we came. Everything may vanish while it is read:
//! a missing file is "not known", never an error, except where a caller says so.

use crate::event::{Endpoint, Proto, SocketId};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use std::{
    collections::{HashMap, HashSet},
    fs,
    io::Read as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::PathBuf,
    time::{Duration, SystemTime},
};

/// `/proc/PID/NAME`.
pub fn path(pid: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

fn link(pid: u32, name: &str) -> Option<String> {
    fs::read_link(path(pid, name)).ok().map(|it| it.to_string_lossy().into_owned())
}

/// Path of the program, without the mark of a replaced file.
pub fn exe(pid: u32) -> Option<String> {
    link(pid, "exe").map(|path| path.trim_end_matches(" (deleted)").to_owned())
}

/// A file as a process sees it: all links stay inside its root. Its bytes, and when it was changed; none: it is too big, or no file.
pub fn file_in_root(pid: u32, name: &str, most: u64) -> Option<(Vec<u8>, Option<SystemTime>)> {
    let root = fs::File::open(path(pid, "root")).ok()?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut file = fs::File::from(openat2(&root, name, flags, Mode::empty(), ResolveFlags::IN_ROOT).ok()?);
    let data = file.metadata().ok().filter(|data| data.is_file() && data.len() <= most)?;
    let mut bytes = Vec::new();
    file.by_ref().take(most).read_to_end(&mut bytes).ok()?;
    Some((bytes, data.modified().ok()))
}

/// When it started (`starttime` of `proc_pid_stat(5)`, in ticks of 10 ms since the machine's start).
pub fn started(pid: u32) -> Option<SystemTime> {
    let stat = fs::read_to_string(path(pid, "stat")).ok()?;
    // The name before the last bracket may hold anything. Behind it the state is field 3.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_ascii_whitespace().nth(22 - 3)?.parse().ok()?;
    let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let up = Duration::new(u64::try_from(up.tv_sec).ok()?, u32::try_from(up.tv_nsec).ok()?);
    SystemTime::now().checked_sub(up.checked_sub(Duration::from_millis(ticks.checked_mul(10)?))?)
}

/// Whether its program is a 32-bit one (`e_ident[EI_CLASS]`, elf(5)).
pub fn is_32_bit(pid: u32) -> bool {
    let mut head = [0; 5];
    let read = fs::File::open(path(pid, "exe")).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut head));
    read.is_ok() && head == *b"\x7fELF\x01"
}

/// Working directory.
pub fn cwd(pid: u32) -> Option<String> {
    link(pid, "cwd")
}

/// Root directory, if it has one of its own (chroot(2)).
pub fn root(pid: u32) -> Option<String> {
    link(pid, "root").filter(|root| root != "/")
}

/// Name of the task.
pub fn comm(pid: u32) -> Option<String> {
    fs::read(path(pid, "comm")).ok().map(|comm| String::from_utf8_lossy(&comm).trim_end().to_owned())
}

/// A number from `/proc/PID/status`.
pub fn status(pid: u32, key: &str) -> Option<u32> {
    let text = fs::read_to_string(path(pid, "status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')?.trim().parse().ok())
}

/// Whether it is gone, or only waits to be reaped (`Z`, `X`).
pub fn has_ended(pid: u32) -> bool {
    let text = fs::read_to_string(path(pid, "status")).unwrap_or_default();
    let state = text.lines().find_map(|line| line.strip_prefix("State:")).map(str::trim_start);
    state.is_none_or(|state| state.starts_with(['Z', 'X', 'x']))
}

/// Network namespace of a process (`net:[4026531840]`).
pub fn network(pid: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}

/// Whether /proc shows the processes under the numbers that the kernel's own code knows them by: only in the first pid namespace, whose
/// inode is fixed (`PROC_PID_INIT_INO`, `include/linux/proc_ns.h`).
pub fn is_initial_pid_namespace() -> bool {
    fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() == "pid:[4026531836]")
}

/// The number that a process has in its own pid namespace, if that is another one than ours (a container).
pub fn pid_inside(pid: u32) -> Option<u32> {
    innermost(&fs::read_to_string(path(pid, "status")).ok()?)
}

/// `NSpid` of proc(5) begins with the number here, and ends with that in the process's own namespace.
fn innermost(status: &str) -> Option<u32> {
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().skip(1).last()?.parse().ok()
}

/// All processes.
pub fn all() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Threads of a process.
pub fn threads(pid: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(path(pid, "task")) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// A process and all its descendants, parents first.
pub fn tree(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = all().into_iter().filter_map(|pid| Some((pid, status(pid, "PPid")?))).collect();
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(parent) = tree.get(next).copied() {
        tree.extend(parents.iter().filter(|(_, ppid)| *ppid == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    tree
}

/// An open descriptor: number, and what its link says.
pub fn descriptors(pid: u32) -> Vec<(i32, String)> {
    let Ok(entries) = fs::read_dir(path(pid, "fd")) else { return Vec::new() };
    let mut all: Vec<(i32, String)> = entries
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned())))
        .collect();
    all.sort_unstable();
    all
}

/// Who among these processes has a descriptor of one of these sockets.
pub fn holders(pids: impl Iterator<Item = u32>, inodes: &HashSet<u64>) -> HashMap<u64, Vec<u32>> {
    let mut holders: HashMap<u64, Vec<u32>> = HashMap::new();
    if inodes.is_empty() {
        return holders;
    }
    for pid in pids {
        for inode in descriptors(pid).iter().filter_map(|(_, link)| socket_inode(link)).filter(|inode| inodes.contains(inode)) {
            let known = holders.entry(inode).or_default();
            if !known.contains(&pid) {
                known.push(pid);
            }
        }
    }
    holders
}

/// Whether it is a thread of that process, and lives.
pub fn is_thread(pid: u32, tid: u32) -> bool {
    path(pid, &format!("task/{tid}")).exists()
}

/// Memory of a process (`/proc/PID/mem`); none: it is not there, or may not be read.
pub fn memory(pid: u32, at: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    let file = fs::File::open(path(pid, "mem")).ok()?;
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, at).ok()?;
    Some(bytes)
}

/// The newest descriptor of a socket.
pub fn descriptor_of(pid: u32, inode: u64) -> Option<i32> {
    descriptors(pid).into_iter().rev().find(|(_, link)| socket_inode(link) == Some(inode)).map(|(fd, _)| fd)
}

/// The socket behind a descriptor, among those of the process's network namespace.
pub fn socket_behind(sockets: &Sockets, pid: u32, fd: i32) -> Option<SocketId> {
    sockets.get(inode_behind(pid, fd)?).map(|(id, _)| id.clone())
}

/// The inode of the socket behind a descriptor.
pub fn inode_behind(pid: u32, fd: i32) -> Option<u64> {
    socket_inode(&link(pid, &format!("fd/{fd}"))?)
}

/// Inode of a descriptor's link, if it is a socket.
pub fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The call in which a thread blocks: number and arguments (`/proc/PID/task/TID/syscall`); `None`: it runs, or is not known.
pub fn blocked_in(pid: u32, tid: u32) -> Option<(i64, [u64; 6])> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).ok()?;
    let mut words = text.split_whitespace();
    let nr = words.next()?.parse().ok()?;
    let mut args = [0; 6];
    for (to, word) in args.iter_mut().zip(words) {
        *to = u64::from_str_radix(word.trim_start_matches("0x"), 16).ok()?;
    }
    Some((nr, args))
}

/// Kernel's state of a TCP socket (`include/net/tcp_states.h`).
const ESTABLISHED: &str = "01";
/// The peer has closed, we have not.
const CLOSE_WAIT: &str = "08";
const LISTEN: &str = "0A";

/// TCP, UDP and unix sockets of a network namespace, by inode.
#[derive(Debug, Default)]
pub struct Sockets {
    by_inode: HashMap<u64, (SocketId, State)>,
}

/// As far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for connections.
    Listening,
    /// Connected, even if only our end is still open.
    Established,
    /// Anything else.
    Other,
}

impl Sockets {
    /// Those of the namespace that a process is in.
    pub fn of(pid: u32) -> Self {
        let mut sockets = Self::default();
        for (file, proto) in [("net/tcp", Proto::Tcp), ("net/tcp6", Proto::Tcp), ("net/udp", Proto::Udp), ("net/udp6", Proto::Udp)] {
            let text = fs::read_to_string(path(pid, file)).unwrap_or_default();
            for (inode, entry) in text.lines().skip(1).filter_map(|line| socket(line, proto)) {
                sockets.by_inode.insert(inode, entry);
            }
        }
        let text = fs::read_to_string(path(pid, "net/unix")).unwrap_or_default();
        sockets.by_inode.extend(text.lines().skip(1).filter_map(unix_socket));
        sockets
    }

    /// A socket by its inode.
    pub fn get(&self, inode: u64) -> Option<&(SocketId, State)> {
        self.by_inode.get(&inode)
    }

    /// The other end of a TCP connection within this namespace.
    pub fn mirrored(&self, id: &SocketId) -> Option<u64> {
        let (local, peer) = (id.local.as_ref()?, id.peer.as_ref()?);
        let is_mirror = |other: &SocketId| other.proto == Proto::Tcp && other.local.as_ref() == Some(peer) && other.peer.as_ref() == Some(local);
        // One that has not been accepted has no inode.
        self.by_inode.iter().find(|(inode, (other, _))| **inode != 0 && is_mirror(other)).map(|(inode, _)| *inode)
    }

    /// The UDP socket of this namespace that gets what a connected one sends, if that stays on this machine.
    pub fn bound(&self, id: &SocketId) -> Option<u64> {
        let (Endpoint::Inet(local), Endpoint::Inet(peer)) = (id.local.as_ref()?, id.peer.as_ref()?) else { return None };
        let is_here = peer.ip().is_loopback() || peer.ip() == local.ip();
        // Who is bound to the address itself gets it.
        let is_wildcard = |other: &SocketId| other.local.as_ref().and_then(Endpoint::ip).is_none_or(|ip| ip.is_unspecified());
        let gets = |other: &SocketId| match &other.local {
            Some(Endpoint::Inet(end)) => {
                other.proto == Proto::Udp
                    && other.peer.is_none()
                    && end.port() == peer.port()
                    && (end.ip() == peer.ip() || is_here && end.ip().is_unspecified())
            }
            _ => false,
        };
        self.by_inode
            .iter()
            .filter(|(inode, (other, _))| **inode != 0 && gets(other))
            .map(|(inode, (other, _))| (is_wildcard(other), *inode))
            .min()
            .map(|(_, inode)| inode)
    }

    /// Inodes that listen on a TCP port.
    pub fn listening_on(&self, port: u16) -> Vec<u64> {
        let listens = |(id, state): &(SocketId, State)| *state == State::Listening && id.local.as_ref().and_then(Endpoint::port) == Some(port);
        self.by_inode.iter().filter(|(_, entry)| listens(entry)).map(|(inode, _)| *inode).collect()
    }
}

fn socket(line: &str, proto: Proto) -> Option<(u64, (SocketId, State))> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let local = endpoint(fields.get(1)?)?;
    let peer = endpoint(fields.get(2)?)?;
    let state = match *fields.get(3)? {
        LISTEN if proto == Proto::Tcp => State::Listening,
        ESTABLISHED | CLOSE_WAIT => State::Established,
        _ => State::Other,
    };
    let inode = fields.get(9)?.parse().ok()?;
    let peer = (peer.port() != 0).then_some(Endpoint::Inet(peer));
    Some((inode, (SocketId { inode, proto, local: Some(Endpoint::Inet(local)), peer, peer_inode: None }, state)))
}

/// The children of a process (`/proc/PID/task/TID/children`, and where the kernel has none of these files by looking at all processes).
pub fn children(pid: u32) -> Vec<u32> {
    let mut all = Vec::new();
    for tid in threads(pid) {
        let Ok(text) = fs::read_to_string(path(pid, "task").join(tid.to_string()).join("children")) else {
            return tree(pid).into_iter().filter(|child| status(*child, "PPid") == Some(pid)).collect();
        };
        all.extend(text.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
    }
    all
}

/// The descendants of a process, at most so many.
pub fn descendants(pid: u32, most: usize) -> Vec<u32> {
    let mut all = children(pid);
    let mut next = 0;
    while let Some(child) = all.get(next).copied().filter(|_| all.len() < most) {
        all.extend(children(child));
        next += 1;
    }
    all.truncate(most);
    all
}

/// The only child of a process; none: it has several.
pub fn only_child(pid: u32) -> Option<u32> {
    let mut children = children(pid).into_iter();
    let first = children.next()?;
    children.next().is_none().then_some(first)
}

/// `pipe:[INODE]`, if that is what is behind a descriptor.
pub fn pipe_behind(pid: u32, fd: i32) -> Option<String> {
    let link = fs::read_link(path(pid, "fd").join(fd.to_string())).ok()?;
    link.to_str().filter(|link| link.starts_with("pipe:[")).map(str::to_owned)
}

/// Whether a descriptor is that of a FIFO.
pub fn is_fifo(pid: u32, fd: i32) -> bool {
    fs::metadata(path(pid, "fd").join(fd.to_string())).is_ok_and(|found| found.file_type().is_fifo())
}

/// Whether a process has a descriptor of this pipe to which it can write (proc(5): the link's own permissions are those of the descriptor).
pub fn writes_to(pid: u32, pipe: &str) -> bool {
    let may_write = |fd: i32| fs::symlink_metadata(path(pid, "fd").join(fd.to_string())).is_ok_and(|found| found.permissions().mode() & 0o200 != 0);
    descriptors(pid).into_iter().any(|(fd, link)| link == pipe && may_write(fd))
}

/// The name of a unix socket; one that was accepted has that of the socket that listened.
pub fn unix_path(pid: u32, inode: u64) -> Option<String> {
    let text = fs::read_to_string(path(pid, "net/unix")).ok()?;
    let sockets = text.lines().skip(1).filter_map(unix_socket);
    let (_, (id, _)) = sockets.into_iter().find(|(found, _)| *found == inode)?;
    id.local.map(|path| path.to_string())
}

/// `0000000000000000: 00000003 00000000 00000000 0001 03 20401 /run/x`: behind the flags (`__SO_ACCEPTCON`: it listens) its type, its state
/// (`SS_CONNECTED`: 3) and its inode; the peer's path is not there.
fn unix_socket(line: &str) -> Option<(u64, (SocketId, State))> {
    let mut fields = line.split_whitespace().skip(3);
    let (flags, _, state) = (fields.next()?, fields.next()?, fields.next()?);
    let state = match (flags, state) {
        ("00010000", _) => State::Listening,
        (_, "03") => State::Established,
        _ => State::Other,
    };
    let inode = fields.next()?.parse().ok()?;
    let local = fields.next().map(|path| Endpoint::Unix(path.to_owned()));
    Some((inode, (SocketId { inode, proto: Proto::Unix, local, peer: None, peer_inode: None }, state)))
}

/// `0100007F:0019`: 32-bit words of the address in the machine's order, port as a number.
fn endpoint(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |i: usize| u32::from_str_radix(address.get(i * 8..i * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = if address.len() == 8 {
        Ipv4Addr::from(word(0)?).into()
    } else {
        let [a, b, c, d] = [word(0)?, word(1)?, word(2)?, word(3)?];
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip([a, b, c, d].concat()) {
            *to = from;
        }
        Ipv6Addr::from(bytes).into()
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_files_are_read() {
        let folder = std::env::temp_dir().join(format!("mta-trace-proc-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let read = |name: &str, most| file_in_root(std::process::id(), &folder.join(name).to_string_lossy(), most);
        fs::write(folder.join("file"), "text").unwrap();
        std::os::unix::fs::symlink(folder.join("file"), folder.join("link")).unwrap();
        let (text, changed) = read("link", 10).unwrap();
        assert_eq!(text, b"text");
        // This process is older than the file, if only by some ticks.
        assert!(changed > started(std::process::id()).map(|it| it - Duration::from_millis(20)));
        for (name, most) in [("file", 3), (".", 10), ("none", 10)] {
            assert_eq!(read(name, most), None, "{name}");
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_number_inside_a_container() {
        let status = |numbers: &str| format!("Name:\tmaster\nPid:\t812\nNSpid:\t{numbers}\nNSpgid:\t812\t1\n");
        assert_eq!(innermost(&status("812")), None);
        assert_eq!(innermost(&status("812\t1")), Some(1));
        assert_eq!(innermost(&status("812\t40\t7")), Some(7));
        assert_eq!(innermost("Name:\tmaster\n"), None);
    }

    #[test]
    fn a_fifo_is_told_from_a_file() {
        let folder = std::env::temp_dir().join(format!("mta-trace-fifo-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let fifo = folder.join("public");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        // Opened for both, it waits for nobody.
        let opened = fs::File::options().read(true).write(true).open(&fifo).unwrap();
        let file = fs::File::create(folder.join("file")).unwrap();
        let is = |file: &fs::File| is_fifo(std::process::id(), std::os::fd::AsRawFd::as_raw_fd(file));
        assert!(is(&opened) && !is(&file) && !is_fifo(std::process::id(), -1));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_line_of_proc_net_tcp() {
        let line = "   1: 0100007F:0019 0200630A:D5B8 01 00000000:00000000 00:00000000 00000000     0        0 27413 1 0 20 4 30 10 -1";
        let (inode, (id, state)) = socket(line, Proto::Tcp).unwrap();
        assert_eq!((inode, state), (27413, State::Established));
        assert_eq!(id.local.unwrap().to_string(), "127.0.0.1:25");
        assert_eq!(id.peer.unwrap().to_string(), "10.99.0.2:54712");
        assert!(socket("", Proto::Tcp).is_none());
        assert!(socket("x: y z 01", Proto::Tcp).is_none());
    }

    #[test]
    fn a_line_of_proc_net_unix() {
        let (inode, (id, _)) = unix_socket("0000000000000000: 00000003 00000000 00000000 0001 03 20401 /run/x").unwrap();
        assert_eq!((inode, id.local.unwrap().to_string().as_str()), (20401, "/run/x"));
        assert!(unix_socket("").is_none());
    }

    #[test]
    fn a_client_that_has_hung_up_is_still_served() {
        let line = "   1: 0100007F:0019 0200630A:D5B8 08 00000000:00000000 00:00000000 00000000     0        0 27413 1 0 20 4 30 10 -1";
        assert_eq!(socket(line, Proto::Tcp).unwrap().1.1, State::Established);
    }

    #[test]
    fn a_mapped_address_is_ipv4() {
        assert_eq!(endpoint("0000000000000000FFFF00000100630A:0019").unwrap().to_string(), "10.99.0.1:25");
    }
}
