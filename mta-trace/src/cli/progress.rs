//! How far a long reading has come: one line on a terminal, which goes when it is over.
//!
//! In: the bytes that were read. Out: on standard error, if that is a terminal, at most ten times a second. Not here: what is read.

use std::cell::Cell;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(100);
/// What is over sooner needs no line.
const FIRST: Duration = Duration::from_millis(500);
/// Characters of the bar.
const BAR: u32 = 20;

/// Bytes of a source, counted.
pub struct Counted<R> {
    inner: R,
    bytes: Rc<Cell<u64>>,
}

impl<R> Counted<R> {
    /// Nothing read yet; and the count.
    pub fn new(inner: R) -> (Self, Rc<Cell<u64>>) {
        let bytes = Rc::new(Cell::new(0));
        (Self { inner, bytes: Rc::clone(&bytes) }, bytes)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.set(self.bytes.get().saturating_add(u64::try_from(read).unwrap_or(u64::MAX)));
        Ok(read)
    }
}

/// The line.
pub struct Progress {
    is_shown: bool,
    bytes: Rc<Cell<u64>>,
    /// How many there are, where that is known.
    all: Option<u64>,
    began: Instant,
    next: Instant,
    has_line: bool,
}

impl Progress {
    /// Of so many bytes.
    pub fn new(bytes: Rc<Cell<u64>>, all: Option<u64>) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let began = Instant::now();
        Self { is_shown: io::stderr().is_terminal() && !is_dumb, bytes, all, began, next: began + FIRST, has_line: false }
    }

    /// Something was read.
    pub fn step(&mut self) {
        if !self.is_shown {
            return;
        }
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + PAUSE;
        self.has_line = true;
        // Nobody may be there to read it.
        let _ = write!(io::stderr(), "\r\x1b[2K{}", line(self.bytes.get(), self.all, now - self.began));
    }

    /// Takes the line away, before something else is said.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.has_line) {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// `[#######-------------]  37 %  379 of 1024 MiB, 81 MiB/s, 8 s left`.
fn line(bytes: u64, all: Option<u64>, time: Duration) -> String {
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    let rate = bytes as f64 / time.as_secs_f64().max(0.001);
    let mut text = String::new();
    let written = match all.filter(|all| *all > 0) {
        Some(all) => {
            let share = (bytes as f64 / all as f64).clamp(0.0, 1.0);
            let done: String = (0..BAR).map(|at| if f64::from(at) < share * f64::from(BAR) { '#' } else { '-' }).collect();
            let left = all.saturating_sub(bytes) as f64 / rate.max(1.0);
            write!(
                text,
                "[{done}] {:3.0} %  {:.0} of {:.0} MiB, {:.0} MiB/s, {left:.0} s left",
                share * 100.0,
                mib(bytes as f64),
                mib(all as f64),
                mib(rate)
            )
        }
        None => write!(text, "{:.0} MiB read, {:.0} MiB/s", mib(bytes as f64), mib(rate)),
    };
    debug_assert!(written.is_ok(), "a String takes everything");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_line_says() {
        let of = |bytes, all| line(bytes, all, Duration::from_secs(2));
        assert_eq!(of(512 << 20, Some(1 << 30)), "[##########----------]  50 %  512 of 1024 MiB, 256 MiB/s, 2 s left");
        assert_eq!(of(10 << 20, None), "10 MiB read, 5 MiB/s");
        assert_eq!(of(0, Some(0)), "0 MiB read, 0 MiB/s");
        // A log that grows while it is read.
        assert_eq!(of(2 << 20, Some(1 << 20)), "[####################] 100 %  2 of 1 MiB, 1 MiB/s, 0 s left");
    }
}
