//! A traced mail server whose time passes only where a target says so, seen through the kernel side's own allow-list.
//!
//! In: what client, server, name server and filter say. Out: the records that the tracer would get, with sound clocks. It does what
//! `mta-trace-ebpf/src/hook/client.rs` does with each read and write. Not here: records that contradict each other (`ring`, `log`).

use mta_trace::event::{Bytes, Counters, Exit, Fork, Header, LOG_SCHEMA, PollFd, Proto, Record, SeedProc, Smtp, SmtpMode, SocketId, Sys, Target};
use mta_trace_common::smtp::{Fate, MODE_AUTH, MODE_COMMAND, MODE_DATA, MODE_OPAQUE, MODE_PENDING, MODE_UNKNOWN, Scanner, WIPED};
use mta_trace_common::syscalls::Call;

const DAEMON: u32 = 100;
const CHILD: u32 = 200;
const CLIENT: u64 = 5000;
const RESOLVER: u64 = 5001;
const FILTER: u64 = 5002;
/// Longest read of which the bytes are copied.
const COPIED: usize = 4095;
const US: u64 = 1000;
const MS: u64 = 1_000_000;

/// See above.
pub struct Kernel {
    /// What was recorded so far.
    pub records: Vec<Record>,
    scanner: Scanner,
    t: u64,
    at: Counters,
    pid: u32,
    has_resolver: bool,
    /// The client's stream has ended.
    has_left: bool,
}

impl Kernel {
    /// A session that was accepted and handed to a child, which has greeted.
    pub fn greeted() -> Self {
        let at = Counters { cpu_ns: 0, blocked_ns: 0, rq_ns: 0 };
        let records = vec![Record::Header(Box::new(header())), Record::SeedProc(daemon())];
        // Nothing is outstanding, the first reply is the greeting.
        let mut scanner = Scanner::new(MODE_PENDING);
        scanner.replied = 0;
        let mut kernel = Self { records, scanner, t: 1000 * MS, at, pid: DAEMON, has_resolver: false, has_left: false };
        let accept = kernel.call(Call::Accept, 5);
        accept.args.fd = Some(3);
        accept.socket = Some(SocketId { local: Some(endpoint("10.99.0.2:25")), ..socket(CLIENT, Proto::Tcp) });
        accept.peer = Some(endpoint("10.99.0.1:54712"));
        accept.matched = Some(true);
        kernel.work(50);
        let (t, at) = (kernel.t, kernel.at);
        kernel.records.push(Record::Fork(Fork {
            t,
            pid: DAEMON,
            tid: DAEMON,
            child: CHILD,
            child_tid: CHILD,
            comm: "sendmail".into(),
            traced: true,
            at,
        }));
        kernel.pid = CHILD;
        kernel.at = Counters::default();
        kernel.work(50);
        kernel.say(b"220 m.example.test ESMTP\r\n");
        kernel
    }

    /// Time passes on a processor, us.
    pub fn work(&mut self, us: u64) {
        self.t += us * US;
        self.at.cpu_ns += us * US;
    }

    /// Time passes runnable, us.
    pub fn queue(&mut self, us: u64) {
        self.t += us * US;
        self.at.rq_ns += us * US;
    }

    /// Time passes blocked in calls that are not told, us.
    pub fn block(&mut self, us: u64) {
        self.t += us * US;
        self.at.blocked_ns += us * US;
    }

    fn call(&mut self, call: Call, ret: i64) -> &mut Sys {
        self.work(1);
        let Counters { cpu_ns, blocked_ns, rq_ns } = self.at;
        let sys = Sys { t: self.t, pid: self.pid, tid: self.pid, cpu_ns, blocked_ns, rq_ns, ..Sys::bare(call, ret) };
        self.records.push(Record::Sys(Box::new(sys)));
        match self.records.last_mut() {
            Some(Record::Sys(sys)) => sys,
            _ => unreachable!("just pushed"),
        }
    }

    /// A call that blocks for so long.
    fn blocked(&mut self, call: Call, ret: i64, us: u64) -> &mut Sys {
        let (start, at_start) = (self.t, self.at);
        self.block(us);
        let sys = self.call(call, ret);
        sys.start = Some(start);
        sys.at_start = Some(at_start);
        sys
    }

    /// The server waits for the client, ms. Behind its end a socket can be read at once, for ever: nobody waits for it, and nothing comes (tcp(7), poll(2)).
    pub fn wait_for_client(&mut self, ms: u64) {
        if self.has_left {
            return;
        }
        let sys = self.blocked(Call::Pselect6, 1, ms * 1000);
        sys.args.read = vec![5];
        sys.args.timeout_ns = Some(3600 * 1000 * MS);
        self.scanner.waited();
    }

    /// The server sleeps, ms.
    pub fn sleep(&mut self, ms: u64) {
        let sys = self.blocked(Call::Nanosleep, 0, ms * 1000);
        sys.args.timeout_ns = Some(ms * MS);
    }

    /// The server reads what the client sent.
    pub fn hear(&mut self, bytes: &[u8]) {
        if self.has_left && !bytes.is_empty() {
            return;
        }
        self.has_left = bytes.is_empty();
        let mode = self.scanner.mode;
        let mut smtp = Smtp { mode: mode_name(mode), dot: false, carry: None };
        let mut data = None;
        let is_cut = mode == MODE_COMMAND && bytes.len() > COPIED;
        match mode {
            MODE_COMMAND => {
                let (carry, kept) = scan(&mut self.scanner, bytes.get(..COPIED).unwrap_or(bytes));
                smtp.carry = Some(Bytes(carry)).filter(|carry| !carry.is_empty());
                data = Some(Bytes(kept)).filter(|data| !data.is_empty());
                if is_cut {
                    self.scanner.lost();
                }
            }
            MODE_DATA => {
                let last = bytes.iter().rev().take(4).enumerate().fold(0, |last, (i, byte)| last | u32::from(*byte) << (8 * i));
                smtp.dot = !bytes.is_empty() && self.scanner.data(last, length(bytes).unsigned_abs());
            }
            MODE_AUTH | MODE_PENDING => {
                let _ = scan(&mut self.scanner, bytes);
            }
            MODE_UNKNOWN => self.scanner.unseen(),
            _ => {}
        }
        let sys = self.call(Call::Read, length(bytes));
        sys.args.fd = Some(5);
        sys.args.len = Some(16384);
        sys.socket = Some(socket(CLIENT, Proto::Tcp));
        sys.smtp = Some(smtp);
        sys.data = data;
        sys.cut = is_cut;
    }

    /// The server writes to the client.
    pub fn say(&mut self, bytes: &[u8]) {
        let mode = self.scanner.mode;
        let mut kept = Vec::new();
        let copied = bytes.get(..COPIED).unwrap_or(bytes);
        if mode != MODE_OPAQUE {
            for byte in copied {
                if !self.scanner.is_hushed(*byte) && *byte != WIPED {
                    kept.push(*byte);
                }
                if self.scanner.reply_byte(*byte) {
                    self.scanner.reply();
                }
            }
        }
        let sys = self.call(Call::Write, length(bytes));
        sys.args.fd = Some(5);
        sys.socket = Some(socket(CLIENT, Proto::Tcp));
        sys.smtp = Some(Smtp { mode: mode_name(mode), dot: false, carry: None });
        sys.data = Some(Bytes(kept)).filter(|data| !data.is_empty());
        sys.cut = copied.len() < bytes.len();
    }

    /// The client has closed its side.
    pub fn hear_end(&mut self) {
        self.hear(&[]);
    }

    /// The resolver asks.
    pub fn ask(&mut self, message: &[u8]) {
        if !std::mem::replace(&mut self.has_resolver, true) {
            let sys = self.call(Call::Connect, 0);
            sys.args.fd = Some(6);
            sys.args.addr = Some(endpoint("192.0.2.53:53"));
            of_resolver(sys);
        }
        let sys = self.call(Call::Sendto, length(message));
        of_resolver(sys);
        sys.data = Some(Bytes(message.to_vec()));
    }

    /// The resolver waits, ms.
    pub fn wait_for_answer(&mut self, ms: u64) {
        let sys = self.blocked(Call::Poll, 1, ms * 1000);
        sys.args.fds = vec![PollFd { fd: 6, events: vec!["POLLIN".into()], revents: vec!["POLLIN".into()] }];
        sys.args.timeout_ns = Some(5000 * MS);
    }

    /// The resolver is answered.
    pub fn answer(&mut self, message: &[u8]) {
        let sys = self.call(Call::Recvfrom, length(message));
        of_resolver(sys);
        sys.data = Some(Bytes(message.to_vec()));
    }

    /// The server asks a filter: the head of the packet.
    pub fn ask_milter(&mut self, head: &[u8]) {
        let sys = self.call(Call::Write, length(head));
        of_filter(sys);
        sys.data = Some(Bytes(head.to_vec()));
    }

    /// The server waits for the filter, ms.
    pub fn wait_for_milter(&mut self, ms: u64) {
        let sys = self.blocked(Call::Pselect6, 1, ms * 1000);
        sys.args.read = vec![7];
        sys.args.timeout_ns = Some(7000 * MS);
    }

    /// The filter answers: the head of the packet.
    pub fn milter_answers(&mut self, head: &[u8]) {
        let sys = self.call(Call::Read, length(head));
        of_filter(sys);
        sys.data = Some(Bytes(head.to_vec()));
    }

    /// The server's process ends.
    pub fn exit(&mut self) {
        self.work(10);
        let (t, pid, at) = (self.t, self.pid, self.at);
        self.records.push(Record::Exit(Exit { t, pid, tid: pid, code: 0, signal: None, call: None, since: None, at }));
        self.records.push(Record::End(mta_trace::event::End { t, reason: "signal".into() }));
    }
}

/// What the kernel side makes of a read: the letters that earlier reads held back, and the bytes, of which each wiped one is NUL.
pub fn scan(scanner: &mut Scanner, read: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut carry, mut data) = (Vec::new(), Vec::new());
    for &byte in read {
        match scanner.step(byte) {
            Fate::Wipe => data.push(WIPED),
            Fate::Keep => data.push(byte),
            Fate::Release => {
                let held = usize::from(scanner.held);
                let letters = &scanner.letters.to_be_bytes()[8 - held..];
                let here = held.min(data.len());
                let start = data.len() - here;
                data[start..].copy_from_slice(&letters[held - here..]);
                // Only what earlier reads held back stands before these; a later verb of the same read is all here.
                if held > here {
                    carry = letters[..held - here].to_vec();
                }
                scanner.released();
                data.push(byte);
            }
        }
    }
    (carry, data)
}

fn of_resolver(sys: &mut Sys) {
    sys.args.fd = Some(6);
    sys.socket = Some(socket(RESOLVER, Proto::Udp));
    sys.peer = Some(endpoint("192.0.2.53:53"));
}

fn of_filter(sys: &mut Sys) {
    sys.args.fd = Some(7);
    sys.socket = Some(socket(FILTER, Proto::Unix));
    sys.peer = Some(endpoint("/run/filter.sock"));
    sys.milter = true;
}

fn length(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).expect("an input is short")
}

fn endpoint(text: &str) -> mta_trace::event::Endpoint {
    let Ok(endpoint) = text.parse();
    endpoint
}

fn socket(inode: u64, proto: Proto) -> SocketId {
    SocketId { inode, proto, local: None, peer: None, peer_inode: None }
}

fn mode_name(mode: u8) -> SmtpMode {
    match mode {
        MODE_COMMAND => SmtpMode::Command,
        MODE_PENDING => SmtpMode::Pending,
        MODE_AUTH => SmtpMode::Auth,
        MODE_DATA => SmtpMode::Data,
        MODE_OPAQUE => SmtpMode::Opaque,
        _ => SmtpMode::Unknown,
    }
}

/// The first record of a log.
pub fn header() -> Header {
    let target = Target { pid: DAEMON, exe: "/usr/sbin/sendmail".into(), mta: "sendmail".into(), mta_version: None, listening: vec![] };
    Header {
        schema: LOG_SCHEMA.into(),
        tool: "0".into(),
        kernel: "6.1.0".into(),
        arch: std::env::consts::ARCH.into(),
        hooks: "fentry".into(),
        boot_to_wall_ns: 1_774_068_206_000_000_000,
        attach_ns: [500 * MS, 900 * MS],
        target,
        client: vec![],
        min_wait_ns: MS,
        existing: false,
        no_chains: false,
    }
}

fn daemon() -> SeedProc {
    SeedProc {
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
    }
}
