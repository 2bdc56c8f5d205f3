//! What can be seen of a daemon that is not at `accept`: what it says of itself in its title, and how many connections the kernel dropped
//! since its listen queue was full. Looked at from outside, nothing is hooked.
//!
//! Of `/proc/PID/cmdline` only sentences about new connections are taken: a title may hold a client's words.

use super::{now_ns, proc};
use crate::event::Daemon;
use std::fs;

/// How sendmail's sentences about new connections begin (sendmail/daemon.c, `getrequests` and `refuseconnections`).
const SENDMAIL: &[&str] =
    &["accepting connections", "rejecting connections on daemon ", "deferring connections on daemon ", "delaying connections on daemon "];
/// Longest sentence that is kept.
const MAX_LEN: usize = 120;

/// How it is now.
pub fn look(pid: u32, mta: &str) -> Daemon {
    let netstat = fs::read_to_string(proc::path(pid, "net/netstat")).unwrap_or_default();
    let counter = |name| counter(&netstat, name).unwrap_or(0);
    let title = if mta == "sendmail" { fs::read(proc::path(pid, "cmdline")).ok() } else { None };
    Daemon {
        t: now_ns(),
        pid,
        state: title.and_then(|title| state(&String::from_utf8_lossy(&title))),
        listen_overflows: counter("ListenOverflows"),
        listen_drops: counter("ListenDrops"),
    }
}

fn state(title: &str) -> Option<String> {
    let sentence = title.split('\0').next()?.strip_prefix("sendmail: ")?.trim_end();
    let is_known = SENDMAIL.iter().any(|known| sentence.starts_with(known));
    is_known.then(|| sentence.chars().take(MAX_LEN).collect())
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
    fn only_sentences_about_new_connections_are_taken() {
        let rejecting = "sendmail: rejecting connections on daemon MTA: load average: 12\0\0\0";
        assert_eq!(state(rejecting).as_deref(), Some("rejecting connections on daemon MTA: load average: 12"));
        assert_eq!(state("sendmail: accepting connections\0").as_deref(), Some("accepting connections"));
        assert_eq!(state("sendmail: 6AP x.example.com [192.0.2.1]: VRFY secret\0"), None);
        assert_eq!(state("/usr/sbin/sendmail\0-bd\0"), None);
    }

    #[test]
    fn a_counter_is_found_by_its_name() {
        let netstat = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 0 7 9\nIpExt: InNoRoutes\nIpExt: 1\n";
        assert_eq!((counter(netstat, "ListenOverflows"), counter(netstat, "ListenDrops"), counter(netstat, "None")), (Some(7), Some(9), None));
        assert_eq!(counter("", "ListenDrops"), None);
    }
}
