//! A live trace as a source of records: the ring of `kernel/`, decoded by `decode/`, with header, seeds, loss and clock.
//!
//! In: a selection. Out: the same records that a saved log holds. Not here: what is done with them (`live/`).

use crate::{
    decode,
    event::{Block, Clock, Daemon, End, Endpoint, Header, LOG_SCHEMA, Loss, Record, Target},
    kernel,
    options::AttachOptions,
};
use mta_trace_common::config::Thread;
use std::{collections::HashMap, fs::File, io::Write as _, path::PathBuf, time::Duration};

/// The ring is looked at this often: to be woken by the kernel side would cost the server an interrupt each time.
const LOOK: Duration = Duration::from_millis(50);
/// The daemon is looked at this often: sendmail defers connections for a second at a time.
const DAEMON_NS: u64 = 250_000_000;
/// Whom a session waits for is looked at this often.
const HELPERS_NS: u64 = 50_000_000;
/// A helper that is blocked for so long is told of before it goes on.
const HELPER_WAIT_NS: u64 = 50_000_000;
/// Records that are taken in one go: between two of them there is time for signals, the log and the clock, and so many, decoded, still lie in the
/// processor's cache when they are analysed.
const AT_ONCE: usize = 128;
/// How many paths of unix sockets are remembered.
const MAX_PATHS: usize = 4096;
/// A clock record this often.
const HOUSEKEEPING_NS: u64 = 1_000_000_000;

/// A running trace.
pub struct LiveTrace {
    trace: kernel::Trace,
    header: Header,
    loss: Loss,
    housekeeping: u64,
    /// As it was last told, and when it was looked at.
    daemon: Option<Daemon>,
    looked: u64,
    looked_for_helpers: u64,
    /// Waits of helpers' threads that were told of before they ended: when each began.
    told: HashMap<u32, u64>,
    looks: Looks,
    /// The ring may hold more than was taken.
    is_behind: bool,
    dump: Option<File>,
    /// Paths of unix sockets, by inode; none: it has no name.
    paths: HashMap<u64, Option<Endpoint>>,
}

/// Attaches.
pub fn attach(options: &AttachOptions) -> Result<LiveTrace, kernel::Error> {
    let create = |path: &PathBuf| File::create(path).map_err(|source| kernel::Error::Dump { path: path.clone(), source });
    let dump = options.ring_dump.as_ref().map(create).transpose()?;
    let trace = kernel::attach(options)?;
    let header = header(options, &trace);
    let daemon = trace.seeds.iter().find_map(|seed| if let Record::Daemon(daemon) = seed { Some(daemon.clone()) } else { None });
    Ok(LiveTrace {
        trace,
        header,
        loss: Loss::default(),
        housekeeping: kernel::now_ns(),
        daemon,
        looked: 0,
        looked_for_helpers: 0,
        told: HashMap::new(),
        looks: Looks::default(),
        is_behind: false,
        dump,
        paths: HashMap::new(),
    })
}

fn header(options: &AttachOptions, trace: &kernel::Trace) -> Header {
    let kernel::Target { pid, exe, mta, version, listening, shape: _ } = &trace.target;
    Header {
        schema: LOG_SCHEMA.to_owned(),
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: kernel::release(),
        arch: std::env::consts::ARCH.to_owned(),
        hooks: trace.hooks.to_owned(),
        boot_to_wall_ns: kernel::boot_to_wall_ns(),
        attach_ns: trace.attach_ns,
        target: Target { pid: *pid, exe: exe.clone(), mta: (*mta).to_owned(), mta_version: version.clone(), listening: listening.clone() },
        client: options.clients.iter().map(ToString::to_string).collect(),
        min_wait_ns: options.min_wait_ns,
        existing: options.existing,
        no_chains: !options.chains,
    }
}

impl LiveTrace {
    /// First record of the log.
    pub fn header(&self) -> Header {
        self.header.clone()
    }

    /// What existed before.
    pub fn seeds(&self) -> Vec<Record> {
        self.trace.seeds.clone()
    }

    /// The next records; `None`: nothing came within the time.
    pub async fn next(&mut self, timeout: Duration) -> Option<Vec<Record>> {
        if self.is_behind {
            // Signals are noticed only while somebody waits.
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(timeout.min(LOOK)).await;
        }
        let records = self.drain(AT_ONCE);
        (!records.is_empty()).then_some(records)
    }

    fn drain(&mut self, most: usize) -> Vec<Record> {
        let mut records = Vec::new();
        let dump = &mut self.dump;
        self.is_behind = self.trace.drain(most, |bytes| {
            if let Some(file) = dump {
                // A test's file: what cannot be written is seen by the test.
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
                let _ = file.write_all(&length).and_then(|()| file.write_all(bytes));
            }
            records.push(decode::record(bytes));
        });
        let mut records: Vec<Record> = records.into_iter().flat_map(|record| self.with_older_connections(record)).collect();
        for record in &mut records {
            self.name_peer(record);
            self.looks.complete(record);
        }
        let now = kernel::now_ns();
        let mut records = behind_loss(self.loss(now), records);
        if now.saturating_sub(self.housekeeping) >= HOUSEKEEPING_NS {
            self.housekeeping = now;
            records.push(Record::Clock(Clock { t: now, wall_ns: kernel::boot_to_wall_ns().saturating_add_unsigned(now) }));
        }
        // What was told before a look stands before it: the ring is empty.
        if !self.is_behind && now.saturating_sub(self.looked_for_helpers) >= HELPERS_NS {
            self.looked_for_helpers = now;
            records.extend(self.trace.look_for_helpers());
            records.extend(self.helpers_waiting());
        }
        if now.saturating_sub(self.looked) >= DAEMON_NS {
            self.looked = now;
            records.extend(self.daemon());
        }
        records
    }

    /// A server that has accepted a session has connections of earlier ones, of which no call has told: they stand behind its accept. Each is told once.
    fn with_older_connections(&mut self, record: Record) -> Vec<Record> {
        let accepting = match &record {
            Record::Sys(sys) if sys.matched == Some(true) => Some(sys.pid),
            _ => None,
        };
        let mut all = vec![record];
        if let Some(pid) = accepting {
            all.extend(self.trace.older_connections(pid));
        }
        all
    }

    /// The far end of a unix socket that was connected before it was seen: by the inode that is there. Asked once for each, since it does not change.
    fn name_peer(&mut self, record: &mut Record) {
        let Record::Sys(sys) = record else { return };
        let Some(inode) = sys.socket.as_ref().and_then(|socket| socket.peer_inode).filter(|_| sys.peer.is_none() && sys.args.addr.is_none()) else {
            return;
        };
        if self.paths.len() >= MAX_PATHS {
            self.paths.clear();
        }
        let path = self.paths.entry(inode).or_insert_with(|| self.trace.unix_path(inode).map(Endpoint::Unix));
        sys.peer.clone_from(path);
    }

    /// The daemon, if it is found to have changed.
    fn daemon(&mut self) -> Option<Record> {
        // One that has ended says nothing any more.
        let now = self.trace.daemon().filter(|_| self.trace.is_target_alive())?;
        let is_same = |known: &Daemon| Daemon { t: now.t, ..known.clone() } == now;
        if self.daemon.as_ref().is_some_and(is_same) {
            return None;
        }
        self.daemon = Some(now.clone());
        Some(Record::Daemon(now))
    }

    /// The counts of what was lost, if they have changed.
    fn loss(&mut self, t: u64) -> Option<Loss> {
        let [ring, truncated, fault, tables, switches, exits] = self.trace.loss();
        let loss = Loss { t, ring, truncated, fault, tables, switches, exits };
        let is_new = Loss { t: self.loss.t, ..loss } != self.loss;
        self.loss = loss;
        is_new.then_some(loss)
    }

    /// What the sessions' threads have been waiting for, for at least so long, as unfinished blocks.
    pub fn waiting(&mut self, at_least_ns: u64) -> Vec<Record> {
        let records = blocks(&self.trace, &self.trace.blocked(at_least_ns));
        self.looks.see(&records);
        records
    }

    /// The same of helpers, each once: a session may give them up before they go on.
    fn helpers_waiting(&mut self) -> Vec<Record> {
        let mut waiting = self.trace.helpers_blocked(HELPER_WAIT_NS);
        self.told.retain(|tid, since| waiting.iter().any(|(other, thread, _)| other == tid && thread.since == *since));
        waiting.retain(|(tid, thread, _)| self.told.insert(*tid, thread.since).is_none());
        blocks(&self.trace, &waiting)
    }

    /// Whether the traced process still exists.
    pub fn is_target_alive(&self) -> bool {
        self.trace.is_target_alive()
    }

    /// Ends the trace: what the ring still holds, what is being waited for, the last counts, the end.
    pub fn stop(mut self, reason: &str) -> Vec<Record> {
        let mut records = self.drain(self.trace.capacity());
        records.extend(blocks(&self.trace, &self.trace.helpers_blocked(0)));
        records.extend(self.waiting(0));
        records.extend(self.daemon());
        let t = kernel::now_ns();
        records.extend(self.loss(t).map(Record::Loss));
        records.push(Record::End(End { t, reason: reason.to_owned() }));
        records
    }
}

/// Calls that had not returned when they were looked at, by thread. Of some the end is never told (`Loss::exits`): with whom they were is known from here.
#[derive(Debug, Default)]
struct Looks {
    last: HashMap<u32, Look>,
    before: HashMap<u32, Look>,
}

#[derive(Clone, Debug)]
struct Look {
    block: Block,
    /// The next look found the thread in the same call: so what was behind the descriptor in between is that call's.
    is_proven: bool,
}

impl Looks {
    fn see(&mut self, records: &[Record]) {
        self.before = std::mem::take(&mut self.last);
        for record in records {
            let Record::Block(block) = record else { continue };
            let look = match self.before.get(&block.tid).filter(|look| look.is_of(block)) {
                Some(earlier) => Look { is_proven: true, ..earlier.clone() },
                None => Look { block: (**block).clone(), is_proven: false },
            };
            self.last.insert(block.tid, look);
        }
    }

    /// Puts what was behind the descriptor into the record of such a call, whose thread may not be blocked any more at the last look.
    fn complete(&self, record: &mut Record) {
        let Record::Block(block) = record else { return };
        let mut looks = [&self.last, &self.before].into_iter().filter_map(|looks| looks.get(&block.tid));
        let Some(look) = looks.find(|look| look.is_proven && look.is_of(block)) else { return };
        block.socket.clone_from(&look.block.socket);
        block.peer.clone_from(&look.block.peer);
    }
}

impl Look {
    fn is_of(&self, block: &Block) -> bool {
        let descriptor = |block: &Block| block.args.as_ref().and_then(|args| args.fd);
        (self.block.nr, self.block.since, descriptor(&self.block)) == (block.nr, block.since, descriptor(block))
    }
}

/// Threads that are blocked in a call, with what is behind its descriptors.
fn blocks(trace: &kernel::Trace, threads: &[(u32, Thread, [u64; 6])]) -> Vec<Record> {
    let t = kernel::now_ns();
    let mut sockets: HashMap<u32, kernel::Sockets> = HashMap::new();
    let block = |(tid, thread, args): &(u32, Thread, [u64; 6])| {
        let mut block = decode::blocked(*tid, thread, args, t);
        if let (Some("poll" | "ppoll"), Some(args)) = (block.call.as_deref(), &mut block.args) {
            args.fds = decode::polled(&trace.polled(*tid, thread));
        }
        let fd = block.args.as_ref().and_then(|args| args.fd);
        if let Some(fd) = fd {
            let sockets = sockets.entry(block.pid).or_insert_with(|| kernel::Sockets::of(block.pid));
            if let Some(mut socket) = kernel::socket_behind(sockets, block.pid, fd) {
                block.peer = socket.peer.take();
                block.socket = Some(socket);
            }
        }
        Record::Block(Box::new(block))
    };
    threads.iter().map(block).collect()
}

/// What was lost, counted after the records were read, stands before them: a session whose last record is among
/// them must not count as whole. Its time is that of the count: a session that began before it may be the one that lost.
fn behind_loss(loss: Option<Loss>, records: Vec<Record>) -> Vec<Record> {
    loss.map(Record::Loss).into_iter().chain(records).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Args, Counters};

    /// On 6.12 with fentry, while another tracer came, a connect of 5 s was told by its number alone.
    #[test]
    fn regress_a_call_of_which_the_end_was_not_told_has_what_was_seen_before() {
        let block = |tid, since, socket: Option<&str>| {
            let peer = socket.map(|peer| Endpoint::Inet(peer.parse().expect("an address")));
            let args = Some(Args { fd: Some(7), ..Args::default() });
            let at = Counters::default();
            let unfinished = socket.is_some();
            Block {
                t: 9,
                pid: 5,
                tid,
                nr: 42,
                call: Some("connect".into()),
                since,
                cause: None,
                unfinished,
                args,
                at,
                at_start: None,
                socket: None,
                peer,
            }
        };
        let completed = |looks: &Looks, tid, since| {
            let mut record = Record::Block(Box::new(block(tid, since, None)));
            looks.complete(&mut record);
            if let Record::Block(block) = record { block.peer.map(|peer| peer.to_string()) } else { None }
        };
        let mut looks = Looks::default();
        let [ident, other] =
            [(5, 1, "10.99.0.1:113"), (6, 3, "10.99.0.1:25")].map(|(tid, since, peer)| Record::Block(Box::new(block(tid, since, Some(peer)))));
        // Looked at once: the call may have been over before the descriptor was looked at.
        looks.see(std::slice::from_ref(&ident));
        assert_eq!(completed(&looks, 5, 1), None);
        looks.see(&[ident, other.clone()]);
        assert_eq!((completed(&looks, 5, 1).as_deref(), completed(&looks, 6, 3)), (Some("10.99.0.1:113"), None));
        // It has ended, and its record is read behind the next look.
        looks.see(&[other]);
        assert_eq!((completed(&looks, 5, 1).as_deref(), completed(&looks, 6, 3).as_deref()), (Some("10.99.0.1:113"), Some("10.99.0.1:25")));
        // Another call, another thread.
        assert_eq!((completed(&looks, 5, 2), completed(&looks, 7, 1)), (None, None));
        looks.see(&[]);
        assert_eq!(completed(&looks, 5, 1), None);
    }

    /// A session is judged at its last record: what was lost before must have been said by then.
    #[test]
    fn regress_loss_is_told_before_what_was_read_with_it() {
        let loss = Loss { t: 50, ring: 1, ..Loss::default() };
        let clock = |t| Record::Clock(Clock { t, wall_ns: 0 });
        assert_eq!(behind_loss(Some(loss), vec![clock(7), clock(9)]), [Record::Loss(loss), clock(7), clock(9)]);
        assert_eq!(behind_loss(None, vec![clock(7)]), [clock(7)]);
        assert_eq!(behind_loss(Some(loss), Vec::new()), [Record::Loss(loss)]);
    }
}
