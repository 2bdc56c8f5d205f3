//! What tracing costs a process that has nothing to do with the mail server: single system calls, context switches and connections of this
//! very process, while a tracer is attached to the lab's daemon with each back end in turn.

use crate::{tracer::Tracer, variant::watcher};
use anyhow::{Context as _, Result};
use lab::Lab;
use rustix::event::{PollFd, PollFlags, poll};
use std::{
    fmt::Write as _,
    fs::File,
    io::{Read as _, Write as _, pipe},
    net::{Ipv4Addr, TcpListener, TcpStream},
    time::Instant,
};

/// Back ends that the kernel attaches are measured.
const BACK_ENDS: [&str; 2] = ["fentry", "tracepoint"];
/// Rounds, in each of which every back end has its turn.
const ROUNDS: usize = 7;

/// One kind of work: what it is called, how often it is done at a time, and how.
struct Work {
    name: &'static str,
    times: u32,
    run: fn(u32) -> Result<()>,
}

const WORK: [Work; 5] = [
    Work { name: "`getppid` (not hooked)", times: 200_000, run: getppid },
    Work { name: "`read` of one byte", times: 200_000, run: read },
    Work { name: "`poll` of one descriptor", times: 200_000, run: poll_one },
    Work { name: "pipe ping-pong (two context switches)", times: 20_000, run: ping_pong },
    Work { name: "`connect`, `accept`, `close` on loopback", times: 3_000, run: connect },
];

/// Times of all work, ns each time it is done, in one round with one tracer.
pub struct Neighbour {
    /// `None`: no tracer.
    pub back_end: Option<&'static str>,
    pub times_ns: Vec<f64>,
}

/// Names of the work, in the order of the times.
pub fn names() -> impl Iterator<Item = &'static str> {
    WORK.iter().map(|work| work.name)
}

/// Measures all of it.
pub fn measure(lab: &Lab) -> Result<Vec<Neighbour>> {
    let output = lab.dir().join("bench-output");
    let able: Vec<&'static str> = BACK_ENDS.into_iter().filter(|hooks| is_able(lab, hooks)).collect();
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        all.push(Neighbour { back_end: None, times_ns: times()? });
        for hooks in &able {
            let tracer = Tracer::start(watcher(lab.daemon_pid(), &output, hooks)?, lab::tracer::READY)?;
            let times_ns = times()?;
            tracer.stop()?;
            all.push(Neighbour { back_end: Some(hooks), times_ns });
        }
    }
    Ok(all)
}

/// Whether this kernel attaches a back end at all.
fn is_able(lab: &Lab, hooks: &str) -> bool {
    let output = lab.dir().join("bench-output");
    watcher(lab.daemon_pid(), &output, hooks).and_then(|command| Tracer::start(command, lab::tracer::READY)).and_then(Tracer::stop).is_ok()
}

/// The least of three runs of each: what comes from outside only adds.
fn times() -> Result<Vec<f64>> {
    let time = |work: &Work| -> Result<f64> {
        let mut least = f64::INFINITY;
        for _ in 0..3 {
            let began = Instant::now();
            (work.run)(work.times)?;
            least = least.min(began.elapsed().as_secs_f64() * 1e9 / f64::from(work.times));
        }
        Ok(least)
    };
    WORK.iter().map(time).collect()
}

/// Instructions of one call, on a machine whose clock goes on by a nanosecond an instruction, as a table: `cargo xtask kernels --icount`.
pub fn instructions(lab: &Lab) -> Result<String> {
    let mut text = "| a neighbour's call |".to_owned();
    let calls = WORK.get(..3).unwrap_or_default();
    let mut rows: Vec<Vec<f64>> = vec![counted(calls)?];
    text.push_str(" no tracer |");
    for hooks in BACK_ENDS.into_iter().filter(|hooks| is_able(lab, hooks)) {
        let tracer = Tracer::start(watcher(lab.daemon_pid(), &lab.dir().join("bench-output"), hooks)?, lab::tracer::READY)?;
        rows.push(counted(calls)?);
        tracer.stop()?;
        let _ = write!(text, " {hooks} |");
    }
    let _ = write!(text, "\n|---|{}", "---:|".repeat(rows.len()));
    let without = rows.first().cloned().unwrap_or_default();
    for (i, Work { name, .. }) in calls.iter().enumerate() {
        let _ = write!(text, "\n| {name} |");
        for (column, row) in rows.iter().enumerate() {
            let (count, base) = (row.get(i).copied().unwrap_or(f64::NAN), without.get(i).copied().unwrap_or(f64::NAN));
            let _ = if column == 0 { write!(text, " {count:.0} |") } else { write!(text, " {count:.0} ({:+.0}) |", count - base) };
        }
    }
    text.push('\n');
    Ok(text)
}

/// The least of many short runs: what interrupts one is not the call's.
fn counted(calls: &[Work]) -> Result<Vec<f64>> {
    const TIMES: u32 = 1000;
    let count = |work: &Work| -> Result<f64> {
        let mut least = f64::INFINITY;
        for _ in 0..100 {
            let began = Instant::now();
            (work.run)(TIMES)?;
            least = least.min(began.elapsed().as_secs_f64() * 1e9 / f64::from(TIMES));
        }
        Ok(least)
    };
    calls.iter().map(count).collect()
}

#[expect(clippy::unnecessary_wraps, reason = "the same signature as the others'")]
fn getppid(times: u32) -> Result<()> {
    for _ in 0..times {
        std::hint::black_box(rustix::process::getppid());
    }
    Ok(())
}

fn read(times: u32) -> Result<()> {
    let mut zero = File::open("/dev/zero").context("open /dev/zero")?;
    let mut byte = [0];
    (0..times).try_for_each(|_| zero.read_exact(&mut byte)).context("read /dev/zero")
}

fn poll_one(times: u32) -> Result<()> {
    let zero = File::open("/dev/zero").context("open /dev/zero")?;
    for _ in 0..times {
        poll(&mut [PollFd::new(&zero, PollFlags::IN)], Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 })).context("poll")?;
    }
    Ok(())
}

fn ping_pong(times: u32) -> Result<()> {
    let ((to_read, to_write), (back_read, back_write)) = (pipe().context("pipe")?, pipe().context("pipe")?);
    let other = std::thread::spawn(move || {
        let (mut from, mut to, mut byte) = (to_read, back_write, [0]);
        // Until the pipe is closed.
        while from.read_exact(&mut byte).is_ok() && to.write_all(&byte).is_ok() {}
    });
    let (mut to, mut from, mut byte) = (to_write, back_read, [0]);
    let result = (0..times).try_for_each(|_| to.write_all(&byte).and_then(|()| from.read_exact(&mut byte)));
    drop((to, from));
    let _ = other.join();
    result.context("a pipe")
}

fn connect(times: u32) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen on loopback")?;
    let to = listener.local_addr().context("own address")?;
    for _ in 0..times {
        let client = TcpStream::connect(to).context("connect to loopback")?;
        let (server, _) = listener.accept().context("accept")?;
        // The server's end first: the ports of the other end are free again at once.
        drop(server);
        drop(client);
    }
    Ok(())
}
