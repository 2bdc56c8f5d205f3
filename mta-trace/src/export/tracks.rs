//! Timelines: which slices stand on which track, for every format that draws them.
//!
//! In: records and sessions. Out: calls of [`Draw`], a track before its first slice. A session stands on the track of
//! its process, with the process's calls in it; whom it waited for has a track in that one's process. Invariants: a
//! track's slices never overlap; at most [`MAX_HELD`] calls are held back. Not here: bytes of a format.

use super::slices::{self, Category, FarEnd, Slice, Value};
use super::{Error, Export};
use crate::event::{Block, Exit, Helper, Record, Sys};
use crate::report::{Began, Report, Session};
use crate::view::accepts::Accepts;
use crate::view::strace_args::{self, Style, Told};
use std::collections::{HashMap, HashSet, VecDeque};

/// How many calls are held until it is known in which session's waits they lie: all processes, and one.
const MAX_HELD: usize = 50_000;
const MAX_HELD_OF_ONE: usize = 20_000;
/// How many processes, threads and drawn tracks are remembered; whoever is forgotten is drawn anew, or less exactly.
const MAX_KNOWN: usize = 32_768;

/// How many processes that have ended are remembered: the session of one comes right behind its end.
const MAX_EXITED: usize = 64;

/// Where something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Track {
    /// Marks of a whole process.
    Process(u32),
    /// A thread.
    Thread { pid: u32, tid: u32 },
    /// Something in a process that is none of its threads' own.
    Lane { pid: u32, number: u64 },
}

impl Track {
    pub fn pid(self) -> u32 {
        match self {
            Self::Process(pid) | Self::Thread { pid, .. } | Self::Lane { pid, .. } => pid,
        }
    }
}

/// What a format makes of it. Times are of the monotonic clock, ns.
pub(super) trait Draw {
    /// What the wall clock said.
    fn clock(&mut self, t: u64, wall_ns: i64) -> Result<(), Error>;
    /// Names a track; that of its process has been named before.
    fn track(&mut self, track: Track, name: &str) -> Result<(), Error>;
    /// A slice and all that lies in it, or a mark.
    fn tree(&mut self, track: Track, slice: &Slice) -> Result<(), Error>;
    /// A figure that lasts until the next.
    fn counter(&mut self, name: &'static str, t: u64, value: u64) -> Result<(), Error>;
    /// The last.
    fn finish(&mut self) -> Result<(), Error>;
}

#[derive(Default)]
struct Process {
    comm: String,
    /// Its calls belong to no session: they are drawn as they come.
    is_apart: bool,
    /// Calls of its first thread, until they are drawn.
    held: Vec<Slice>,
    /// Calls that were not held, since the last session.
    left_out: u64,
}

/// The export of a timeline.
pub(super) struct Timeline<D> {
    draw: D,
    processes: HashMap<u32, Process>,
    drawn: HashSet<Track>,
    /// Processes that have ended, the last one at the end.
    exited: VecDeque<u32>,
    /// Until when the threads' tracks are taken.
    taken: HashMap<u32, u64>,
    accepts: Accepts,
    ready: u64,
    boot_to_wall_ns: i64,
    held: usize,
    flow: u64,
    lane: u64,
    lost: u64,
    /// So many processes are too many.
    full_at: usize,
}

impl<D: Draw> Timeline<D> {
    pub fn new(draw: D) -> Self {
        Self {
            draw,
            processes: HashMap::new(),
            drawn: HashSet::new(),
            exited: VecDeque::new(),
            taken: HashMap::new(),
            accepts: Accepts::default(),
            ready: 0,
            boot_to_wall_ns: 0,
            held: 0,
            flow: 0,
            lane: 0,
            lost: 0,
            full_at: MAX_KNOWN,
        }
    }

    /// What is known of a process. Of too many those are forgotten of which nothing is held.
    fn process(&mut self, pid: u32) -> &mut Process {
        if self.processes.len() >= self.full_at && !self.processes.contains_key(&pid) {
            self.processes.retain(|_, process| !process.held.is_empty());
            // Not again before there are many more: to look through all for each new one takes too long.
            self.full_at = MAX_KNOWN.max(self.processes.len() + MAX_KNOWN / 2);
        }
        self.processes.entry(pid).or_default()
    }

    fn named(&mut self, pid: u32, comm: &str) {
        let process = self.process(pid);
        if process.comm != comm {
            comm.clone_into(&mut process.comm);
            self.drawn.remove(&Track::Process(pid));
            self.drawn.remove(&Track::Thread { pid, tid: pid });
        }
    }

    /// A track that has its name.
    fn track(&mut self, track: Track, name: &str) -> Result<Track, Error> {
        if self.drawn.len() >= MAX_KNOWN {
            self.drawn.clear();
        }
        let pid = track.pid();
        let comm = self.processes.get(&pid).map_or("", |process| &process.comm);
        if self.drawn.insert(Track::Process(pid)) {
            self.draw.track(Track::Process(pid), comm)?;
        }
        if self.drawn.insert(track) {
            self.draw.track(track, if name.is_empty() { comm } else { name })?;
        }
        Ok(track)
    }

    /// A track of its own for something that may overlap others.
    fn lane(&mut self, pid: u32, name: &str) -> Result<Track, Error> {
        self.lane += 1;
        let number = self.lane;
        // Nothing else is ever drawn there.
        let track = self.track(Track::Lane { pid, number }, name)?;
        self.drawn.remove(&track);
        Ok(track)
    }

    /// A thread's track is taken until then.
    fn take(&mut self, tid: u32, end: u64) {
        if self.taken.len() >= MAX_KNOWN {
            // Nothing comes any more to the tracks that have been quiet for longest.
            let mut ends: Vec<u64> = self.taken.values().copied().collect();
            let (_, middle, _) = ends.select_nth_unstable(MAX_KNOWN / 2);
            let middle = *middle;
            self.taken.retain(|_, end| *end > middle);
        }
        self.taken.insert(tid, end);
    }

    /// A call on its thread's track, behind what stands there.
    fn plain(&mut self, pid: u32, tid: u32, mut slice: Slice) -> Result<(), Error> {
        slice.start = slice.start.max(self.taken.get(&tid).copied().unwrap_or_default());
        slice.end = slice.end.max(slice.start);
        self.take(tid, slice.end);
        let track = self.track(Track::Thread { pid, tid }, "")?;
        self.draw.tree(track, &slice)
    }

    fn call(&mut self, pid: u32, tid: u32, slice: Slice) -> Result<(), Error> {
        let process = self.process(pid);
        if process.is_apart || tid != pid {
            return self.plain(pid, tid, slice);
        }
        if process.held.len() >= MAX_HELD_OF_ONE {
            process.left_out = process.left_out.saturating_add(1);
            return Ok(());
        }
        process.held.push(slice);
        self.held += 1;
        if self.held <= MAX_HELD {
            return Ok(());
        }
        // Half of them at once, of those that have most.
        let mut all: Vec<(usize, u32)> =
            self.processes.iter().map(|(pid, process)| (process.held.len(), *pid)).filter(|(held, _)| *held > 0).collect();
        all.sort_unstable();
        while self.held > MAX_HELD / 2
            && let Some((_, pid)) = all.pop()
        {
            self.release(pid)?;
        }
        Ok(())
    }

    /// Draws what is held of a process.
    fn release(&mut self, pid: u32) -> Result<(), Error> {
        let held = self.processes.get_mut(&pid).map(|process| std::mem::take(&mut process.held)).unwrap_or_default();
        self.held = self.held.saturating_sub(held.len());
        held.into_iter().try_for_each(|slice| self.plain(pid, pid, slice))
    }

    fn sys(&mut self, sys: &Sys) -> Result<(), Error> {
        let descriptors = HashMap::new();
        let style = Style { descriptors: &descriptors, unknown: Some("..."), string: 200 };
        let parts = strace_args::arguments(&Told { pid: sys.pid, call: sys.call, args: &sys.args, sys: Some(sys) }, &style);
        let mut slice = Slice::new(Category::Call, sys.call.name().to_owned(), sys.start.unwrap_or(sys.t).min(sys.t), sys.t);
        slice.text("call", &format!("{}({}{}) = {}", sys.call.name(), parts.entry, parts.exit, strace_args::result(sys, &style)));
        if let Some(peer) = &sys.peer {
            slice.text("peer", &peer.to_string());
        }
        self.call(sys.pid, sys.tid, slice)
    }

    fn block(&mut self, block: &Block) -> Result<(), Error> {
        // Looks at what has not ended come again as what it was.
        if block.unfinished {
            return Ok(());
        }
        let name = block.call.as_ref().or(block.cause.as_ref()).cloned().unwrap_or_else(|| format!("syscall_{}", block.nr));
        let name = crate::view::escape::escape(&name).into_owned();
        self.call(block.pid, block.tid, Slice::new(Category::Call, name, block.since.min(block.t), block.t))
    }

    fn exit(&mut self, exit: &Exit) -> Result<(), Error> {
        if let (Some(call), Some(since)) = (&exit.call, exit.since) {
            let mut slice = Slice::new(Category::Call, crate::view::escape::escape(call).into_owned(), since.min(exit.t), exit.t);
            slice.text("ended", "the thread was killed in it");
            self.call(exit.pid, exit.tid, slice)?;
        }
        if exit.tid != exit.pid {
            self.drawn.remove(&Track::Thread { pid: exit.pid, tid: exit.tid });
            return Ok(());
        }
        self.exited.push_back(exit.pid);
        if self.exited.len() > MAX_EXITED { self.exited.pop_front().map_or(Ok(()), |pid| self.forget(pid)) } else { Ok(()) }
    }

    /// A process will do nothing any more: what is held of it is drawn.
    fn forget(&mut self, pid: u32) -> Result<(), Error> {
        self.release(pid)?;
        self.processes.remove(&pid);
        self.drawn.remove(&Track::Process(pid));
        self.drawn.remove(&Track::Thread { pid, tid: pid });
        Ok(())
    }

    fn helper(&mut self, helper: &Helper) -> Result<(), Error> {
        self.named(helper.pid, &helper.comm);
        self.release(helper.pid)?;
        if let Some(process) = self.processes.get_mut(&helper.pid) {
            process.is_apart = true;
        }
        let mut mark = Slice::new(Category::FarEnd, "traced from here".to_owned(), helper.t, helper.t);
        mark.text("program", &helper.exe);
        mark.note("waiter", Value::Count(helper.waiter.into()));
        let track = self.track(Track::Process(helper.pid), "")?;
        self.draw.tree(track, &mark)
    }

    /// When a session began: its accept, else as the wall clock had it.
    fn began(&mut self, session: &Session) -> u64 {
        let accept = self.accepts.take(&session.client);
        if session.began == Began::Seeded {
            return self.ready;
        }
        let wall = || {
            let wall = session.started.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_nanosecond).unwrap_or_default();
            u64::try_from(wall.saturating_sub(i128::from(self.boot_to_wall_ns))).unwrap_or_default()
        };
        accept.unwrap_or_else(wall)
    }

    fn far_end(&mut self, far: FarEnd) -> Result<(), Error> {
        let FarEnd { pid, comm, slices } = far;
        if !self.processes.contains_key(&pid) {
            self.named(pid, &comm);
        }
        for slice in slices::nest(slices) {
            let track = self.lane(pid, "waited for")?;
            self.draw.tree(track, &slice)?;
        }
        Ok(())
    }
}

impl<D: Draw> Export for Timeline<D> {
    fn record(&mut self, record: &Record) -> Result<(), Error> {
        self.accepts.record(record);
        match record {
            Record::Header(header) => {
                self.ready = header.attach_ns[1];
                self.boot_to_wall_ns = header.boot_to_wall_ns;
                let t = header.attach_ns[0];
                self.draw.clock(t, i64::try_from(t).map_or(0, |t| header.boot_to_wall_ns.saturating_add(t)))
            }
            Record::Clock(clock) => {
                self.boot_to_wall_ns = i64::try_from(clock.t).map_or(self.boot_to_wall_ns, |t| clock.wall_ns.saturating_sub(t));
                self.draw.clock(clock.t, clock.wall_ns)
            }
            Record::SeedProc(seed) => {
                self.named(seed.pid, &seed.comm);
                if let Some(process) = self.processes.get_mut(&seed.pid) {
                    process.is_apart = !matches!(seed.role.as_deref(), Some("server" | "session"));
                }
                Ok(())
            }
            Record::Sys(sys) => self.sys(sys),
            Record::Block(block) => self.block(block),
            Record::Fork(fork) if fork.child != fork.pid => {
                // The number is another process's from now on.
                self.exited.retain(|pid| *pid != fork.child);
                self.forget(fork.child)?;
                self.named(fork.child, &fork.comm);
                Ok(())
            }
            Record::Exec(exec) => {
                self.named(exec.pid, &exec.comm);
                Ok(())
            }
            Record::Exit(exit) => self.exit(exit),
            Record::Helper(helper) => self.helper(helper),
            Record::Daemon(daemon) => {
                let Some(state) = &daemon.state else { return Ok(()) };
                let mut mark = Slice::new(Category::FarEnd, "says of itself".to_owned(), daemon.t, daemon.t);
                mark.text("state", state);
                let track = self.track(Track::Process(daemon.pid), "")?;
                self.draw.tree(track, &mark)
            }
            Record::Loss(loss) => {
                let lost = loss.ring.saturating_add(loss.tables);
                if lost == self.lost {
                    return Ok(());
                }
                self.lost = lost;
                self.draw.counter("events lost", loss.t, lost)
            }
            Record::Fork(_)
            | Record::SeedFd(_)
            | Record::SeedFile(_)
            | Record::SeedSettings(_)
            | Record::Backlog(_)
            | Record::Release(_)
            | Record::Malformed(_)
            | Record::End(_) => Ok(()),
        }
    }

    fn session(&mut self, session: &Session) -> Result<(), Error> {
        let t = self.began(session);
        let pid = session.pid;
        let (mut slices, far) = slices::of_session(session, t, &mut self.flow);
        let end = slices.first().map_or(t, |whole| whole.end);
        let is_free = self.taken.get(&pid).is_none_or(|taken| *taken <= t);
        let process = self.process(pid);
        let is_alone = !process.is_apart && is_free;
        let left_out = std::mem::take(&mut process.left_out);
        if is_alone {
            // What it did before goes before it, what it does behind it waits for the next.
            let held = std::mem::take(&mut process.held);
            let held_count = held.len();
            let (before, rest): (Vec<_>, Vec<_>) = held.into_iter().partition(|call| call.end <= t && call.start < t);
            let (inside, behind): (Vec<_>, Vec<_>) = rest.into_iter().partition(|call| call.start <= end);
            let kept = behind.len();
            process.held = behind;
            self.held = self.held.saturating_sub(held_count).saturating_add(kept);
            for call in before {
                self.plain(pid, pid, call)?;
            }
            slices.extend(inside.into_iter().map(|call| Slice { start: call.start.max(t), end: call.end.clamp(t, end), ..call }));
        }
        if left_out > 0
            && let Some(whole) = slices.first_mut()
        {
            whole.note("calls_left_out", Value::Count(left_out));
        }
        let track = if is_alone { self.track(Track::Thread { pid, tid: pid }, "")? } else { self.lane(pid, "sessions")? };
        if is_alone {
            self.take(pid, end);
        }
        for slice in slices::nest(slices) {
            self.draw.tree(track, &slice)?;
        }
        far.into_iter().try_for_each(|far| self.far_end(far))
    }

    fn finish(&mut self, _totals: &Report) -> Result<(), Error> {
        let mut rest: Vec<u32> = self.processes.iter().filter(|(_, process)| !process.held.is_empty()).map(|(pid, _)| *pid).collect();
        rest.sort_unstable();
        for pid in rest {
            self.release(pid)?;
        }
        self.draw.finish()
    }
}
