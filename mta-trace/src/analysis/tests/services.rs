//! Services that are known by their addresses or by what they are asked.

use super::scenes::*;
use super::trace::*;
use crate::event::*;
use crate::report::{Cause, Outcome};
use mta_trace_common::syscalls::Call;

#[test]
fn saslauthd() {
    let path = "/var/run/saslauthd/mux";
    let waits = rcpt_waits(|trace| {
        of_socket(trace.call(Call::Connect, 0), 4, 60, Proto::Unix, path);
        let read = trace.blocked(Call::Read, 2, SECOND);
        read.args.fd = Some(4);
        read.socket = Some(socket(60, Proto::Unix));
    });
    assert_eq!((waits.len(), waits[0].cause, waits[0].target.as_deref()), (1, Cause::Sasl, Some(path)));
}

/// Services that are known by where they listen, and one that is known by what it is asked.
#[test]
fn services_are_known_by_their_addresses() {
    let cause_of = |proto, peer: &str| {
        let waits = rcpt_waits(|trace| {
            of_socket(trace.call(Call::Connect, 0), 4, 60, proto, peer);
            of_socket(trace.call(Call::Write, 100), 4, 60, proto, peer);
            of_socket(trace.blocked(Call::Read, 50, 50 * MS), 4, 60, proto, peer);
        });
        assert_eq!(waits.len(), 1, "{peer}: {waits:?}");
        assert_eq!(waits[0].target.as_deref(), Some(peer));
        waits[0].cause
    };
    for (peer, cause) in [
        ("10.99.0.3:389", Cause::Ldap),
        ("10.99.0.3:636", Cause::Ldap),
        ("10.99.0.3:3306", Cause::Sql),
        ("10.99.0.3:5432", Cause::Sql),
        ("10.99.0.3:783", Cause::ContentFilter),
        ("10.99.0.3:3310", Cause::ContentFilter),
        ("10.99.0.3:11211", Cause::Map),
        ("10.99.0.3:12345", Cause::Network),
    ] {
        assert_eq!(cause_of(Proto::Tcp, peer), cause, "{peer}");
    }
    for (path, cause) in [
        ("/run/mysqld/mysqld.sock", Cause::Sql),
        ("/var/run/postgresql/.s.PGSQL.5432", Cause::Sql),
        ("/run/slapd/ldapi", Cause::Ldap),
        ("/var/run/clamav/clamd.ctl", Cause::ContentFilter),
        ("/var/run/nscd/socket", Cause::NameService),
        ("/var/lib/sss/pipes/nss", Cause::NameService),
        ("/run/systemd/resolve/io.systemd.Resolve", Cause::NameService),
        ("/var/run/saslauthd/mux", Cause::Sasl),
        // Only Postfix names its services so.
        ("/var/spool/postfix/private/anvil", Cause::Network),
    ] {
        assert_eq!(cause_of(Proto::Unix, path), cause, "{path}");
    }
}

/// A request of Postfix's policy protocol is evidence, also for the connection that was made for it, and for the next one to that endpoint.
#[test]
fn a_policy_service_is_known_by_what_it_is_asked() {
    const PEER: &str = "10.99.0.3:10031";
    let waits = rcpt_waits(|trace| {
        of_socket(trace.blocked(Call::Connect, 0, 5 * MS), 4, 60, Proto::Tcp, PEER);
        let asked = trace.call(Call::Write, 300);
        asked.policy = true;
        of_socket(asked, 4, 60, Proto::Tcp, PEER);
        let poll = trace.blocked(Call::Poll, 1, 2 * SECOND);
        poll.args.fds = vec![PollFd { fd: 4, events: vec!["POLLIN".into()], revents: vec!["POLLIN".into()] }];
        let asked = trace.call(Call::Read, 14);
        asked.policy = true;
        of_socket(asked, 4, 60, Proto::Tcp, PEER);
        trace.close(4);
        trace.cpu(MS);
        of_socket(trace.blocked(Call::Connect, -110, SECOND), 5, 61, Proto::Tcp, PEER);
    });
    let told: Vec<_> = waits.iter().map(|wait| (wait.cause, wait.target.as_deref(), wait.outcome)).collect();
    assert_eq!(told, [(Cause::Policy, Some(PEER), Outcome::Ok), (Cause::Policy, Some(PEER), Outcome::Timeout)]);
    near(waits[0].elapsed_s, 2.005);
}
