//! What the traced processes are and hold: process tree, descriptors, sockets, timers.
//!
//! Events in, one after another; answers to "what is behind this descriptor" out. A socket that an event
//! names is always taken from the event: the kernel looked it up, this table only remembers it for calls
//! that name none (`poll`). Not here: sessions.

mod fds;

pub use fds::{Fds, Object, Socket};

use crate::event::{Args, Endpoint, Exec, Exit, Fork, SeedFd, SeedProc, Sys};
use crate::report::Cause;
use mta_trace_common::syscalls::Call;
use std::collections::{BTreeMap, HashSet};

/// How many processes are known at a time. So many are left only by ends that were lost.
const MAX_PROCS: usize = 32_768;

/// How many services of a configuration are known.
const MAX_DECLARED: usize = 64;

/// How many endpoints are known by what was said to them.
const MAX_ENDPOINTS: usize = 1024;

/// What a process is for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Accepts connections.
    Daemon,
    /// Serves many sessions at a time, or is asked by one that does.
    Loop,
    /// Its calls are traced.
    Traced,
    /// Only its life is known.
    Known,
}

impl Role {
    /// Whether it outlives sessions: what it makes is not waited for.
    fn serves_many(self) -> bool {
        matches!(self, Self::Daemon | Self::Loop)
    }
}

/// The process's own alarm or interval timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// When it was set.
    pub set: u64,
    /// After how long it fires.
    pub after_ns: u64,
}

/// One process.
#[derive(Clone, Debug)]
pub struct Proc {
    /// Its parent.
    pub ppid: u32,
    /// Name of the task.
    pub comm: String,
    /// Working directory, from the machine's root.
    pub cwd: Option<String>,
    /// Its own root directory, if it has one.
    pub root: Option<String>,
    /// What it is for us.
    pub role: Role,
    /// What it calls itself among the processes of its server.
    pub service: Option<String>,
    /// Its descriptors, as far as they are known.
    pub fds: Fds,
    /// Its running timer.
    pub timer: Option<Timer>,
    /// When it was forked; 0: before the trace.
    born: u64,
    exited_at: Option<u64>,
    /// It may have children: it forked, or nobody saw what it did before.
    may_have_children: bool,
}

/// All processes.
#[derive(Clone, Debug, Default)]
pub struct State {
    procs: BTreeMap<u32, Proc>,
    /// Endpoints that have spoken the milter protocol.
    milters: HashSet<Endpoint>,
    /// Endpoints that were asked for a policy.
    policies: HashSet<Endpoint>,
    /// What the mail server's configuration says of endpoints.
    declared: Vec<(Endpoint, Cause)>,
}

impl State {
    /// The process.
    pub fn process(&self, pid: u32) -> Option<&Proc> {
        self.procs.get(&pid)
    }

    /// Whether a milter listens there.
    pub fn is_milter(&self, endpoint: &Endpoint) -> bool {
        self.milters.contains(endpoint)
    }

    /// Whether a policy service listens there.
    pub fn is_policy(&self, endpoint: &Endpoint) -> bool {
        self.policies.contains(endpoint)
    }

    /// What a service is, by the mail server's configuration.
    pub fn declared(&self, endpoint: &Endpoint) -> Option<Cause> {
        self.declared.iter().find(|(known, _)| known == endpoint).map(|(_, cause)| *cause)
    }

    /// The mail server's configuration says what listens there.
    pub fn declare(&mut self, endpoint: Endpoint, cause: Cause) {
        if self.declared.len() < MAX_DECLARED {
            self.declared.push((endpoint, cause));
        }
    }

    /// What the process calls itself that has a descriptor of this socket.
    pub fn service_at(&self, inode: u64) -> Option<&str> {
        self.procs.values().filter(|process| process.service.is_some()).find(|process| process.fds.holds(inode))?.service.as_deref()
    }

    /// Whether an event loop, or a process of its server, has a descriptor of this socket.
    pub fn is_loops(&self, inode: u64) -> bool {
        self.procs.values().any(|process| process.role == Role::Loop && process.fds.holds(inode))
    }

    /// Whether the process has a descriptor of this socket.
    pub fn holds(&self, pid: u32, inode: u64) -> bool {
        self.process(pid).is_some_and(|process| process.fds.holds(inode))
    }

    /// Whether the process had a child at some time since then: one that has ended meanwhile may be what it waited for.
    pub fn had_child(&self, pid: u32, since: u64) -> bool {
        let may_have = self.process(pid).is_none_or(|process| process.may_have_children);
        may_have && self.procs.values().any(|child| child.ppid == pid && child.exited_at.is_none_or(|t| t >= since))
    }

    /// The child, as `PID COMM`, of a process that had no other since then; of one that was there before the trace some may be unknown.
    pub fn only_child(&self, pid: u32, since: u64) -> Option<String> {
        self.process(pid).filter(|process| process.born > 0)?;
        let mut children = self.procs.iter().filter(|(_, child)| child.ppid == pid && child.exited_at.is_none_or(|t| t >= since));
        let (number, child) = children.next()?;
        children.next().is_none().then(|| format!("{number} {}", child.comm))
    }

    /// A process that existed before the trace.
    pub fn seed_process(&mut self, seed: &SeedProc) {
        let process = self.entry(seed.pid);
        let role = match seed.role.as_deref() {
            Some("daemon" | "server") => Role::Daemon,
            Some("loop") => Role::Loop,
            Some("session") => Role::Traced,
            // It may be one of the server's own.
            Some("helper") => process.role,
            _ => Role::Known,
        };
        process.ppid = seed.ppid;
        process.comm.clone_from(&seed.comm);
        process.cwd.clone_from(&seed.cwd);
        process.root.clone_from(&seed.root);
        process.role = role;
        process.service.clone_from(&seed.service);
        process.may_have_children = true;
    }

    /// One of its descriptors.
    pub fn seed_fd(&mut self, seed: &SeedFd) {
        let process = self.entry(seed.pid);
        let object = match (&seed.socket, &seed.path) {
            (Some(socket), _) => {
                let peer = socket.peer.as_ref().map(|peer| process.absolute_peer(peer));
                Object::Socket(Socket::new(socket, peer.as_ref()))
            }
            (None, Some(path)) => Object::File(path.clone()),
            (None, None) => return,
        };
        process.fds.set(seed.fd, object);
    }

    /// A process forked: the child begins with copies of all descriptors.
    pub fn fork(&mut self, fork: &Fork) {
        if fork.child == fork.pid {
            return;
        }
        let parent = self.entry(fork.pid);
        parent.may_have_children = true;
        let child = Proc {
            ppid: fork.pid,
            comm: fork.comm.clone(),
            cwd: parent.cwd.clone(),
            root: parent.root.clone(),
            role: match (fork.traced, parent.role) {
                (true, Role::Loop) => Role::Loop,
                (true, Role::Daemon | Role::Traced | Role::Known) => Role::Traced,
                (false, _) => Role::Known,
            },
            service: None,
            fds: parent.fds.forked(),
            // Alarms are not inherited.
            timer: None,
            born: fork.t,
            exited_at: None,
            may_have_children: false,
        };
        self.make_room();
        self.procs.insert(fork.child, child);
    }

    /// Before one more is remembered: forgets the older half of those that are no daemons, if there are too many, and of
    /// so many daemons any.
    fn make_room(&mut self) {
        if self.procs.len() < MAX_PROCS {
            return;
        }
        let mut born: Vec<u64> = self.procs.values().filter(|process| !process.role.serves_many()).map(|process| process.born).collect();
        born.sort_unstable();
        let middle = born.get(born.len() / 2).copied().unwrap_or(0);
        self.procs.retain(|_, process| process.role.serves_many() || process.born > middle);
        if self.procs.len() >= MAX_PROCS {
            self.procs.pop_first();
        }
    }

    /// A process executed another program. Which of its descriptors were closed by that is not told (`O_CLOEXEC`); the first three are
    /// given on.
    pub fn exec(&mut self, exec: &Exec) {
        let process = self.entry(exec.pid);
        process.comm.clone_from(&exec.comm);
        process.fds.close(3, i32::MAX);
    }

    /// A child that lives, serves many sessions as its parent does, and has a descriptor of this socket.
    pub fn heir(&self, pid: u32, inode: u64) -> Option<u32> {
        let is_heir = |child: &Proc| child.ppid == pid && child.role == Role::Loop && child.exited_at.is_none() && child.fds.holds(inode);
        self.procs.iter().find(|(_, child)| is_heir(child)).map(|(pid, _)| *pid)
    }

    /// A process has turned out to serve many sessions at a time.
    pub fn serve_many(&mut self, pid: u32) {
        self.entry(pid).role = Role::Loop;
    }

    /// A process ended. It is remembered for as long as its parent may still wait for it.
    pub fn exit(&mut self, exit: &Exit) {
        if exit.tid != exit.pid {
            return;
        }
        self.procs.retain(|_, child| child.ppid != exit.pid || child.exited_at.is_none());
        let Some(process) = self.procs.get_mut(&exit.pid) else { return };
        process.exited_at = Some(exit.t);
        process.fds = Fds::default();
        let ppid = process.ppid;
        let is_awaited = self.process(ppid).is_some_and(|parent| !parent.role.serves_many() && parent.exited_at.is_none());
        if !is_awaited {
            self.procs.remove(&exit.pid);
        }
    }

    /// A call returned.
    pub fn apply(&mut self, sys: &Sys) {
        if let (true, Some(peer)) = (sys.milter && self.milters.len() < MAX_ENDPOINTS, &sys.peer) {
            self.milters.insert(peer.clone());
        }
        if let (true, Some(peer)) = (sys.policy && self.policies.len() < MAX_ENDPOINTS, &sys.peer) {
            self.policies.insert(peer.clone());
        }
        let process = self.entry(sys.pid);
        match sys.call {
            Call::Accept | Call::Accept4 => {}
            // What is behind the descriptor that it carries, not behind its own; the sender's is known.
            _ if let Some(fd) = sys.passed => process.take_over(fd, sys),
            _ => process.learn_socket(sys),
        }
        process.learn_file(sys);
        process.apply(sys);
    }

    fn entry(&mut self, pid: u32) -> &mut Proc {
        if !self.procs.contains_key(&pid) {
            self.make_room();
        }
        self.procs.entry(pid).or_insert_with(|| Proc {
            ppid: 0,
            comm: String::new(),
            cwd: None,
            root: None,
            role: Role::Known,
            service: None,
            fds: Fds::default(),
            timer: None,
            born: 0,
            exited_at: None,
            may_have_children: true,
        })
    }
}

impl Proc {
    fn learn_socket(&mut self, sys: &Sys) {
        if let (Some(fd), Some(id), true) = (sys.args.fd, &sys.socket, sys.call.row().fd0) {
            // The path by which it connected says more than the one that the other end was bound to, which may be another root's.
            let is_named = |known: &&Socket| known.inode == id.inode && matches!(known.peer, Some(Endpoint::Unix(_)));
            let known = self.fds.object(fd).and_then(Object::socket).filter(is_named).filter(|_| sys.args.addr.is_none());
            let peer = known.and_then(|known| known.peer.clone()).or_else(|| {
                let told = sys.peer.as_ref().or(sys.args.addr.as_ref());
                told.map(|peer| self.absolute_peer(peer))
            });
            self.fds.set(fd, Object::Socket(Socket::new(id, peer.as_ref())));
        }
    }

    /// A client's descriptor has come from another process.
    fn take_over(&mut self, fd: i32, sys: &Sys) {
        if let Some(id) = sys.socket.as_ref().filter(|_| sys.matched == Some(true)) {
            self.fds.set(fd, Object::Socket(Socket::new(id, sys.peer.as_ref())));
        }
    }

    /// A unix path may be relative, as Postfix has them. One from the process's own root stays: by it is told whose it is.
    fn absolute_peer(&self, peer: &Endpoint) -> Endpoint {
        match peer {
            Endpoint::Unix(path) if !path.starts_with(['@', '/']) => Endpoint::Unix(self.absolute(path).unwrap_or_else(|| path.clone())),
            _ => peer.clone(),
        }
    }

    /// A call on an open file tells its path.
    fn learn_file(&mut self, sys: &Sys) {
        if let (true, None, Some(fd), Some(path)) = (sys.call.row().fd0, &sys.socket, sys.args.fd, &sys.args.path) {
            self.fds.set(fd, Object::File(path.clone()));
        }
    }

    fn apply(&mut self, sys: &Sys) {
        let Sys { call, args, .. } = sys;
        let returned = i32::try_from(sys.ret).ok().filter(|&ret| ret >= 0);
        match call {
            Call::Accept | Call::Accept4 => {
                if let (Some(fd), Some(id)) = (returned, &sys.socket) {
                    let mut socket = Socket::new(id, sys.peer.as_ref());
                    // A unix socket that was accepted has the name of the one that listens.
                    let listens = args.fd.and_then(|fd| self.fds.object(fd)).and_then(Object::socket);
                    socket.local = socket.local.or_else(|| listens?.local.clone());
                    self.fds.set(fd, Object::Socket(socket));
                }
            }
            Call::Open | Call::Openat => {
                if let (Some(fd), Some(path)) = (returned, self.path_of(args)) {
                    self.fds.set(fd, Object::File(path));
                }
            }
            _ if is_duplicate(*call, args) => self.duplicate(args.fd, returned),
            Call::Pipe | Call::Pipe2 if returned.is_some() => {
                if let Some((ends, name)) = pipe(args) {
                    for fd in ends {
                        self.fds.set(fd, Object::File(name.clone()));
                    }
                }
            }
            // Also a close that reports an error has closed (close(2), NOTES).
            Call::Close => {
                if let Some(fd) = args.fd {
                    self.fds.close(fd, fd);
                }
            }
            Call::CloseRange if returned.is_some() => {
                if let Some((first, last)) = closed_range(args) {
                    self.fds.close(first, last);
                }
            }
            Call::Chdir if returned.is_some() => self.cwd = args.path.as_deref().and_then(|path| self.absolute(path)),
            Call::Alarm | Call::Setitimer => {
                self.timer = args.timeout_ns.filter(|&after_ns| after_ns > 0).map(|after_ns| Timer { set: sys.t, after_ns });
            }
            _ => {}
        }
    }

    fn duplicate(&mut self, from: Option<i32>, to: Option<i32>) {
        let Some(to) = to else { return };
        match from.and_then(|from| self.fds.object(from)).cloned() {
            Some(object) => self.fds.set(to, object),
            None => self.fds.close(to, to),
        }
    }

    /// The path in a call's arguments, absolute where the directory is known.
    pub fn path_of(&self, args: &Args) -> Option<String> {
        let path = args.path.as_deref()?;
        let directory = args.fd.filter(|&fd| fd >= 0).and_then(|fd| self.fds.object(fd));
        match directory {
            // Of an open file the kernel tells the whole path.
            Some(Object::File(file)) if file == path => Some(path.to_owned()),
            Some(Object::File(directory)) if !path.starts_with('/') => Some(join(directory, path)),
            _ => self.absolute(path).or_else(|| Some(path.to_owned())),
        }
    }

    /// The path from the machine's root; none: the working directory is not known.
    fn absolute(&self, path: &str) -> Option<String> {
        match (path.strip_prefix('/'), &self.root) {
            (Some(rest), Some(root)) => Some(join(root, rest)),
            (Some(_), None) => Some(path.to_owned()),
            (None, _) => self.cwd.as_deref().map(|cwd| join(cwd, path)),
        }
    }
}

/// Whether a call returns another descriptor of what is behind the one that it was given.
pub fn is_duplicate(call: Call, args: &Args) -> bool {
    match call {
        Call::Dup | Call::Dup2 | Call::Dup3 => true,
        Call::Fcntl => args.op.as_deref().is_some_and(|op| op.starts_with("F_DUPFD")),
        _ => false,
    }
}

/// The descriptors of a new pipe and a name for it: its inode, as in `/proc`, is not told.
pub fn pipe(args: &Args) -> Option<([i32; 2], String)> {
    let (read, write) = args.fd.zip(args.fd2)?;
    Some(([read, write], format!("pipe:[{write}->{read}]")))
}

/// First and last descriptor that `close_range` closes now; none: it only marks them for exec.
pub fn closed_range(args: &Args) -> Option<(i32, i32)> {
    if args.flags.iter().any(|flag| flag == "CLOSE_RANGE_CLOEXEC") {
        return None;
    }
    // The last one is an unsigned number: ~0 means all.
    let last = args.fd2.filter(|&last| last >= 0).unwrap_or(i32::MAX);
    Some((args.fd.unwrap_or(0), last))
}

fn join(directory: &str, path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    if path.is_empty() || path == "." {
        return directory.to_owned();
    }
    format!("{}/{path}", directory.trim_end_matches('/'))
}

#[cfg(test)]
mod tests;
