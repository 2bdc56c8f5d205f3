//! Addresses of a host, by this machine's own name service.
//!
//! In: a name or an address, a port. Out: addresses. A program that is linked statically asks `getent`: by itself glibc would load the machine's modules
//! (`/etc/nsswitch.conf`), made for another glibc, into it. Not here: DNS.

use crate::export::Resolve;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::process::Command;

/// How this program finds addresses, in the order in which they should be tried.
pub fn resolver(is_static: bool) -> Resolve {
    if is_static { by_getent } else { by_library }
}

fn by_library(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    (host, port).to_socket_addrs().map(Iterator::collect).map_err(|error| error.to_string())
}

fn by_getent(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if host.parse::<IpAddr>().is_ok() {
        return by_library(host, port);
    }
    let output = Command::new("getent").args(["ahosts", "--", host]).output().map_err(|error| format!("getent, which finds names: {error}"))?;
    let found = of_getent(&String::from_utf8_lossy(&output.stdout), port);
    if found.is_empty() { Err("no address is known for this name".to_owned()) } else { Ok(found) }
}

/// `192.0.2.1       STREAM mx.example.com`, and the same for other kinds of socket.
fn of_getent(text: &str, port: u16) -> Vec<SocketAddr> {
    let streams = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (address, kind) = (words.next()?, words.next()?);
        let is_v6 = address.contains(':');
        let whole = if is_v6 { format!("[{address}]:{port}") } else { format!("{address}:{port}") };
        whole.parse().ok().filter(|_| kind == "STREAM")
    });
    streams.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_getent_says() {
        let text =
            "192.0.2.1       STREAM mx.example.com\n192.0.2.1       DGRAM  \n192.0.2.1       RAW    \n2001:db8::1     STREAM \nfe80::1%2 STREAM\n";
        let found: Vec<String> = of_getent(text, 25).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:25", "[2001:db8::1]:25", "[fe80::1%2]:25"]);
        assert!(of_getent("", 25).is_empty() && of_getent("x STREAM\n\u{1b}[2J\n", 25).is_empty());
    }

    #[test]
    fn names_and_addresses() {
        for is_static in [false, true] {
            let found = resolver(is_static)("localhost", 587).unwrap_or_default();
            assert!(!found.is_empty() && found.iter().all(|it| it.ip().is_loopback() && it.port() == 587), "{is_static}: {found:?}");
            assert_eq!(resolver(is_static)("::1", 25).unwrap_or_default(), ["[::1]:25".parse().expect("an address")], "{is_static}");
            for wrong in ["no-such-host.invalid", "-h", "--help"] {
                assert!(resolver(is_static)(wrong, 25).is_err(), "{is_static}: {wrong}");
            }
        }
    }
}
