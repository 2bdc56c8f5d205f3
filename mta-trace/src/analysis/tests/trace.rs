//! A hand-made trace: a serving process whose time passes only where a test says so.

use crate::analysis::Analysis;
use crate::event::*;
use crate::log::{decode, encode};
use crate::proto::dns::tests::message;
use crate::report::{Command, Report, Session};
use crate::update::Update;
use mta_trace_common::syscalls::Call;
use std::collections::HashMap;

pub const DAEMON: u32 = 100;
pub const CHILD: u32 = 200;
pub const CLIENT_INODE: u64 = 5000;
pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000 * MS;

pub struct Trace {
    pub records: Vec<Record>,
    pub t: u64,
    /// Process whose events are made.
    pub pid: u32,
    at: HashMap<u32, Counters>,
}

pub fn endpoint(text: &str) -> Endpoint {
    let Ok(endpoint) = text.parse();
    endpoint
}

pub fn socket(inode: u64, proto: Proto) -> SocketId {
    SocketId { inode, proto, local: None, peer: None, peer_inode: None }
}

pub fn header() -> Header {
    Header {
        schema: LOG_SCHEMA.into(),
        tool: "0.1.0".into(),
        kernel: "6.1.0".into(),
        arch: "x86_64".into(),
        hooks: "tracepoint".into(),
        boot_to_wall_ns: 1_774_068_206_000_000_000,
        attach_ns: [SECOND, 2 * SECOND],
        target: Target {
            pid: DAEMON,
            exe: "/usr/sbin/sendmail".into(),
            mta: "sendmail".into(),
            mta_version: Some("8.17.1.9".into()),
            listening: vec![],
        },
        client: vec![],
        min_wait_ns: MS,
        existing: false,
        no_chains: false,
    }
}

/// A question that a process sends to a name server.
pub fn dns_query(pid: u32, t: u64, server: &str, qname: &str) -> Record {
    let mut trace = Trace { t, pid, ..Trace::empty() };
    let sys = trace.ask(4, 9, server, 7, qname, 1);
    Record::Sys(Box::new(sys.clone()))
}

/// A process has become a helper, for whoever waits at this address.
pub fn helper(pid: u32, waiter: u32, address: &str) -> Record {
    let (comm, exe) = ("unbound".to_owned(), "/usr/sbin/unbound".to_owned());
    Record::Helper(Helper { t: 1, pid, comm, exe, waiter, inode: 40, peer_inode: 41, endpoint: Some(endpoint(address)), connections: 1 })
}

pub fn seed_process(pid: u32, parent: u32, role: &str) -> SeedProc {
    SeedProc {
        pid,
        ppid: parent,
        exe: "/usr/sbin/sendmail".into(),
        comm: "sendmail".into(),
        cwd: Some("/var/spool/mqueue".into()),
        root: None,
        role: Some(role.into()),
        service: None,
        verb: None,
        call: None,
        fd: None,
    }
}

impl Trace {
    /// Header and daemon, nothing else.
    pub fn empty() -> Self {
        let records = vec![Record::Header(Box::new(header())), Record::SeedProc(seed_process(DAEMON, 1, "daemon"))];
        Self { records, t: 3 * SECOND, pid: DAEMON, at: HashMap::new() }
    }

    /// A session that was accepted and handed to a child.
    pub fn accepted() -> Self {
        let mut trace = Self::empty();
        trace.accept(CLIENT_INODE, "10.99.0.1:54712");
        trace.cpu(MS / 10);
        trace.fork(CHILD, true);
        trace.pid = CHILD;
        trace
    }

    /// A session in which the client's first command may come.
    pub fn greeted() -> Self {
        let mut trace = Self::accepted();
        trace.cpu(MS / 10);
        trace.reply("220 m1.example.test ESMTP\r\n");
        trace
    }

    pub fn accept(&mut self, inode: u64, peer: &str) -> &mut Sys {
        let sys = self.call(Call::Accept, 5);
        sys.args.fd = Some(3);
        sys.socket = Some(SocketId { local: Some(endpoint("10.99.0.2:25")), ..socket(inode, Proto::Tcp) });
        sys.peer = Some(endpoint(peer));
        sys.matched = Some(true);
        sys
    }

    pub fn fork(&mut self, child: u32, traced: bool) {
        let (t, pid, at) = (self.t, self.pid, self.counters());
        self.records.push(Record::Fork(Fork { t, pid, tid: pid, child, child_tid: child, comm: "sendmail".into(), traced, at }));
    }

    pub fn exit(&mut self, signal: Option<u32>) -> &mut Exit {
        let (t, pid, at) = (self.t, self.pid, self.counters());
        self.records.push(Record::Exit(Exit { t, pid, tid: pid, code: 0, signal, call: None, since: None, at }));
        match self.records.last_mut() {
            Some(Record::Exit(exit)) => exit,
            _ => unreachable!("just pushed"),
        }
    }

    fn counters(&self) -> Counters {
        self.at.get(&self.pid).copied().unwrap_or_default()
    }

    /// Time passes on a CPU.
    pub fn cpu(&mut self, ns: u64) {
        self.t += ns;
        self.at.entry(self.pid).or_default().cpu_ns += ns;
    }

    /// Time passes runnable.
    pub fn queued(&mut self, ns: u64) {
        self.t += ns;
        self.at.entry(self.pid).or_default().rq_ns += ns;
    }

    /// Time passes blocked, in calls that are not reported.
    pub fn short_wait(&mut self, ns: u64) {
        self.t += ns;
        self.at.entry(self.pid).or_default().blocked_ns += ns;
    }

    /// A call that did not block.
    pub fn call(&mut self, call: Call, ret: i64) -> &mut Sys {
        let (t, pid, at) = (self.t, self.pid, self.counters());
        let sys = Sys { t, pid, tid: pid, cpu_ns: at.cpu_ns, blocked_ns: at.blocked_ns, rq_ns: at.rq_ns, ..Sys::bare(call, ret) };
        self.records.push(Record::Sys(Box::new(sys)));
        match self.records.last_mut() {
            Some(Record::Sys(sys)) => sys,
            _ => unreachable!("just pushed"),
        }
    }

    /// A call that blocked all the time.
    pub fn blocked(&mut self, call: Call, ret: i64, ns: u64) -> &mut Sys {
        let (start, at_start) = (self.t, self.counters());
        self.short_wait(ns);
        let sys = self.call(call, ret);
        sys.start = Some(start);
        sys.at_start = Some(at_start);
        sys
    }

    /// The same, of which only the scheduler told: the end was not seen, or with `unfinished` has not come.
    pub fn untold(&mut self, call: Call, ns: u64) -> &mut Block {
        let (since, at_start) = (self.t, self.counters());
        self.short_wait(ns);
        let (t, pid, at) = (self.t, self.pid, self.counters());
        self.records.push(Record::Block(Box::new(Block {
            t,
            pid,
            tid: pid,
            nr: i64::from(call.row().x86_64),
            call: Some(call.name().to_owned()),
            since,
            cause: None,
            unfinished: false,
            args: None,
            at,
            at_start: Some(at_start),
            socket: None,
            peer: None,
        })));
        match self.records.last_mut() {
            Some(Record::Block(block)) => block,
            _ => unreachable!("just pushed"),
        }
    }

    pub fn close(&mut self, fd: i32) {
        self.call(Call::Close, 0).args.fd = Some(fd);
    }

    /// The server closes both descriptors that it has of the client's socket.
    pub fn hang_up(&mut self) {
        self.close(5);
        self.close(3);
    }

    /// The server waits for the client.
    pub fn await_client(&mut self, ns: u64) -> &mut Sys {
        let sys = self.blocked(Call::Pselect6, 1, ns);
        sys.args.read = vec![5];
        sys.args.except = vec![5];
        sys.args.timeout_ns = Some(3600 * SECOND);
        sys
    }

    pub fn read(&mut self, n: usize, mode: SmtpMode) -> &mut Sys {
        let sys = self.call(Call::Read, i64::try_from(n).expect("small"));
        sys.args.fd = Some(5);
        sys.args.len = Some(4096);
        sys.socket = Some(socket(CLIENT_INODE, Proto::Tcp));
        sys.smtp = Some(Smtp { mode, dot: false, carry: None });
        sys
    }

    /// Lines of the client arrive.
    pub fn line(&mut self, text: &str) -> &mut Sys {
        let sys = self.read(text.len(), SmtpMode::Command);
        sys.data = Some(Bytes(text.as_bytes().to_vec()));
        sys
    }

    /// The server writes replies.
    pub fn reply(&mut self, text: &str) -> &mut Sys {
        let sys = self.call(Call::Write, i64::try_from(text.len()).expect("small"));
        sys.args.fd = Some(3);
        sys.socket = Some(socket(CLIENT_INODE, Proto::Tcp));
        sys.data = Some(Bytes(text.as_bytes().to_vec()));
        sys
    }

    /// A command that is answered after this time on a CPU.
    pub fn exchange(&mut self, line: &str, reply: &str) {
        self.await_client(50 * MS);
        self.line(&format!("{line}\r\n"));
        self.cpu(MS / 10);
        self.reply(&format!("{reply}\r\n"));
    }

    pub fn quit(&mut self) {
        self.exchange("QUIT", "221 2.0.0 bye");
        self.cpu(MS);
        self.close(5);
        self.exit(None);
        self.end();
    }

    pub fn end(&mut self) {
        self.records.push(Record::End(End { t: self.t, reason: "signal".into() }));
    }

    pub fn udp(&mut self, fd: i32, inode: u64, server: &str) {
        let sys = self.call(Call::Connect, 0);
        sys.args.fd = Some(fd);
        sys.args.addr = Some(endpoint(server));
        sys.socket = Some(socket(inode, Proto::Udp));
        sys.peer = Some(endpoint(server));
    }

    pub fn ask(&mut self, fd: i32, inode: u64, server: &str, id: u16, qname: &str, qtype: u16) -> &mut Sys {
        let sys = self.call(Call::Sendto, 31);
        sys.args.fd = Some(fd);
        sys.socket = Some(socket(inode, Proto::Udp));
        sys.peer = Some(endpoint(server));
        sys.data = Some(Bytes(message(id, 0x0100, qname, qtype)));
        sys
    }

    pub fn poll(&mut self, fd: i32, ret: i64, ns: u64) -> &mut Sys {
        let sys = self.blocked(Call::Poll, ret, ns);
        sys.args.fds = vec![PollFd { fd, events: vec!["POLLIN".into()], revents: vec![] }];
        sys.args.timeout_ns = Some(5 * SECOND);
        sys
    }

    #[expect(clippy::too_many_arguments, reason = "an answer has as many parts")]
    pub fn answer(&mut self, fd: i32, inode: u64, server: &str, id: u16, flags: u16, qname: &str, qtype: u16) -> &mut Sys {
        let sys = self.call(Call::Recvfrom, 60);
        sys.args.fd = Some(fd);
        sys.socket = Some(socket(inode, Proto::Udp));
        sys.peer = Some(endpoint(server));
        sys.data = Some(Bytes(message(id, 0x8180 | flags, qname, qtype)));
        sys
    }

    /// A look-up that nobody answers: two tries of 5 s.
    pub fn silent_lookup(&mut self, id: u16, qname: &str, qtype: u16) {
        let (inode, server) = (9000 + u64::from(id), "192.0.2.53:53");
        self.udp(4, inode, server);
        self.cpu(MS / 100);
        for _ in 0..2 {
            self.ask(4, inode, server, id, qname, qtype);
            self.poll(4, 0, 5005 * MS);
            self.cpu(MS / 100);
        }
        self.close(4);
    }

    /// A look-up that is answered after this time.
    pub fn lookup(&mut self, id: u16, qname: &str, qtype: u16, ns: u64) {
        let (inode, server) = (9000 + u64::from(id), "192.0.2.53:53");
        self.udp(4, inode, server);
        self.ask(4, inode, server, id, qname, qtype);
        if ns > 0 {
            self.poll(4, 1, ns);
        }
        self.answer(4, inode, server, id, 0, qname, qtype);
        self.close(4);
    }

    pub fn report(&self) -> (Report, Vec<Update>) {
        let live = analyse(&self.records);
        let replayed: Vec<Record> = self.records.iter().map(|record| decode(&encode(record)).expect("own line")).collect();
        assert_eq!(replayed, self.records, "the log holds everything");
        assert_eq!(analyse(&replayed).0, live.0, "live and replayed reports are the same");
        for session in &live.0.sessions {
            check_identity(session);
        }
        live
    }

    pub fn session(&self) -> Session {
        let (report, _) = self.report();
        assert_eq!(report.sessions.len(), 1);
        report.sessions.into_iter().next().expect("one session")
    }
}

pub fn analyse(records: &[Record]) -> (Report, Vec<Update>) {
    let mut analysis = Analysis::new();
    let mut updates = Vec::new();
    for record in records {
        analysis.feed(record, &mut updates);
    }
    let report = analysis.finish(&mut updates);
    (report, updates)
}

/// The accounting identities of report-schema.
pub fn check_identity(session: &Session) {
    for command in &session.commands {
        let waits: f64 = command.waits.iter().map(|wait| wait.elapsed_s).sum();
        let sum = waits + command.short_waits_s + command.cpu_s + command.runqueue_s + command.unexplained_s;
        assert!((sum - command.elapsed_s).abs() < 1e-6, "{command:#?}");
    }
    let commands: f64 = session.commands.iter().map(|command| command.elapsed_s).sum();
    let left_out_s = session.left_out.as_ref().map_or(0.0, |left_out| {
        let waits: f64 = left_out.waits.iter().map(|sum| sum.elapsed_s).sum();
        let sum = waits + left_out.short_waits_s + left_out.cpu_s + left_out.runqueue_s + left_out.unexplained_s;
        assert!((sum - left_out.elapsed_s).abs() < 1e-6, "{left_out:#?}");
        left_out.elapsed_s
    });
    assert!((commands + left_out_s + session.client_s - session.elapsed_s).abs() < 1e-6, "{session:#?}");
    let mut waits: Vec<_> = session.commands.iter().flat_map(|command| &command.waits).collect();
    waits.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
    for pair in waits.windows(2) {
        assert!(pair[0].start_s + pair[0].elapsed_s <= pair[1].start_s + 1e-9, "overlap: {pair:#?}");
    }
}

pub fn verbs(session: &Session) -> Vec<&'static str> {
    session.commands.iter().map(|command| command.verb.name()).collect()
}

pub fn command<'a>(session: &'a Session, verb: &str) -> &'a Command {
    session.commands.iter().find(|command| command.verb.name() == verb).expect("command")
}

pub fn near(value: f64, expected: f64) {
    assert!((value - expected).abs() < 1e-4, "{value} is not {expected}");
}
