//! `--anonymize`: the records of a log in which nobody is named any more.
//!
//! In: records in their order. Out: the same records, in which addresses, host names, users and what no mail server says have stand-ins, the same for the
//! same within a file; so the analysis sees the same trace. What stays: times, sizes, process numbers, queue ids, standard paths. What nobody has looked into
//! (answers of name servers, bytes of unknown protocols) goes, and is marked as cut. Not here: a key; the numbers come in the order of the file.

mod addresses;
mod dns;
mod names;
mod paths;
mod smtp;
mod text;

pub use names::MAX_ENTRIES;

use crate::event::{
    Args, Backlog, Block, Bytes, Daemon, End, Endpoint, Exec, Exit, Fork, Header, Helper, Malformed, PollFd, Proto, Record, SeedFd, SeedFile,
    SeedProc, SeedSetting, SeedSettings, Smtp, SmtpMode, SocketId, Sys, Target,
};
use crate::mta;
use crate::proto::dns::PORT;
use crate::wait::is_receive;
use mta_trace_common::syscalls::Call;
use names::Names;
use smtp::Dialogues;
use std::net::SocketAddr;

/// Ports on which mail servers listen, besides those that the header names.
const MAIL_PORTS: [u16; 3] = [25, 465, 587];
/// Ports of a header that are kept.
const MAX_PORTS: usize = 64;
/// Head of a milter's packet: length and command. Behind this one the log has for which command its macros are.
const MILTER_HEAD: usize = 5;
const MACROS: u8 = b'D';

/// The stage: one for each file.
#[derive(Debug, Default)]
pub struct Anonymizer {
    names: Names,
    dialogues: Dialogues,
    /// Where the server listens.
    ports: Vec<u16>,
}

impl Anonymizer {
    /// No new name is told from others any more: there were [`MAX_ENTRIES`].
    pub fn is_full(&self) -> bool {
        self.names.is_full()
    }

    /// The record that stands for this one.
    pub fn record(&mut self, record: &Record) -> Record {
        match record {
            Record::Header(it) => Record::Header(Box::new(self.header(it))),
            Record::SeedProc(it) => Record::SeedProc(self.seed_proc(it)),
            Record::SeedFd(it) => Record::SeedFd(self.seed_fd(it)),
            Record::SeedFile(it) => Record::SeedFile(self.seed_file(it)),
            Record::SeedSettings(it) => Record::SeedSettings(self.seed_settings(it)),
            Record::Sys(it) => Record::Sys(Box::new(self.sys(it))),
            Record::Block(it) => Record::Block(Box::new(self.block(it))),
            Record::Fork(Fork { t, pid, tid, child, child_tid, comm, traced, at }) => Record::Fork(Fork {
                t: *t,
                pid: *pid,
                tid: *tid,
                child: *child,
                child_tid: *child_tid,
                comm: self.component(comm),
                traced: *traced,
                at: *at,
            }),
            Record::Exec(Exec { t, pid, comm }) => Record::Exec(Exec { t: *t, pid: *pid, comm: self.component(comm) }),
            Record::Exit(Exit { t, pid, tid, code, signal, call, since, at }) => Record::Exit(Exit {
                t: *t,
                pid: *pid,
                tid: *tid,
                code: *code,
                signal: *signal,
                call: self.words(call.as_deref()),
                since: *since,
                at: *at,
            }),
            Record::Backlog(Backlog { t, peer, since }) => Record::Backlog(Backlog { t: *t, peer: self.endpoint(peer), since: *since }),
            Record::Daemon(it) => {
                let Daemon { t, pid, state, listen_overflows, listen_drops } = it;
                let state = state.as_deref().map(|state| text::text(&mut self.names, state, None));
                Record::Daemon(Daemon { t: *t, pid: *pid, state, listen_overflows: *listen_overflows, listen_drops: *listen_drops })
            }
            Record::Helper(it) => Record::Helper(self.helper(it)),
            Record::Release(it) => Record::Release(*it),
            Record::Loss(it) => Record::Loss(*it),
            Record::Clock(it) => Record::Clock(*it),
            Record::Malformed(Malformed { reason, malformed: _ }) => {
                Record::Malformed(Malformed { reason: text::text(&mut self.names, reason, None), malformed: Bytes::default() })
            }
            Record::End(End { t, reason }) => Record::End(End { t: *t, reason: self.word(reason) }),
        }
    }

    fn header(&mut self, it: &Header) -> Header {
        let Header { schema, tool, kernel, arch, hooks, boot_to_wall_ns, attach_ns, target, client, min_wait_ns, existing, no_chains } = it;
        let Target { pid, exe, mta, mta_version, listening } = target;
        self.ports = listening.iter().filter_map(Endpoint::port).take(MAX_PORTS).collect();
        Header {
            schema: schema.clone(),
            tool: text::version(tool).unwrap_or_default(),
            // A kernel of somebody's own may be named after somebody.
            kernel: text::pieces(kernel, |word| text::word(&mut self.names, word)),
            arch: self.word(arch),
            hooks: self.word(hooks),
            boot_to_wall_ns: *boot_to_wall_ns,
            attach_ns: *attach_ns,
            target: Target {
                pid: *pid,
                exe: paths::path(&mut self.names, exe),
                mta: if mta::known(mta).is_some() { mta.clone() } else { self.word(mta) },
                mta_version: mta_version.as_deref().and_then(text::version),
                listening: listening.iter().map(|endpoint| self.endpoint(endpoint)).collect(),
            },
            client: client.iter().map(|network| self.network(network)).collect(),
            min_wait_ns: *min_wait_ns,
            existing: *existing,
            no_chains: *no_chains,
        }
    }

    /// `192.0.2.0/24`: the length of the prefix stays.
    fn network(&mut self, network: &str) -> String {
        match network.split_once('/') {
            Some((address, length)) if length.len() <= 3 && length.bytes().all(|byte| byte.is_ascii_digit()) => {
                format!("{}/{length}", text::host(&mut self.names, address))
            }
            _ => text::host(&mut self.names, network),
        }
    }

    fn seed_proc(&mut self, it: &SeedProc) -> SeedProc {
        let SeedProc { pid, ppid, exe, comm, cwd, root, role, service, verb, call, fd } = it;
        SeedProc {
            pid: *pid,
            ppid: *ppid,
            exe: paths::path(&mut self.names, exe),
            comm: self.component(comm),
            cwd: self.path(cwd.as_deref()),
            root: self.path(root.as_deref()),
            role: self.words(role.as_deref()),
            service: service.as_deref().map(|service| text::text(&mut self.names, service, None)),
            verb: self.words(verb.as_deref()),
            call: self.words(call.as_deref()),
            fd: *fd,
        }
    }

    fn seed_fd(&mut self, it: &SeedFd) -> SeedFd {
        let SeedFd { pid, fd, path, socket, client } = it;
        SeedFd { pid: *pid, fd: *fd, path: self.path(path.as_deref()), socket: socket.as_ref().map(|id| self.socket(id)), client: *client }
    }

    /// `resolv.conf`: name servers and search list with stand-ins, options as they are, comments not at all.
    fn seed_file(&mut self, it: &SeedFile) -> SeedFile {
        let mut new = String::with_capacity(it.text.len());
        for line in it.text.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
            let (name, values) = line.trim_start().split_once([' ', '\t']).unwrap_or((line, ""));
            let values = values.split_ascii_whitespace();
            let values: Vec<String> = match name {
                "nameserver" | "search" | "domain" => values.map(|value| text::host(&mut self.names, value)).collect(),
                "options" => values.filter(|value| is_option(value)).map(str::to_owned).collect(),
                _ => continue,
            };
            new.extend([name, " ", &values.join(" "), "\n"]);
        }
        SeedFile { path: paths::path(&mut self.names, &it.path), text: new }
    }

    fn seed_settings(&mut self, it: &SeedSettings) -> SeedSettings {
        let SeedSettings { file, whole, newer, settings } = it;
        let settings = settings.iter().map(|setting| self.setting(setting)).collect();
        SeedSettings { file: paths::path(&mut self.names, file), whole: *whole, newer: *newer, settings }
    }

    /// What advice may name has a form in which no name fits, but for an address; the service before it may be one too.
    fn setting(&mut self, it: &SeedSetting) -> SeedSetting {
        let (service, name) = it.name.rsplit_once('/').map_or(("", it.name.as_str()), |(service, name)| (service, name));
        let known: Vec<&mta::Setting> = mta::ALL.iter().flat_map(|mta| mta.settings()).filter(|setting| setting.name == name).collect();
        let form = it.value.as_deref().and_then(|value| Some((value, known.iter().find(|setting| setting.form.fits(value))?.form)));
        let value = form.map(|(value, form)| match form {
            mta::Form::Number | mta::Form::Time | mta::Form::Word(_) | mta::Form::Limits => value.to_owned(),
            mta::Form::Peer => self.peer(value),
        });
        let name = if known.is_empty() { text::text(&mut self.names, name, None) } else { name.to_owned() };
        let slash = if it.name.contains('/') { "/" } else { "" };
        SeedSetting { name: format!("{}{slash}{name}", text::text(&mut self.names, service, None)), value, line: it.line }
    }

    /// `inet:[::1]:10024`, `localhost:10024`.
    fn peer(&mut self, value: &str) -> String {
        let (inet, bare) = if let Some(bare) = value.strip_prefix("inet:") { ("inet:", bare) } else { ("", value) };
        match bare.parse::<SocketAddr>() {
            Ok(addr) => format!("{inet}{}", SocketAddr::new(self.names.address(addr.ip()), addr.port())),
            Err(_) => format!("{inet}{}", text::text(&mut self.names, bare, None)),
        }
    }

    fn helper(&mut self, it: &Helper) -> Helper {
        let Helper { t, pid, comm, exe, waiter, inode, peer_inode, endpoint, connections } = it;
        Helper {
            t: *t,
            pid: *pid,
            comm: self.component(comm),
            exe: paths::path(&mut self.names, exe),
            waiter: *waiter,
            inode: *inode,
            peer_inode: *peer_inode,
            endpoint: endpoint.as_ref().map(|endpoint| self.endpoint(endpoint)),
            connections: *connections,
        }
    }

    fn block(&mut self, it: &Block) -> Block {
        let Block { t, pid, tid, nr, call, since, cause, unfinished, args, at, at_start, socket, peer } = it;
        Block {
            t: *t,
            pid: *pid,
            tid: *tid,
            nr: *nr,
            call: self.words(call.as_deref()),
            since: *since,
            cause: self.words(cause.as_deref()),
            unfinished: *unfinished,
            args: args.as_ref().map(|args| self.args(args)),
            at: *at,
            at_start: *at_start,
            socket: socket.as_ref().map(|id| self.socket(id)),
            peer: peer.as_ref().map(|peer| self.endpoint(peer)),
        }
    }

    /// Field by field: a new one must find its place here.
    fn sys(&mut self, it: &Sys) -> Sys {
        let Sys {
            t,
            pid,
            tid,
            call,
            args,
            ret,
            start,
            cpu_ns,
            blocked_ns,
            rq_ns,
            at_start,
            socket,
            peer,
            data: _,
            cut,
            fault,
            smtp,
            matched,
            milter,
            policy,
            messages,
            passed,
        } = it;
        let mut new = Sys {
            t: *t,
            pid: *pid,
            tid: *tid,
            call: *call,
            args: self.args(args),
            ret: *ret,
            start: *start,
            cpu_ns: *cpu_ns,
            blocked_ns: *blocked_ns,
            rq_ns: *rq_ns,
            at_start: *at_start,
            socket: socket.as_ref().map(|id| self.socket(id)),
            peer: peer.as_ref().map(|peer| self.endpoint(peer)),
            data: None,
            cut: *cut,
            fault: *fault,
            smtp: smtp.as_ref().map(|Smtp { mode, dot, carry: _ }| Smtp { mode: *mode, dot: *dot, carry: None }),
            matched: *matched,
            milter: *milter,
            policy: *policy,
            messages: messages.clone(),
            passed: *passed,
        };
        self.data(it, &mut new);
        new
    }

    /// The bytes of a call, by the protocol of its socket.
    fn data(&mut self, it: &Sys, new: &mut Sys) {
        let carry = it.smtp.as_ref().and_then(|smtp| smtp.carry.as_ref());
        if it.data.is_none() && carry.is_none() {
            return;
        }
        let data = it.data.as_ref().map_or(&[][..], |data| data);
        let socket = it.socket.as_ref().map_or(0, |id| id.inode);
        let bytes = if self.is_smtp(it) {
            if is_receive(it.call) {
                let read = match &it.smtp {
                    Some(smtp) if smtp.mode == SmtpMode::Command => {
                        self.dialogues.read(&mut self.names, socket, carry.map_or(&[][..], |carry| carry), data, it.cut)
                    }
                    _ => smtp::Read { carry: None, data: self.dialogues.read_unseen(socket, data) },
                };
                if let Some(smtp) = &mut new.smtp {
                    smtp.carry = read.carry.map(Bytes);
                }
                read.data
            } else {
                self.dialogues.write(&mut self.names, socket, data, it.cut)
            }
        } else if it.milter {
            let length = MILTER_HEAD + usize::from(data.get(4) == Some(&MACROS));
            let kept = data.get(..length).unwrap_or(data);
            new.cut |= kept.len() < data.len();
            kept.to_vec()
        } else if is_dns(it) {
            let is_stream = it.socket.as_ref().is_some_and(|id| id.proto == Proto::Tcp);
            let packet = dns::packet(&mut self.names, data, is_stream);
            new.cut |= packet.is_cut;
            packet.bytes
        } else {
            new.cut |= !data.is_empty();
            Vec::new()
        };
        if it.data.is_some() {
            resize(it, new, data.len(), bytes.len());
            new.data = Some(Bytes(bytes));
        }
    }

    /// A connection of a client: the kernel side has read it as such, or the server has it on a port on which it listens.
    fn is_smtp(&self, it: &Sys) -> bool {
        let local = it.socket.as_ref().filter(|id| id.proto == Proto::Tcp).and_then(|id| id.local.as_ref()?.port());
        it.smtp.is_some() || local.is_some_and(|port| MAIL_PORTS.contains(&port) || self.ports.contains(&port))
    }

    fn args(&mut self, it: &Args) -> Args {
        let Args { fd, fd2, len, flags, addr, path, op, fds, read, write, except, timeout_ns, pid } = it;
        Args {
            fd: *fd,
            fd2: *fd2,
            len: *len,
            flags: self.constants(flags),
            addr: addr.as_ref().map(|addr| self.endpoint(addr)),
            path: self.path(path.as_deref()),
            op: op.as_deref().map(|op| constant(&mut self.names, op)),
            fds: fds
                .iter()
                .map(|PollFd { fd, events, revents }| PollFd { fd: *fd, events: self.constants(events), revents: self.constants(revents) })
                .collect(),
            read: read.clone(),
            write: write.clone(),
            except: except.clone(),
            timeout_ns: *timeout_ns,
            pid: *pid,
        }
    }

    fn constants(&mut self, all: &[String]) -> Vec<String> {
        all.iter().map(|text| constant(&mut self.names, text)).collect()
    }

    fn socket(&mut self, it: &SocketId) -> SocketId {
        let SocketId { inode, proto, local, peer, peer_inode } = it;
        let mut endpoint = |it: &Option<Endpoint>| it.as_ref().map(|endpoint| self.endpoint(endpoint));
        SocketId { inode: *inode, proto: *proto, local: endpoint(local), peer: endpoint(peer), peer_inode: *peer_inode }
    }

    fn endpoint(&mut self, it: &Endpoint) -> Endpoint {
        match it {
            Endpoint::Inet(SocketAddr::V6(v6)) => {
                // The number of an interface is no secret, but of no use elsewhere either.
                Endpoint::Inet(SocketAddr::new(self.names.address((*v6.ip()).into()), v6.port()))
            }
            Endpoint::Inet(addr) => Endpoint::Inet(SocketAddr::new(self.names.address(addr.ip()), addr.port())),
            Endpoint::Unix(path) => Endpoint::Unix(paths::path(&mut self.names, path)),
        }
    }

    fn path(&mut self, path: Option<&str>) -> Option<String> {
        path.map(|path| paths::path(&mut self.names, path))
    }

    fn component(&mut self, name: &str) -> String {
        paths::component(&mut self.names, name)
    }

    fn words(&mut self, word: Option<&str>) -> Option<String> {
        word.map(|word| self.word(word))
    }

    /// A word of the log's own vocabulary.
    fn word(&mut self, word: &str) -> String {
        if Call::by_name(word).is_some() { word.to_owned() } else { constant(&mut self.names, word) }
    }
}

/// Names of constants and calls, and numbers: `MSG_NOSIGNAL`, `0x40`, `target-exited`. Nobody's name is written with them in a log that mta-trace wrote.
fn constant(names: &mut Names, text: &str) -> String {
    let is_one = !text.is_empty() && text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if is_one { text.to_owned() } else { text::text(names, text, None) }
}

/// `timeout:1`, `edns0`.
fn is_option(value: &str) -> bool {
    value.len() <= 24 && value.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b":-_".contains(&byte))
}

fn is_dns(it: &Sys) -> bool {
    it.peer.as_ref().or(it.args.addr.as_ref()).and_then(Endpoint::port) == Some(PORT)
}

/// A call that has transferred other bytes returns another number. `sendmmsg` and `recvmmsg` count messages.
fn resize(it: &Sys, new: &mut Sys, before: usize, after: usize) {
    let counts_bytes = !matches!(it.call, Call::Sendmmsg | Call::Recvmmsg);
    if !counts_bytes || it.ret <= 0 || new.cut && after <= before {
        return;
    }
    let [before, after] = [before, after].map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    new.ret = it.ret.saturating_add(after.saturating_sub(before)).max(1);
    if let Some(len) = it.args.len {
        let room = u64::try_from(new.ret).unwrap_or(len);
        // What was written in whole still is; a buffer is large enough.
        new.args.len = Some(if i64::try_from(len) == Ok(it.ret) { room } else { len.max(room) });
    }
}
