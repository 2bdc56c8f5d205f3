//! A mail server that is not known: its daemon is taken to fork a process for each session, and advice names no setting.
//!
//! Other files fall back on it where they have nothing better to say.

use super::{DaemonTopic, Mta, Shape, Topic};
use crate::report::Cause;

/// Any server.
pub struct Generic;

impl Mta for Generic {
    fn name(&self) -> &'static str {
        "unknown"
    }

    fn programs(&self) -> &'static [&'static str] {
        &[]
    }

    fn shape(&self) -> Shape {
        Shape::ForkPerSession
    }
}

/// The same for all of them: the C library asks, not they.
pub const NAME_SERVICE: &str = "the daemon that answers for users and hosts (nscd, sssd, systemd-resolved), and what stands behind it (LDAP, NIS, DNS): its log \
     and its cache. /etc/nsswitch.conf says what is asked, and in which order";

/// What to look at.
pub fn advice(topic: Topic) -> &'static str {
    match topic {
        Topic::Resolver => "to bound the damage: `options timeout:1 attempts:1` in /etc/resolv.conf",
        Topic::ClientPtr => {
            "the name of the client's address is looked up: it needs a reverse zone on a server that answers, or a line in /etc/hosts"
        }
        Topic::OwnPtr => "the name of the server's own address is looked up: put it into /etc/hosts",
        Topic::ForwardOfClient => "the client's name is looked up again: it needs a record on a server that answers, or a line in /etc/hosts",
        Topic::Blocklist => "the mail server's DNS blocklists: take out the one that does not answer quickly (less spam is refused without it)",
        Topic::Canonify | Topic::MailExchanger => {
            "the mail server looks up the domains of senders and recipients: the name server must answer for them"
        }
        Topic::Ident => "turn off the mail server's ident query (RFC 1413)",
        Topic::Callback => {
            "the mail server asks others whether an address exists (a call-out): how long it waits for them, and for which addresses it asks"
        }
        Topic::Relay => {
            "the mail server delivers before it answers: let it queue the message and deliver in the background, or see why the next hop is slow"
        }
        Topic::MilterSlow | Topic::MilterTimeout | Topic::MilterUnreachable => "the milter itself: its log, and the mail server's time limits for it",
        Topic::MilterNagle => "let the milter listen on a unix socket",
        Topic::Sasl => "the service that checks passwords and what stands behind it",
        Topic::Lock => "the process that holds the lock: `lslocks` names it while it lasts",
        Topic::Spool => "the disk of the mail queue: use a fast local one, no network share",
        Topic::FileIo => "the disk or network share on which this file lies",
        Topic::Child => "what the child process does",
        Topic::GreetPause => "the mail server's pause before its greeting (a defence against spam)",
        Topic::Tarpit => "the mail server's pauses before its replies (a defence against spam)",
        Topic::RcptThrottle | Topic::AuthThrottle => "the mail server's throttle (a defence against guessing)",
        Topic::Sleep => "the mail server's throttles, and the load of the machine",
        Topic::AcceptLate => {
            "how many connections the mail server serves at once and accepts in a second, its limits of load, and the load of the machine"
        }
        Topic::Daemon(DaemonTopic::RefuseLoad | DaemonTopic::DelayLoad) => "the mail server's limits of load, and what makes the load",
        Topic::Daemon(DaemonTopic::MaxChildren) => "how many sessions the mail server serves at once, and why they last so long",
        Topic::Daemon(DaemonTopic::ConnectionRate) => "how many connections the mail server accepts in a second",
        Topic::Daemon(DaemonTopic::ListenQueue) => "the length of the mail server's listen queue, net.core.somaxconn, and the load of the machine",
        Topic::Tls => TLS,
        Topic::Network => "find out which part of the mail server's configuration names this peer",
        Topic::Service(Cause::NameService) => NAME_SERVICE,
        Topic::OtherService | Topic::Service(_) => "the service itself: its log and its load",
        Topic::Unknown => "nothing was seen that names the reason: repeat with `--view strace` and a log (-o)",
    }
}

/// A command that shows what decides.
pub fn check(topic: Topic) -> Option<&'static str> {
    matches!(topic, Topic::Sleep).then_some("cat /proc/loadavg")
}

/// The server's certificate is the first large thing that it sends.
pub(super) const TLS: &str = "the client, or the way to it: the server's certificate comes in the first full-sized packets of a session, and where the path takes only smaller \
     ones and the ICMP messages that say so are dropped, they never arrive (RFC 2923, 2.1): let ICMP type 3 code 4 (IPv6: type 2) through, or \
     clamp the MSS. The certificate and key of the server matter only where the time is CPU";
