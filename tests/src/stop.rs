//! How the threads of a lab end: a descriptor that becomes readable, waited for together with whatever else they wait for.
//!
//! So no thread polls a flag, none sleeps through the end of its lab, and a delay is a wait that can be cut short.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};

/// The end of a lab, shared by its threads.
#[derive(Debug, Clone)]
pub struct Stop(Arc<OwnedFd>);

impl Stop {
    /// Not ended yet.
    pub fn new() -> Result<Self> {
        let fd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).context("eventfd")?;
        Ok(Self(Arc::new(fd)))
    }

    /// Ends it, for good.
    pub fn stop(&self) {
        // The counter stays readable: nobody reads it.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    /// Waits until `fd` can be read; false when the lab ended first.
    pub fn wait_readable(&self, fd: impl AsFd) -> bool {
        self.wait(Some(fd.as_fd()), None) == Some(true)
    }

    /// Waits until `fd` can be read, at most so long; `None` when the lab ended, false when the time is over.
    pub fn wait_readable_for(&self, fd: impl AsFd, limit: Duration) -> Option<bool> {
        self.wait(Some(fd.as_fd()), Some(limit))
    }

    /// Lets time pass; false when the lab ended first.
    pub fn pass(&self, delay: Duration) -> bool {
        delay.is_zero() || self.wait(None, Some(delay)).is_some()
    }

    fn wait(&self, fd: Option<BorrowedFd<'_>>, limit: Option<Duration>) -> Option<bool> {
        let end = limit.map(|limit| std::time::Instant::now() + limit);
        loop {
            let left = end.map(|end| end.saturating_duration_since(std::time::Instant::now()));
            let timeout =
                left.map(|left| Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(left.subsec_nanos()) });
            let stop = PollFd::new(&self.0, PollFlags::IN);
            let mut fds: Vec<PollFd<'_>> = std::iter::once(stop).chain(fd.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN))).collect();
            match rustix::event::poll(&mut fds, timeout.as_ref()) {
                Ok(0) => return Some(false),
                Ok(_) if fds.first().is_some_and(|stop| !stop.revents().is_empty()) => return None,
                Ok(_) => return Some(true),
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return None,
            }
        }
    }
}
