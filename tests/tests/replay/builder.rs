//! Makes a log of a sendmail whose time passes only where a line here says so.
//!
//! In come the steps of sessions, out go records. Between two records of a thread it was blocked or on a processor, so that all sums close.
//! Not here: what is told with it (`made.rs`).

use std::collections::HashMap;

use mta_trace::event::{
    Args, Bytes, Clock, Counters, End, Endpoint, Exit, Fork, Header, LOG_SCHEMA, Loss, Proto, Record, SeedProc, Smtp, SmtpMode, SocketId, Sys, Target,
};
use mta_trace::log;
use mta_trace_common::syscalls::Call;

pub const DAEMON: u32 = 100;
pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000 * MS;

/// 2026-11-24 12:00:00 UTC, when the monotonic clock was 0.
const WALL_NS: i64 = 1_795_521_600_000_000_000;
/// What a thread needs for a call that does not wait.
const BUSY: u64 = 50_000;
/// The client's socket, as the daemon accepts it and as the child duplicates it.
const FDS: [i32; 2] = [6, 4];

/// The session of a process.
#[derive(Clone)]
struct Connection {
    inode: u64,
    peer: Endpoint,
}

/// What is known of a thread: its counters, and when they were told.
#[derive(Clone, Copy)]
struct Thread {
    at: Counters,
    told: u64,
}

/// A log that grows.
pub struct Builder {
    records: Vec<Record>,
    t: u64,
    wall_ns: i64,
    threads: HashMap<u32, Thread>,
    accepted: Option<Connection>,
    connections: HashMap<u32, Connection>,
}

fn endpoint(text: &str) -> Endpoint {
    let Ok(endpoint) = text.parse();
    endpoint
}

impl Builder {
    /// Header and daemon.
    pub fn new() -> Self {
        let target = Target {
            pid: DAEMON,
            exe: "/usr/sbin/sendmail".into(),
            mta: "sendmail".into(),
            mta_version: Some("8.17.1.9".into()),
            listening: vec![endpoint("192.0.2.25:25")],
        };
        let header = Header {
            schema: LOG_SCHEMA.into(),
            tool: "0.1.0".into(),
            kernel: "6.1.0".into(),
            arch: "x86_64".into(),
            hooks: "tracepoint".into(),
            boot_to_wall_ns: WALL_NS,
            attach_ns: [SECOND, 2 * SECOND],
            target,
            client: Vec::new(),
            min_wait_ns: MS,
            existing: false,
            no_chains: false,
        };
        let daemon = SeedProc {
            pid: DAEMON,
            ppid: 1,
            exe: "/usr/sbin/sendmail".into(),
            comm: "sendmail".into(),
            cwd: Some("/var/spool/mqueue".into()),
            root: None,
            role: Some("daemon".into()),
            service: None,
            verb: None,
            call: None,
            fd: None,
        };
        let records = vec![Record::Header(Box::new(header)), Record::SeedProc(daemon)];
        Self { records, t: 2 * SECOND, wall_ns: WALL_NS, threads: HashMap::new(), accepted: None, connections: HashMap::new() }
    }

    /// Time passes.
    pub fn pass(&mut self, ns: u64) {
        self.t += ns;
    }

    /// The wall clock is set, by so much more or less.
    pub fn set_clock(&mut self, by_ns: i64) {
        self.wall_ns += by_ns;
    }

    /// The machine sleeps: the monotonic clock stands still meanwhile (`clock_gettime(2)`).
    pub fn suspend(&mut self, ns: i64) {
        self.set_clock(ns);
    }

    /// What the tracer writes each second.
    pub fn clock(&mut self) {
        self.records.push(Record::Clock(Clock { t: self.t, wall_ns: self.wall_ns.saturating_add_unsigned(self.t) }));
    }

    /// Events were lost since the last count.
    pub fn lose(&mut self, ring: u64) {
        self.records.push(Record::Loss(Loss { t: self.t, ring, ..Loss::default() }));
    }

    /// The daemon accepts a connection.
    pub fn accept(&mut self, inode: u64, peer: &str) {
        let connection = Connection { inode, peer: endpoint(peer) };
        let sys = self.call(DAEMON, Call::Accept, 6, true);
        sys.socket = Some(SocketId { inode, proto: Proto::Tcp, local: Some(endpoint("192.0.2.25:25")), peer: None, peer_inode: None });
        sys.peer = Some(connection.peer.clone());
        sys.matched = Some(true);
        sys.args.fd = Some(3);
        self.accepted = Some(connection);
    }

    /// It forks the process that serves the connection, and closes its own descriptor; the child duplicates its one.
    pub fn serve(&mut self, child: u32) {
        self.fork(DAEMON, child, true);
        self.call(DAEMON, Call::Close, 0, false).args.fd = Some(FDS[0]);
        let Some(connection) = self.accepted.take() else { return };
        self.connections.insert(child, connection);
        let sys = self.on_socket(child, Call::Dup, FDS[1].into(), false);
        sys.args.fd = Some(FDS[0]);
    }

    /// A process forks.
    pub fn fork(&mut self, pid: u32, child: u32, traced: bool) {
        let at = self.advance(pid, false).1;
        self.threads.insert(child, Thread { at: Counters::default(), told: self.t });
        self.records.push(Record::Fork(Fork { t: self.t, pid, tid: pid, child, child_tid: child, comm: "sendmail".into(), traced, at }));
    }

    /// A line of the client comes, for which its process has waited since the last record.
    pub fn line(&mut self, pid: u32, text: &str) {
        let bytes = format!("{text}\r\n").into_bytes();
        let sys = self.on_socket(pid, Call::Read, i64::try_from(bytes.len()).expect("a line"), true);
        sys.args.fd = Some(FDS[0]);
        sys.args.len = Some(4096);
        sys.smtp = Some(Smtp { mode: SmtpMode::Command, dot: false, carry: None });
        sys.data = Some(Bytes(bytes));
    }

    /// A reply.
    pub fn reply(&mut self, pid: u32, text: &str) {
        let bytes = format!("{text}\r\n").into_bytes();
        let sys = self.on_socket(pid, Call::Write, i64::try_from(bytes.len()).expect("a reply"), false);
        sys.args.fd = Some(FDS[1]);
        sys.args.len = Some(u64::try_from(bytes.len()).expect("a reply"));
        sys.data = Some(Bytes(bytes));
    }

    /// The process has waited for a lock on the access map since the last record.
    pub fn locked(&mut self, pid: u32) {
        let sys = self.call(pid, Call::Flock, 0, true);
        sys.args = Args { fd: Some(8), path: Some("/etc/mail/access.db".into()), op: Some("LOCK_SH".into()), ..Args::default() };
    }

    /// A process ends.
    pub fn exit(&mut self, pid: u32) {
        let at = self.advance(pid, false).1;
        self.records.push(Record::Exit(Exit { t: self.t, pid, tid: pid, code: 0, signal: None, call: None, since: None, at }));
        self.threads.remove(&pid);
        self.connections.remove(&pid);
    }

    /// A process ends, and the record of it is lost.
    pub fn exit_unseen(&mut self, pid: u32) {
        self.exit(pid);
        self.records.pop();
    }

    /// The tracer ends: the log as a file.
    pub fn end(mut self) -> Vec<u8> {
        self.clock();
        self.records.push(Record::End(End { t: self.t, reason: "signal".into() }));
        let mut bytes = Vec::new();
        self.records.iter().for_each(|record| log::encode_into(&mut bytes, record));
        bytes
    }

    /// A call on the client's socket.
    fn on_socket(&mut self, pid: u32, call: Call, ret: i64, is_wait: bool) -> &mut Sys {
        let connection = self.connections.get(&pid).cloned().expect("a process that serves");
        let sys = self.call(pid, call, ret, is_wait);
        sys.socket =
            Some(SocketId { inode: connection.inode, proto: Proto::Tcp, local: Some(endpoint("192.0.2.25:25")), peer: None, peer_inode: None });
        sys.peer = Some(connection.peer);
        sys
    }

    fn call(&mut self, pid: u32, call: Call, ret: i64, is_wait: bool) -> &mut Sys {
        let (begun, at) = self.advance(pid, is_wait);
        let (start, at_start) = begun.unzip();
        let Counters { cpu_ns, blocked_ns, rq_ns } = at;
        let sys = Sys { t: self.t, pid, tid: pid, start, cpu_ns, blocked_ns, rq_ns, at_start, ..Sys::bare(call, ret) };
        self.records.push(Record::Sys(Box::new(sys)));
        match self.records.last_mut() {
            Some(Record::Sys(sys)) => sys,
            _ => unreachable!("just pushed"),
        }
    }

    /// Accounts for a thread's time since its last record: the beginning of its wait with the counters there, and its counters now.
    fn advance(&mut self, pid: u32, is_wait: bool) -> (Option<(u64, Counters)>, Counters) {
        // No two records have the same time.
        self.t += BUSY;
        let thread = self.threads.entry(pid).or_insert(Thread { at: Counters::default(), told: self.t - BUSY });
        let passed = self.t - thread.told;
        let busy = if is_wait { BUSY.min(passed) } else { passed };
        thread.at.cpu_ns += busy;
        let begun = is_wait.then_some((thread.told + busy, thread.at));
        thread.at.blocked_ns += passed - busy;
        thread.told = self.t;
        (begun, thread.at)
    }
}
