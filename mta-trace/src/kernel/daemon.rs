//! What can be seen of a daemon that is not at `accept`: what it says of itself in its title, and how many connections the kernel dropped
//! since its listen queue was full. Looked at from outside, nothing is hooked.
//!
//! Of `/proc/PID/cmdline` only sentences about new connections are taken: a title may hold a client's words.

use super::{now_ns, proc};
use crate::{event::Daemon, mta};
use std::fs;

/// Longest sentence that is kept.
const MAX_LEN: usize = 120;

/// How it is now.
pub fn look(pid: u32, mta: &str) -> Daemon {
    let netstat = fs::read_to_string(proc::path(pid, "net/netstat")).unwrap_or_default();
    let counter = |name| counter(&netstat, name).unwrap_or(0);
    let title = fs::read(proc::path(pid, "cmdline")).unwrap_or_default();
    let state = mta::by_name(mta).daemon_state_in(&String::from_utf8_lossy(&title)).map(|state| state.chars().take(MAX_LEN).collect());
    Daemon { t: now_ns(), pid, state, listen_overflows: counter("ListenOverflows"), listen_drops: counter("ListenDrops") }
}

/// One of `TcpExt`'s counters: a line of names, then a line of values.
fn counter(netstat: &str, name: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|it| it == name)?;
    values.split_whitespace().nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_its_name() {
        let netstat = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 0 7 9\nIpExt: InNoRoutes\nIpExt: 1\n";
        assert_eq!((counter(netstat, "ListenOverflows"), counter(netstat, "ListenDrops"), counter(netstat, "None")), (Some(7), Some(9), None));
        assert_eq!(counter("", "ListenDrops"), None);
    }
}
