//! What the serving thread did, one step after another, with everything about a step that can name a wait.
//!
//! A completed call (or a time blocked outside calls) and the state in; a [`Step`] out: its interval, what is
//! behind its descriptors, which timer ended it. Not here: the name of the cause (`cause/`).

mod other_calls;

use crate::event::{Args, Block, Bytes, Endpoint, PollFd, Proto, Sys};
use crate::mta::{self, Service};
use crate::proto::dns::{self, Message};
use crate::report::Cause;
use crate::session::Mark;
use crate::state::{Object, Proc, Socket, State};
use mta_trace_common::syscalls::Call;
use std::borrow::Cow;

/// How close to its expiry a timer must be to have ended a call: the signal is late when the CPU is busy.
const TIMER_SLACK_NS: u64 = 100_000_000;

/// How a step touches the client's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// Reads, or waits until it could.
    Reads,
    /// Writes, or waits until it could.
    Writes,
    /// Waits for the client to hang up, and for nothing else.
    HangUp,
}

/// One descriptor of a `poll` or `select`.
#[derive(Clone, Debug, PartialEq)]
pub struct Polled {
    /// Descriptor.
    pub fd: i32,
    /// How it is waited for.
    pub touch: Touch,
    /// What is behind it.
    pub object: Option<Object>,
}

/// One thing that the serving thread did.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, no states")]
pub struct Step {
    /// When it began to block; if it did not, when it returned.
    pub from: Mark,
    /// When it returned.
    pub to: Mark,
    /// It blocked.
    pub is_blocked: bool,
    /// The hooked call.
    pub call: Option<Call>,
    /// Name of the call, or `page-fault`.
    pub name: Cow<'static, str>,
    /// What it returned; none: it has not.
    pub ret: Option<i64>,
    /// Descriptor.
    pub fd: Option<i32>,
    /// What is behind it.
    pub object: Option<Object>,
    /// What was polled.
    pub polled: Vec<Polled>,
    /// Time-out or duration of the call.
    pub timeout_ns: Option<u64>,
    /// Path that the call names, absolute where it can be.
    pub path: Option<String>,
    /// Operation (`F_SETLKW`).
    pub op: Option<String>,
    /// Bytes transferred.
    pub data: Option<Bytes>,
    /// The DNS message in them, of a name server's socket.
    pub dns: Option<Message>,
    /// The descriptor is a milter's; `data` is the head of a packet.
    pub is_milter: bool,
    /// The endpoint has spoken milter before.
    pub is_known_milter: bool,
    /// The peer is a policy service: it was asked, or its endpoint has been before.
    pub is_policy: bool,
    /// What the peer is by the mail server's configuration.
    pub declared: Option<Cause>,
    /// What the peer is by the mail server's own conventions.
    pub service: Option<Service>,
    /// The process's own timer that ended it.
    pub timer_ns: Option<u64>,
    /// How it touches the client's socket.
    pub client: Option<Touch>,
    /// It is the client's turn.
    pub awaits_client: bool,
    /// The server owes the greeting; the client must not speak before.
    pub owes_greeting: bool,
    /// A TLS handshake with the client has begun and is not over.
    pub shakes_hands: bool,
    /// The client has said QUIT: it is about to close.
    pub has_quit: bool,
    /// The command is about an address, and the message is still to come: another mail server is asked about it, nothing is handed on.
    pub verifies: bool,
    /// The message has come, and the process that serves hands it on by itself before it replies.
    pub relays: bool,
    /// It begins a connection with its first bytes (`MSG_FASTOPEN`): there is no connect.
    pub is_fast_open: bool,
    /// An event loop's wait for all of its descriptors: it tells nothing of what it returned for.
    pub is_shared_poll: bool,
    /// `PID COMM` of the child that it waited for: the one that has ended by it, or the only one.
    pub child: Option<String>,
    /// `PID COMM` of the parent, whose pipe it reads: one that was open when the process was forked.
    pub parent: Option<String>,
    /// The process had a child that lived when it began.
    pub has_child: bool,
    /// The file system is what blocked, outside hooked calls.
    pub is_file_system: bool,
}

/// Where a step stands.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, no states")]
pub struct Place<'a> {
    /// What is known of the processes.
    pub state: &'a State,
    /// Inode of the client's socket.
    pub client_inode: u64,
    /// It is the client's turn.
    pub awaits_client: bool,
    /// The server owes the greeting; the client must not speak before.
    pub owes_greeting: bool,
    /// Name of the mail server.
    pub mta: &'a str,
    /// A TLS handshake with the client has begun and is not over.
    pub shakes_hands: bool,
    /// The client has said QUIT.
    pub has_quit: bool,
    /// The command is about an address, before the message.
    pub verifies: bool,
    /// The message has come, and this mail server delivers before it replies, if it is told to.
    pub relays: bool,
    /// The message has come: it went, while it came, over this connection that was made for its recipient.
    pub relays_over: Option<u64>,
    /// The machine's architecture: numbers of calls depend on it.
    pub arch: &'a str,
}

/// Whether what is sent connects as well (send(2)).
fn is_fast_open(args: &Args) -> bool {
    args.flags.iter().any(|flag| flag == "MSG_FASTOPEN")
}

impl Step {
    /// From a completed call.
    pub fn of_call(sys: &Sys, from: Mark, to: Mark, place: Place<'_>) -> Self {
        let process = place.state.process(sys.pid);
        let mut step = Self::bare(from, to, &sys.args, process);
        step.is_blocked = sys.start.is_some();
        step.call = Some(sys.call);
        step.name = sys.call.name().into();
        step.ret = Some(sys.ret);
        step.object = Self::object_of(sys, process);
        step.data.clone_from(&sys.data);
        step.is_milter = sys.milter;
        step.is_policy = sys.policy;
        step.is_fast_open = is_fast_open(&sys.args);
        step.timer_ns = process.and_then(|process| timer_that_ended(sys, process));
        step.child = child_of(sys, place.state);
        step.parent = parent_of(sys, place.state);
        step.locate(sys.pid, place);
        step.dns = step.message();
        step
    }

    /// From time blocked outside hooked calls, or in a call that has not returned.
    pub fn of_block(block: &Block, from: Mark, to: Mark, place: Place<'_>) -> Self {
        let process = place.state.process(block.pid);
        let none = Args::default();
        let mut step = Self::bare(from, to, block.args.as_ref().unwrap_or(&none), process);
        step.is_blocked = true;
        step.call = block.call.as_deref().and_then(Call::by_name);
        let other = other_calls::other_call(place.arch, block.nr);
        step.name = match (&block.call, &block.cause, other) {
            (Some(call), _, _) => call.clone().into(),
            (None, Some(cause), _) => cause.clone().into(),
            (None, None, Some((name, _))) => name.into(),
            (None, None, None) => format!("syscall_{}", block.nr).into(),
        };
        step.is_file_system = block.cause.as_deref() == Some("page-fault") || other.is_some_and(|(_, is_file_system)| is_file_system);
        // Of a hooked call that has ended without telling so nobody knows what it returned.
        step.ret = (!block.unfinished && step.call.is_none()).then_some(0);
        step.is_fast_open = block.args.as_ref().is_some_and(is_fast_open);
        let known = step.fd.and_then(|fd| process?.fds.object(fd));
        step.object = match &block.socket {
            // A look has no path of a unix peer, and the table may.
            Some(id) if block.peer.is_some() || known.and_then(Object::socket).is_none_or(|socket| socket.inode != id.inode) => {
                Some(Object::Socket(Socket::new(id, block.peer.as_ref())))
            }
            _ => known.cloned(),
        };
        step.locate(block.pid, place);
        step
    }

    /// From the end of a process inside a call.
    pub fn of_exit(call: &str, pid: u32, from: Mark, to: Mark, place: Place<'_>) -> Self {
        let mut step = Self::bare(from, to, &Args::default(), None);
        step.is_blocked = true;
        step.call = Call::by_name(call);
        step.name = call.to_owned().into();
        step.locate(pid, place);
        step
    }

    fn bare(from: Mark, to: Mark, args: &Args, process: Option<&Proc>) -> Self {
        Self {
            from,
            to,
            is_blocked: false,
            call: None,
            name: Cow::default(),
            ret: None,
            fd: args.fd,
            object: None,
            polled: polled(args, process),
            timeout_ns: args.timeout_ns,
            path: process.map_or_else(|| args.path.clone(), |process| process.path_of(args)),
            op: args.op.clone(),
            data: None,
            dns: None,
            is_milter: false,
            is_known_milter: false,
            is_policy: false,
            declared: None,
            service: None,
            timer_ns: None,
            client: None,
            awaits_client: false,
            owes_greeting: false,
            shakes_hands: false,
            has_quit: false,
            verifies: false,
            relays: false,
            is_fast_open: false,
            is_shared_poll: false,
            child: None,
            parent: None,
            has_child: false,
            is_file_system: false,
        }
    }

    fn object_of(sys: &Sys, process: Option<&Proc>) -> Option<Object> {
        let known = sys.args.fd.and_then(|fd| process?.fds.object(fd));
        // Argument 0 of other calls is no descriptor, whatever was found behind that number.
        match (sys.socket.as_ref().filter(|_| sys.call.row().fd0), sys.call) {
            // The accepted socket is not the one behind the descriptor.
            (_, Call::Accept | Call::Accept4) => None,
            // The table has learnt from this very event, and may know the peer from before.
            (Some(id), _) if known.and_then(Object::socket).is_none_or(|socket| socket.inode != id.inode) => {
                Some(Object::Socket(Socket::new(id, sys.peer.as_ref())))
            }
            _ => known.cloned(),
        }
    }

    fn locate(&mut self, pid: u32, place: Place<'_>) {
        self.awaits_client = place.awaits_client;
        self.owes_greeting = place.owes_greeting;
        self.shakes_hands = place.shakes_hands;
        self.has_quit = place.has_quit;
        self.verifies = place.verifies;
        self.relays = place.relays || place.relays_over.is_some_and(|inode| self.touches(inode));
        self.has_child = place.state.had_child(pid, self.from.t);
        if self.has_child && self.child.is_none() {
            self.child = place.state.only_child(pid, self.from.t);
        }
        self.client = self.touch_of(place.client_inode);
        self.is_known_milter = self.any_socket().and_then(|socket| socket.peer.as_ref()).is_some_and(|peer| place.state.is_milter(peer));
        self.is_policy |= self.any_socket().and_then(|socket| socket.peer.as_ref()).is_some_and(|peer| place.state.is_policy(peer));
        self.declared = self.any_socket().and_then(|socket| socket.peer.as_ref()).and_then(|peer| place.state.declared(peer));
        self.service = match self.any_socket().and_then(|socket| socket.peer.as_ref()) {
            Some(Endpoint::Unix(path)) => mta::by_name(place.mta).service_at(path),
            _ => None,
        };
    }

    fn touch_of(&self, inode: u64) -> Option<Touch> {
        let is_client = |object: Option<&Object>| object.and_then(Object::socket).is_some_and(|socket| socket.inode == inode);
        if is_client(self.object.as_ref()) {
            return Some(if self.is_send() { Touch::Writes } else { Touch::Reads });
        }
        let mut touches = self.polled.iter().filter(|polled| is_client(polled.object.as_ref())).map(|polled| polled.touch);
        let first = touches.next()?;
        Some(touches.fold(first, |touch, next| if touch == Touch::HangUp { next } else { touch }))
    }

    /// The process was killed in it: the signal is no return of its own. One that its own timer ended was over before.
    pub fn cut_short(&mut self) {
        let is_over = self.timer_ns.is_some();
        self.ret = self.ret.filter(|ret| is_over || !matches!(ret, -4 | -516..=-512));
    }

    /// The socket behind its descriptor.
    pub fn socket(&self) -> Option<&Socket> {
        self.object.as_ref().and_then(Object::socket)
    }

    /// The socket behind its descriptor, or the only kind of thing that it polls.
    pub fn any_socket(&self) -> Option<&Socket> {
        self.socket().or_else(|| self.polled.iter().find_map(|polled| polled.object.as_ref()?.socket()))
    }

    /// All sockets that it reads, writes or polls.
    pub fn sockets(&self) -> impl Iterator<Item = &Socket> {
        self.object.iter().chain(self.polled.iter().filter_map(|polled| polled.object.as_ref())).filter_map(Object::socket)
    }

    /// Whether it reads, writes or polls this socket.
    pub fn touches(&self, inode: u64) -> bool {
        self.sockets().any(|socket| socket.inode == inode)
    }

    /// The file behind its descriptor, or that it names.
    pub fn file(&self) -> Option<&str> {
        match &self.object {
            Some(Object::File(path)) if self.path.is_none() => Some(path),
            _ => self.path.as_deref(),
        }
    }

    fn message(&self) -> Option<Message> {
        let socket = self.socket().filter(|socket| socket.peer_port() == Some(dns::PORT))?;
        let data = self.data.as_ref()?;
        if socket.proto == Proto::Tcp { dns::parse_stream(data) } else { dns::parse(data) }
    }

    /// It begins a connection.
    pub fn is_connect(&self) -> bool {
        self.call == Some(Call::Connect) || self.is_fast_open
    }

    /// It sends bytes.
    pub fn is_send(&self) -> bool {
        self.call.is_some_and(is_send)
    }

    /// It receives bytes.
    pub fn is_receive(&self) -> bool {
        self.call.is_some_and(is_receive)
    }

    /// The answer of a name server that it receives.
    pub fn dns_answer(&self) -> Option<&Message> {
        self.dns.as_ref().filter(|message| self.is_receive() && message.is_response)
    }

    /// It waits on several descriptors.
    pub fn is_poll(&self) -> bool {
        self.call.is_some_and(is_poll)
    }

    /// Its own time-out ended it.
    pub fn has_timed_out(&self) -> bool {
        self.is_poll() && self.ret == Some(0) && !self.is_shared_poll
    }

    /// What it returned is not known, but it lasted as long as it may.
    pub fn has_lasted(&self) -> bool {
        let elapsed_ns = self.to.t.saturating_sub(self.from.t);
        self.ret.is_none() && self.is_poll() && self.timeout_ns.is_some_and(|timeout_ns| elapsed_ns >= timeout_ns)
    }

    /// It waits on descriptors, and what it returned is not known, so that nothing tells on which.
    pub fn is_unnamed_poll(&self) -> bool {
        self.is_shared_poll || self.ret.is_none() && self.is_poll() && self.polled.is_empty()
    }

    /// `fd 7: tcp 10.99.0.2:41822 -> 10.99.0.1:113`.
    pub fn descriptor(&self) -> Option<String> {
        let (fd, object) = match (self.fd, self.polled.as_slice()) {
            (Some(fd), _) => (fd, self.object.as_ref()),
            (None, [polled, ..]) => (polled.fd, polled.object.as_ref()),
            (None, []) => return None,
        };
        Some(match object {
            None => format!("fd {fd}"),
            Some(Object::File(path)) => format!("fd {fd}: {path}"),
            Some(Object::Socket(socket)) => describe(fd, socket),
        })
    }
}

fn describe(fd: i32, socket: &Socket) -> String {
    let proto = match socket.proto {
        Proto::Tcp => "tcp",
        Proto::Udp => "udp",
        Proto::Unix => "unix",
        Proto::Other => "socket",
    };
    match (&socket.local, &socket.peer) {
        (Some(local), Some(peer)) => format!("fd {fd}: {proto} {local} -> {peer}"),
        (None, Some(peer)) => format!("fd {fd}: {proto} {peer}"),
        (Some(local), None) => format!("fd {fd}: {proto} {local}"),
        (None, None) => format!("fd {fd}: {proto}"),
    }
}

/// It sends bytes.
pub fn is_send(call: Call) -> bool {
    matches!(call, Call::Write | Call::Writev | Call::Sendto | Call::Sendmsg | Call::Sendmmsg)
}

/// It receives bytes.
pub fn is_receive(call: Call) -> bool {
    matches!(call, Call::Read | Call::Readv | Call::Recvfrom | Call::Recvmsg | Call::Recvmmsg)
}

/// It waits on several descriptors.
pub fn is_poll(call: Call) -> bool {
    matches!(call, Call::Poll | Call::Ppoll | Call::Select | Call::Pselect6 | Call::EpollWait | Call::EpollPwait)
}

/// Whether an event loop waits for all of its descriptors by it: what it returned for is not told.
pub fn is_poll_of_all(call: Call) -> bool {
    matches!(call, Call::EpollWait | Call::EpollPwait)
}

fn polled(args: &Args, process: Option<&Proc>) -> Vec<Polled> {
    let object = |fd: i32| process.and_then(|process| process.fds.object(fd)).cloned();
    let of_poll = args.fds.iter().map(|entry| (entry.fd, touch_of(entry)));
    let of_select = args.read.iter().chain(&args.except).map(|&fd| (fd, Touch::Reads)).chain(args.write.iter().map(|&fd| (fd, Touch::Writes)));
    let mut polled: Vec<Polled> = Vec::new();
    for (fd, touch) in of_poll.chain(of_select) {
        if fd >= 0 && !polled.iter().any(|known| known.fd == fd) {
            polled.push(Polled { fd, touch, object: object(fd) });
        }
    }
    polled
}

fn touch_of(entry: &PollFd) -> Touch {
    let has = |name: &str| entry.events.iter().any(|event| event.contains(name));
    if has("POLLIN") || has("POLLPRI") || has("POLLRDNORM") {
        Touch::Reads
    } else if has("POLLOUT") || has("POLLWRNORM") {
        Touch::Writes
    } else {
        Touch::HangUp
    }
}

fn timer_that_ended(sys: &Sys, process: &Proc) -> Option<u64> {
    let timer = process.timer.filter(|_| sys.is_interrupted())?;
    let expiry = timer.set.saturating_add(timer.after_ns);
    (expiry.abs_diff(sys.t) <= TIMER_SLACK_NS).then_some(timer.after_ns)
}

fn parent_of(sys: &Sys, state: &State) -> Option<String> {
    let process = state.process(sys.pid)?;
    let is_its_pipe = is_receive(sys.call) && sys.args.fd.is_some_and(|fd| process.fds.is_inherited_pipe(fd));
    let parent = state.process(process.ppid).filter(|_| is_its_pipe)?;
    Some(format!("{} {}", process.ppid, parent.comm).trim_end().to_owned())
}

fn child_of(sys: &Sys, state: &State) -> Option<String> {
    if !matches!(sys.call, Call::Wait4 | Call::Waitid) {
        return None;
    }
    // waitid(2) returns 0; it may have been asked for one process.
    let waited = Some(sys.ret).filter(|&ret| ret > 0).or(sys.args.pid.map(i64::from));
    let pid = waited.and_then(|pid| u32::try_from(pid).ok()).filter(|&pid| pid > 0)?;
    let comm = state.process(pid).map(|process| process.comm.as_str()).unwrap_or_default();
    Some(format!("{pid} {comm}").trim_end().to_owned())
}
