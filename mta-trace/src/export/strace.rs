//! `strace` and `strace-ff`: the calls as `strace -f -ttt -T -o FILE` and `strace -ff -ttt -T -o PREFIX` write them.
//!
//! In: records. Out: `PID TIME call(args) = result <duration>`; a call during which others told something is
//! `<unfinished ...>` and `<... call resumed>`. Invariant: what the log does not hold is `...` or `?` or not there: of a
//! call that did not block no duration is known, and its time is that of its return. Not here: how arguments are written
//! (`view/strace_args.rs`), lines that are no calls but those of exits.

use super::{Error, Export, Form, Format, Output};
use crate::event::{Block, Exit, Record, Sys};
use crate::report::Report;
use crate::view::escape::escape;
use crate::view::strace::{seconds, wall};
use crate::view::strace_args::{self, Parts, Style, Told};
use mta_trace_common::syscalls::Call;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

/// The lines of the table.
pub const FORMAT: Format = Format {
    name: "strace",
    about: "Calls as strace -f -ttt -T -o FILE writes them",
    form: Form::File,
    begin: |output| Ok(Box::new(Strace::new(Merged { out: output.stream()?, waiting: BinaryHeap::new(), number: 0, reached: 0, open: None }))),
};
/// See [`FORMAT`].
pub const BY_PROCESS: Format = Format {
    name: "strace-ff",
    about: "The same in one file for each process, as strace -ff -o PREFIX: FOLDER/strace.PID",
    form: Form::Folder,
    begin: |output| match output {
        Output::Folder(folder) => Ok(Box::new(Strace::new(Split { folder, files: HashMap::new() }))),
        Output::Stream(_) | Output::Table { .. } | Output::Endpoint { .. } => {
            Err(Error::Output("this format is written into several files; name a folder by -o".to_owned()))
        }
    },
};

/// Lines that are held back, so that a call that blocked stands where it began.
const WINDOW: usize = 50_000;
/// Files that are open at a time.
const MAX_FILES: usize = 128;
/// Column of the result, as strace has it without `-a`.
const COLUMN: usize = 40;
/// Threads that are remembered.
const MAX_LOOKS: usize = 16_384;

/// A line, whole or to be torn.
struct Line {
    tid: u32,
    /// When the call blocked, if it did.
    start: Option<(u64, String)>,
    t: u64,
    /// The wall clock at `t`.
    time: String,
    name: String,
    /// Name and arguments as far as they are known when the call begins.
    head: String,
    /// The others, and the parenthesis.
    rest: String,
    /// `= 0 <0.1>`; empty: there is no result.
    result: String,
}

impl Line {
    fn whole(&self, leader: &str) -> String {
        let time = self.start.as_ref().map_or(&self.time, |(_, time)| time);
        with_result(&format!("{leader}{time} {}{}", self.head, self.rest), &self.result)
    }
}

fn with_result(text: &str, result: &str) -> String {
    if result.is_empty() { format!("{text}\n") } else { format!("{:<width$}{result}\n", format!("{text} "), width = COLUMN) }
}

fn leader(tid: u32) -> String {
    format!("{tid:<5} ")
}

/// Where lines go.
trait Lines {
    fn line(&mut self, line: Line) -> Result<(), Error>;
    fn finish(&mut self) -> Result<(), Error>;
}

/// Records as lines.
struct Strace<L> {
    lines: L,
    boot_to_wall_ns: i64,
    /// Calls that had not returned when they were last looked at.
    looks: HashMap<u32, Block>,
    /// When each thread's last line ended.
    ends: HashMap<u32, u64>,
}

impl<L: Lines> Strace<L> {
    fn new(lines: L) -> Self {
        Self { lines, boot_to_wall_ns: 0, looks: HashMap::new(), ends: HashMap::new() }
    }

    fn wall(&self, t: u64) -> String {
        wall(t, self.boot_to_wall_ns)
    }

    /// When a call of a thread blocked. What blocked before it ends a few hundred ns later: a thread has one line at a time.
    fn start(&mut self, tid: u32, start: Option<u64>, t: u64) -> Option<(u64, String)> {
        if self.ends.len() >= MAX_LOOKS {
            self.ends.clear();
        }
        let end = self.ends.insert(tid, t).unwrap_or_default();
        start.map(|start| start.max(end).min(t)).map(|start| (start, self.wall(start)))
    }

    fn sys(&mut self, sys: &Sys) -> Result<(), Error> {
        self.looks.remove(&sys.tid);
        let descriptors = HashMap::new();
        let style = Style { descriptors: &descriptors, unknown: Some("..."), string: usize::MAX };
        let parts = strace_args::arguments(&Told { pid: sys.pid, call: sys.call, args: &sys.args, sys: Some(sys) }, &style);
        let name = sys.call.name();
        let took = sys.start.map(|start| format!(" <{}>", seconds(sys.t.saturating_sub(start)))).unwrap_or_default();
        let start = self.start(sys.tid, sys.start, sys.t);
        self.lines.line(Line {
            tid: sys.tid,
            start,
            t: sys.t,
            time: self.wall(sys.t),
            name: name.to_owned(),
            head: format!("{name}({}", parts.entry),
            rest: format!("{})", parts.exit),
            result: format!("= {}{took}", strace_args::result(sys, &style)),
        })
    }

    /// What blocked and whose return was not told.
    fn block(&mut self, block: &Block) -> Result<(), Error> {
        if block.unfinished {
            if self.looks.len() < MAX_LOOKS || self.looks.contains_key(&block.tid) {
                self.looks.insert(block.tid, block.clone());
            }
            return Ok(());
        }
        self.looks.remove(&block.tid);
        let Some((name, arguments)) = name_and_arguments(block) else { return Ok(()) };
        let took = seconds(block.t.saturating_sub(block.since));
        let start = self.start(block.tid, Some(block.since), block.t);
        self.lines.line(Line {
            tid: block.tid,
            start,
            t: block.t,
            time: self.wall(block.t),
            head: format!("{name}({}", arguments.entry),
            name,
            rest: format!("{})", arguments.exit),
            result: format!("= ? <{took}>"),
        })
    }

    fn exit(&mut self, exit: &Exit) -> Result<(), Error> {
        let look = self.looks.remove(&exit.tid);
        if let Some(call) = &exit.call {
            let name = escape(call).into_owned();
            let arguments = look.as_ref().filter(|look| look.call.as_ref() == Some(call)).and_then(name_and_arguments);
            let start = self.start(exit.tid, exit.since, exit.t);
            self.lines.line(Line {
                tid: exit.tid,
                start,
                t: exit.t,
                time: self.wall(exit.t),
                head: format!("{name}({}", arguments.map(|(_, arguments)| arguments.entry).unwrap_or_default()),
                name,
                rest: " <unfinished ...>)".to_owned(),
                result: "= ?".to_owned(),
            })?;
        }
        self.ends.remove(&exit.tid);
        let how = match exit.signal {
            Some(signal) => format!("killed by {}", signal_name(signal)),
            None => format!("exited with {}", exit.code),
        };
        self.lines.line(Line {
            tid: exit.tid,
            start: None,
            t: exit.t,
            time: self.wall(exit.t),
            name: String::new(),
            head: format!("+++ {how} +++"),
            rest: String::new(),
            result: String::new(),
        })
    }
}

/// Of a call; a page fault is none.
fn name_and_arguments(block: &Block) -> Option<(String, Parts)> {
    let unknown = || Parts { entry: "...".to_owned(), exit: String::new() };
    let Some(name) = &block.call else {
        return (block.nr >= 0).then(|| (format!("syscall_{:#x}", block.nr), unknown()));
    };
    let descriptors = HashMap::new();
    let style = Style { descriptors: &descriptors, unknown: Some("..."), string: usize::MAX };
    let arguments = match (Call::by_name(name), &block.args) {
        (Some(call), Some(args)) => strace_args::arguments(&Told { pid: block.pid, call, args, sys: None }, &style),
        _ => unknown(),
    };
    Some((escape(name).into_owned(), arguments))
}

/// `SIGKILL`; real-time signals have no names here.
fn signal_name(signal: u32) -> String {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT",
        "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    let index = usize::try_from(signal).ok().and_then(|signal| signal.checked_sub(1));
    index.and_then(|index| NAMES.get(index)).map_or_else(|| format!("{signal}"), |name| format!("SIG{name}"))
}

impl<L: Lines> Export for Strace<L> {
    fn record(&mut self, record: &Record) -> Result<(), Error> {
        match record {
            Record::Header(header) => self.boot_to_wall_ns = header.boot_to_wall_ns,
            Record::Clock(clock) => {
                self.boot_to_wall_ns = i64::try_from(clock.t).map_or(self.boot_to_wall_ns, |t| clock.wall_ns.saturating_sub(t));
            }
            Record::Sys(sys) => self.sys(sys)?,
            Record::Block(block) => self.block(block)?,
            Record::Exit(exit) => self.exit(exit)?,
            // strace shows forks and execs as calls, of which the log knows neither name nor arguments.
            Record::Fork(_)
            | Record::Exec(_)
            | Record::SeedProc(_)
            | Record::SeedFd(_)
            | Record::SeedFile(_)
            | Record::SeedSettings(_)
            | Record::Backlog(_)
            | Record::Daemon(_)
            | Record::Helper(_)
            | Record::Release(_)
            | Record::Loss(_)
            | Record::Malformed(_)
            | Record::End(_) => {}
        }
        Ok(())
    }

    fn finish(&mut self, _totals: &Report) -> Result<(), Error> {
        let mut looks: Vec<Block> = std::mem::take(&mut self.looks).into_values().collect();
        looks.sort_by_key(|look| (look.since, look.tid));
        for look in looks {
            let Some((name, arguments)) = name_and_arguments(&look) else { continue };
            self.lines.line(Line {
                tid: look.tid,
                start: None,
                t: look.since,
                time: self.wall(look.since),
                head: format!("{name}({} <detached ...>", arguments.entry),
                name,
                rest: String::new(),
                result: String::new(),
            })?;
        }
        self.lines.finish()
    }
}

/// A part of a line that waits for its turn.
struct Piece {
    tid: u32,
    time: String,
    what: What,
}

enum What {
    /// Also without its end.
    Begin(String),
    End {
        name: String,
        rest: String,
        result: String,
    },
    Whole(String),
}

/// All processes in one file, by time.
struct Merged {
    out: Box<dyn Write>,
    waiting: BinaryHeap<Reverse<Turn>>,
    number: u64,
    /// What is earlier has its place behind.
    reached: u64,
    /// Whose line has no end yet, and its width.
    open: Option<(u32, usize)>,
}

/// A piece and its turn.
struct Turn {
    t: u64,
    number: u64,
    piece: Piece,
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Turn {}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.t, self.number).cmp(&(other.t, other.number))
    }
}

impl Merged {
    fn wait(&mut self, t: u64, piece: Piece) -> Result<(), Error> {
        self.number += 1;
        self.waiting.push(Reverse(Turn { t, number: self.number, piece }));
        if self.waiting.len() > WINDOW { self.next().map(|_| ()) } else { Ok(()) }
    }

    fn next(&mut self) -> Result<bool, Error> {
        let Some(Reverse(Turn { t, number: _, piece: Piece { tid, time, what } })) = self.waiting.pop() else { return Ok(false) };
        self.reached = self.reached.max(t);
        let open = self.open.take();
        let is_own = open.is_some_and(|(whose, _)| whose == tid) && matches!(what, What::End { .. });
        if open.is_some() && !is_own {
            self.out.write_all(b" <unfinished ...>\n")?;
        }
        let leader = leader(tid);
        match what {
            What::Whole(text) => self.out.write_all(text.as_bytes())?,
            What::Begin(head) => {
                let text = format!("{leader}{time} {head}");
                self.out.write_all(text.as_bytes())?;
                self.open = Some((tid, text.len()));
            }
            What::End { rest, result, .. } if is_own => {
                // As if it had been written at once.
                let width = COLUMN.saturating_sub(open.map_or(0, |(_, width)| width));
                writeln!(self.out, "{:<width$}{result}", format!("{rest} "))?;
            }
            What::End { name, rest, result } => {
                self.out.write_all(with_result(&format!("{leader}{time} <... {name} resumed>{rest}"), &result).as_bytes())?;
            }
        }
        Ok(true)
    }
}

impl Lines for Merged {
    fn line(&mut self, line: Line) -> Result<(), Error> {
        let is_whole = line.start.as_ref().is_none_or(|(start, _)| *start < self.reached || *start == line.t);
        if is_whole {
            let text = line.whole(&leader(line.tid));
            return self.wait(line.t, Piece { tid: line.tid, time: line.time, what: What::Whole(text) });
        }
        let Line { tid, start, t, time, name, head, rest, result } = line;
        if let Some((start, began)) = start {
            self.wait(start, Piece { tid, time: began, what: What::Begin(head) })?;
        }
        self.wait(t, Piece { tid, time, what: What::End { name, rest, result } })
    }

    fn finish(&mut self) -> Result<(), Error> {
        while self.next()? {}
        if self.open.take().is_some() {
            self.out.write_all(b" <unfinished ...>\n")?;
        }
        Ok(self.out.flush()?)
    }
}

/// Each thread in its own file.
struct Split {
    folder: PathBuf,
    files: HashMap<u32, BufWriter<File>>,
}

impl Lines for Split {
    fn line(&mut self, line: Line) -> Result<(), Error> {
        if self.files.len() >= MAX_FILES && !self.files.contains_key(&line.tid) {
            self.finish()?;
        }
        let file = match self.files.entry(line.tid) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                let path = self.folder.join(format!("strace.{}", line.tid));
                new.insert(BufWriter::new(OpenOptions::new().append(true).create(true).open(path)?))
            }
        };
        Ok(file.write_all(line.whole("").as_bytes())?)
    }

    fn finish(&mut self) -> Result<(), Error> {
        for (_, mut file) in self.files.drain() {
            file.flush()?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "strace_tests.rs"]
mod tests;
