//! The flight recorder: the records of a session are kept in memory until it has ended, and written only if one of its commands was slow. So it
//! can be left running for days.
//!
//! In: all records, and the sessions that ended. Out: what is to be written, session by session; of a process that serves many at a time all of
//! it. Invariant: bounded memory; what is too much to keep is written. Not here: files.

use crate::event::{Record, SeedFd, SeedProc, Sys};
use crate::report::Session;
use mta_trace_common::syscalls::Call;
use std::collections::{HashMap, HashSet};

/// Records that one session may have before it is written whatever it does: a session of a message has about 70.
const MAX_OF_SESSION: usize = 20_000;
/// Records of all sessions.
const MAX_OF_ALL: usize = 200_000;
/// Processes that accept by themselves: the ends of more were lost.
const MAX_SERVERS: usize = 16_384;

/// What is being kept.
#[derive(Debug, Default)]
pub struct Recorder {
    slower_than_s: f64,
    /// Records of open sessions by serving process; `None`: they are written at once.
    sessions: HashMap<u32, Option<Vec<Record>>>,
    /// Those of a process whose number was given again, until it is said that its session has ended.
    replaced: HashMap<u32, Option<Vec<Record>>>,
    /// The serving process to which a process belongs.
    owners: HashMap<u32, u32>,
    /// Whom sessions wait for: they accept no sessions.
    helpers: HashSet<u32>,
    /// Processes that accept by themselves, one session after another.
    servers: HashSet<u32>,
    /// Processes that serve many at a time: what they do is written.
    loops: HashSet<u32>,
    /// What a daemon has accepted and not forked for yet.
    accepted: HashMap<u32, Vec<Record>>,
    backlog: Option<Record>,
    clock: Option<Record>,
    held: usize,
}

impl Recorder {
    /// Keeps sessions with a command of at least this time.
    pub fn new(slower_than_s: f64) -> Self {
        Self { slower_than_s, ..Self::default() }
    }

    /// Takes a record; gives what is to be written now.
    pub fn take(&mut self, record: &Record) -> Vec<Record> {
        if pid_of(record).is_some_and(|pid| self.loops.contains(&pid)) {
            return vec![record.clone()];
        }
        match record {
            // What is known of a helper belongs to the session that waits for it; what a server has had for long, to all of its sessions.
            Record::SeedFd(SeedFd { pid, .. }) | Record::SeedProc(SeedProc { pid, .. })
                if self.owners.contains_key(pid) && !self.servers.contains(pid) =>
            {
                return self.keep_of(*pid, record);
            }
            Record::Helper(helper) => {
                let Some(owner) = self.owners.get(&helper.waiter).copied() else { return vec![record.clone()] };
                self.owners.insert(helper.pid, owner);
                self.helpers.insert(helper.pid);
                return self.keep(owner, record);
            }
            // Its session may have ended before, and be in the log.
            Record::Release(release) => {
                self.helpers.remove(&release.pid);
                let owner = self.owners.remove(&release.pid);
                return owner.map_or_else(|| vec![record.clone()], |owner| self.keep(owner, record));
            }
            Record::Header(_)
            | Record::SeedFd(_)
            | Record::SeedFile(_)
            | Record::SeedSettings(_)
            | Record::Daemon(_)
            | Record::Loss(_)
            | Record::Malformed(_)
            | Record::End(_) => {
                return vec![record.clone()];
            }
            Record::SeedProc(seed) => {
                match seed.role.as_deref() {
                    // It may accept another one behind it.
                    Some("session") => {
                        self.accepts_by_itself(seed.pid);
                        self.open(seed.pid, Vec::new());
                    }
                    Some("server") => self.accepts_by_itself(seed.pid),
                    Some("loop") => _ = self.loops.insert(seed.pid),
                    _ => {}
                }
                return vec![record.clone()];
            }
            // Of a session the one before its accept counts: that says when it began.
            Record::Clock(_) => self.clock = Some(record.clone()),
            Record::Backlog(_) => self.backlog = Some(record.clone()),
            Record::Sys(sys) if is_accept(sys) && self.servers.contains(&sys.pid) => {
                let kept = self.begun(record);
                if self.sessions.contains_key(&sys.pid) {
                    return self.is_loop(sys.pid, kept);
                }
                if sys.matched == Some(true) {
                    self.open(sys.pid, kept);
                }
            }
            Record::Sys(sys) if is_accept(sys) && !self.owners.contains_key(&sys.pid) && !self.helpers.contains(&sys.pid) => {
                let kept = self.begun(record);
                self.accepted.insert(sys.pid, kept);
            }
            // A client is passed on (`SCM_RIGHTS`): who passes it serves many, who is given it serves this one.
            Record::Sys(sys) if sys.passed.is_some() => {
                if sys.matched != Some(true) {
                    return self.is_loop(sys.pid, vec![record.clone()]);
                }
                self.open(sys.pid, vec![record.clone()]);
            }
            // Nobody was accepted: the child will accept by itself, as Postfix's master makes them.
            Record::Fork(fork)
                if fork.traced && fork.child != fork.pid && !self.accepted.contains_key(&fork.pid) && !self.owners.contains_key(&fork.pid) =>
            {
                self.accepts_by_itself(fork.child);
                return vec![record.clone()];
            }
            // Of a server, or of a helper whose session has ended before.
            Record::Exec(exec) if self.servers.contains(&exec.pid) && !self.owners.contains_key(&exec.pid) => return vec![record.clone()],
            Record::Exit(exit) if exit.tid == exit.pid && !self.owners.contains_key(&exit.pid) => {
                let (is_server, is_helper) = (self.servers.remove(&exit.pid), self.helpers.remove(&exit.pid));
                return if is_server || is_helper { vec![record.clone()] } else { Vec::new() };
            }
            Record::Fork(fork) => {
                if let Some(mut kept) = self.accepted.remove(&fork.pid) {
                    kept.push(record.clone());
                    self.open(fork.child, kept);
                } else if let Some(owner) = self.owners.get(&fork.pid).copied() {
                    self.owners.insert(fork.child, owner);
                    return self.keep(owner, record);
                }
            }
            Record::Sys(sys) => return self.keep_of(sys.pid, record),
            Record::Block(block) => return self.keep_of(block.pid, record),
            Record::Exec(exec) => return self.keep_of(exec.pid, record),
            Record::Exit(exit) => {
                self.servers.remove(&exit.pid);
                return self.keep_of(exit.pid, record);
            }
        }
        Vec::new()
    }

    /// What a session begins with.
    fn begun(&mut self, accept: &Record) -> Vec<Record> {
        self.clock.clone().into_iter().chain(self.backlog.take()).chain([accept.clone()]).collect()
    }

    fn accepts_by_itself(&mut self, pid: u32) {
        if self.servers.len() < MAX_SERVERS {
            self.servers.insert(pid);
        }
    }

    /// A process has turned out to serve many at a time: what was kept of it is written, and from now on all that it does.
    fn is_loop(&mut self, pid: u32, last: Vec<Record>) -> Vec<Record> {
        if self.loops.len() < MAX_SERVERS {
            self.loops.insert(pid);
        }
        self.servers.remove(&pid);
        self.owners.retain(|_, owner| *owner != pid);
        let mut kept = self.sessions.remove(&pid).flatten().unwrap_or_default();
        self.held -= kept.len();
        kept.extend(last);
        kept
    }

    /// A session has ended; gives its records if it was slow.
    pub fn ended(&mut self, session: &Session) -> Vec<Record> {
        let kept = if let Some(kept) = self.replaced.remove(&session.pid) {
            kept
        } else {
            let Some(kept) = self.sessions.remove(&session.pid) else { return Vec::new() };
            self.owners.retain(|_, owner| *owner != session.pid);
            kept
        };
        let kept = kept.unwrap_or_default();
        self.held -= kept.len();
        if self.is_slow(session) { kept } else { Vec::new() }
    }

    fn is_slow(&self, session: &Session) -> bool {
        let times = session.commands.iter().map(crate::report::Command::server_s);
        let others = session.between.iter().map(|wait| wait.elapsed_s).chain(session.before_accept_s);
        times.chain(others).any(|s| s >= self.slower_than_s)
    }

    fn open(&mut self, pid: u32, kept: Vec<Record>) {
        self.held += kept.len();
        // A number that is used again belonged to a process whose end was lost; the analysis ends its session now.
        if let Some(before) = self.sessions.insert(pid, Some(kept)) {
            self.owners.retain(|_, owner| *owner != pid);
            let older = self.replaced.insert(pid, before).flatten().map_or(0, |kept| kept.len());
            self.held -= older;
        }
        self.owners.insert(pid, pid);
    }

    fn keep_of(&mut self, pid: u32, record: &Record) -> Vec<Record> {
        self.owners.get(&pid).copied().map_or_else(Vec::new, |owner| self.keep(owner, record))
    }

    fn keep(&mut self, owner: u32, record: &Record) -> Vec<Record> {
        let Some(Some(kept)) = self.sessions.get_mut(&owner) else { return vec![record.clone()] };
        kept.push(record.clone());
        self.held += 1;
        if kept.len() > MAX_OF_SESSION || self.held > MAX_OF_ALL { self.give_up() } else { Vec::new() }
    }

    /// Writes the session with the most records, and from now on all that it does.
    fn give_up(&mut self) -> Vec<Record> {
        let longest = self.sessions.values_mut().filter(|kept| kept.is_some()).max_by_key(|kept| kept.as_ref().map_or(0, Vec::len));
        let kept = longest.and_then(Option::take).unwrap_or_default();
        self.held -= kept.len();
        kept
    }
}

/// Whose event it is.
fn pid_of(record: &Record) -> Option<u32> {
    match record {
        Record::Sys(sys) => Some(sys.pid),
        Record::Block(block) => Some(block.pid),
        Record::Fork(fork) => Some(fork.pid),
        Record::Exec(exec) => Some(exec.pid),
        Record::Exit(exit) => Some(exit.pid),
        Record::Header(_)
        | Record::SeedProc(_)
        | Record::SeedFd(_)
        | Record::SeedFile(_)
        | Record::SeedSettings(_)
        | Record::Backlog(_)
        | Record::Daemon(_)
        | Record::Helper(_)
        | Record::Release(_)
        | Record::Loss(_)
        | Record::Clock(_)
        | Record::Malformed(_)
        | Record::End(_) => None,
    }
}

fn is_accept(sys: &Sys) -> bool {
    matches!(sys.call, Call::Accept | Call::Accept4)
}

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
