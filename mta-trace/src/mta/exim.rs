//! Exim: its replies, and its settings as its one configuration file calls them (`exim4.conf`; on Debian made from /etc/exim4/conf.d or
//! exim4.conf.template): options of the main part, conditions and modifiers of ACLs.
//!
//! What weakens security says so.

use super::{DaemonTopic, Mta, Shape, Topic, generic, version::only_version};
use crate::report::Cause;

/// A daemon that forks a process for each session.
pub struct Exim;

impl Mta for Exim {
    fn name(&self) -> &'static str {
        "exim"
    }

    fn programs(&self) -> &'static [&'static str] {
        &["exim", "exim4"]
    }

    fn shape(&self) -> Shape {
        Shape::ForkPerSession
    }

    fn version_in(&self, program: &[u8]) -> Option<String> {
        only_version(program, is_version)
    }

    /// `250 OK id=ID`.
    fn queue_id_in<'a>(&self, words: &[&'a str]) -> Option<&'a str> {
        words.iter().find_map(|word| word.strip_prefix("id="))
    }

    fn advice(&self, topic: Topic) -> &'static str {
        advice(topic)
    }

    fn check(&self, topic: Topic) -> Option<&'static str> {
        check(topic)
    }

    fn timer_setting(&self, cause: Cause, _stage: Option<&str>, timer_s: f64) -> Option<String> {
        timer_setting(cause, timer_s)
    }
}

/// `EXIM_VERSION_STR` in `src/version.c`: `4.96`, `4.94.2`. The numbers of its libraries begin with 4 as well, but go on with one digit.
fn is_version(parts: &[&str]) -> bool {
    matches!(parts, ["4", release] | ["4", release, _] if release.len() == 2)
}

/// What to look at.
fn advice(topic: Topic) -> &'static str {
    match topic {
        Topic::Resolver => {
            "to bound the damage: `dns_retrans = 1s` and `dns_retry = 1` in Exim's main configuration, or `options timeout:1 attempts:1` in \
             /etc/resolv.conf"
        }
        Topic::ClientPtr => {
            "Exim looks up the name of each client's address that matches `host_lookup` (on Debian all of them): a reverse zone on a server that \
             answers, or the client in /etc/hosts, ends this; so does an exception in host_lookup (`host_lookup = !192.168.0.0/16 : *`)"
        }
        Topic::OwnPtr => "the name of the server's own address is looked up: put it into /etc/hosts, and set `primary_hostname`",
        Topic::ForwardOfClient => {
            "Exim looks up whether the name of the client's PTR leads back to its address: the name needs an A or AAAA record on a server that \
             answers, or the client in /etc/hosts"
        }
        Topic::Blocklist => {
            "a list in `dnslists =` of an ACL that does not answer quickly should go; a condition before it (`hosts = !+relay_from_hosts`) spares \
             the clients that are known. Without any blocklist more spam comes in: it weakens the defence"
        }
        Topic::Canonify | Topic::MailExchanger => {
            "the domain is looked up by `verify = sender` or `verify = recipient` in an ACL (through the dnslookup router), or by a look-up of the \
             configuration's own (`${lookup dnsdb`): the name server must answer for it"
        }
        Topic::Ident => {
            "`rfc1413_query_timeout = 0s` in Exim's main configuration turns ident off, `rfc1413_hosts` says for which clients it is on; what \
             ident says is only logged and no protection"
        }
        Topic::Callback => {
            "`callout=TIME` of `verify = sender` or `verify = recipient` in an ACL: a shorter time, `defer_ok` to accept when it passes, or no \
             call-out but for the domains that this server relays for. Answers are kept (`callout_domain_positive_expire` and the like)"
        }
        Topic::Sasl => {
            "saslauthd and what stands behind it (PAM, LDAP, its -a mechanism): more workers (-n), the cache (-c). Exim's `${if saslauthd` has no \
             time-out of its own"
        }
        Topic::Lock => {
            "Exim locks the databases in db/ of its spool (call-outs, rate limits, retries) one process at a time, and gives up after 60 s: \
             exim_tidydb makes them smaller; the spool belongs on a local disk"
        }
        Topic::Spool => {
            "`spool_directory` lies on a slow disk: use a fast local one, no network share; each message costs three syncs. \
             `disable_fsync` saves them only where Exim was compiled with it, and weakens the promise that an accepted message survives a crash"
        }
        Topic::FileIo => "the disk or network share on which this file lies; the spool, `log_file_path` and look-up files belong on a local disk",
        Topic::Child => "what the child does: a `${run` of the configuration, a transport filter, or a delivery in the foreground (-odf)",
        Topic::GreetPause => {
            "`delay =` in the ACL that `acl_smtp_connect` names: a condition before it (`hosts = !+relay_from_hosts`) spares the clients that \
             need not wait. It is a defence against spam: without it more comes in"
        }
        Topic::Tarpit => {
            "`delay =` in the ACL of this command (`acl_smtp_helo`, `acl_smtp_mail`, `acl_smtp_rcpt` ...): a condition before it spares the \
             clients that need not wait. It is a defence against spam: without it more comes in"
        }
        Topic::RcptThrottle => {
            "`smtp_ratelimit_rcpt` and `smtp_ratelimit_hosts` in Exim's main configuration, or a `delay =` in the ACL that `acl_smtp_rcpt` names. \
             It is a defence against guessing of addresses"
        }
        Topic::Sleep => {
            "`smtp_ratelimit_mail`, `smtp_ratelimit_rcpt` and `smtp_ratelimit_hosts` in Exim's main configuration, and whatever the \
             configuration runs or looks up by itself"
        }
        Topic::AcceptLate => {
            "Exim's daemon forks a process for each connection: `smtp_accept_max`, `smtp_accept_max_per_host` and `smtp_load_reserve` make it \
             refuse, not wait, so the machine was too busy to run it, or its process had something else to do"
        }
        Topic::Daemon(DaemonTopic::ListenQueue) => {
            "`smtp_connect_backlog` in Exim's main configuration is the length of the queue, 20 by default, net.core.somaxconn its limit; a queue \
             that fills up shows that the daemon does not come to accept: the load of the machine"
        }
        Topic::Network => {
            "find out which part of Exim's configuration talks to this peer: grep for its address, port or name in the ACLs, routers and \
             look-ups (`${readsocket`, `av_scanner`, `spamd_address`, `ldap_default_servers`, `mysql_servers`)"
        }
        Topic::Service(Cause::ContentFilter) => {
            "the scanner that `spamd_address` or `av_scanner` names: its log, its load, and what it asks (DNS, a database). A condition before \
             `spam =` or `malware =` in the ACL of `acl_smtp_data` (`condition = ${if < {$message_size}{250K}}`) spares big messages; \
             `/defer_ok` accepts what could not be scanned: that weakens the defence"
        }
        Topic::Service(Cause::NameService) => generic::NAME_SERVICE,
        Topic::OtherService | Topic::Service(_) => "the service itself: its log and its load; grep for its address or path in Exim's configuration",
        // Exim delivers behind its reply, has no milters, and its daemon does not say in its title what it refuses.
        Topic::AuthThrottle
        | Topic::Relay
        | Topic::MilterSlow
        | Topic::MilterTimeout
        | Topic::MilterUnreachable
        | Topic::MilterNagle
        | Topic::Daemon(DaemonTopic::RefuseLoad | DaemonTopic::DelayLoad | DaemonTopic::MaxChildren | DaemonTopic::ConnectionRate)
        | Topic::Unknown => generic::advice(topic),
    }
}

/// A command that shows the setting.
fn check(topic: Topic) -> Option<&'static str> {
    match topic {
        Topic::GreetPause | Topic::Tarpit => Some("exim -bP config | grep -n delay"),
        Topic::RcptThrottle | Topic::Sleep => Some("exim -bP smtp_ratelimit_hosts smtp_ratelimit_mail smtp_ratelimit_rcpt; cat /proc/loadavg"),
        Topic::AcceptLate => Some("exim -bP smtp_accept_max smtp_connect_backlog; ss -ltn; nstat -az TcpExtListenOverflows"),
        Topic::Daemon(DaemonTopic::ListenQueue) => Some("exim -bP smtp_connect_backlog; ss -ltn; nstat -az TcpExtListenOverflows"),
        // Their families have a check of their own: of the peer, of the file.
        Topic::Resolver
        | Topic::ClientPtr
        | Topic::OwnPtr
        | Topic::ForwardOfClient
        | Topic::Blocklist
        | Topic::Canonify
        | Topic::MailExchanger
        | Topic::Ident
        | Topic::Callback
        | Topic::Relay
        | Topic::MilterSlow
        | Topic::MilterTimeout
        | Topic::MilterUnreachable
        | Topic::MilterNagle
        | Topic::Sasl
        | Topic::Lock
        | Topic::Spool
        | Topic::FileIo
        | Topic::Child
        | Topic::AuthThrottle
        | Topic::Daemon(DaemonTopic::RefuseLoad | DaemonTopic::DelayLoad | DaemonTopic::MaxChildren | DaemonTopic::ConnectionRate)
        | Topic::Network
        | Topic::OtherService
        | Topic::Service(_)
        | Topic::Unknown => None,
    }
}

/// The timer that has this value (Exim specification, chapters 14 and 44).
fn timer_setting(cause: Cause, timer_s: f64) -> Option<String> {
    Some(match cause {
        Cause::Ident => format!("rfc1413_query_timeout={timer_s}s"),
        Cause::Callback => format!("callout={timer_s}s of a `verify` in an ACL"),
        // Which of the two is in force the wait does not tell.
        Cause::Dns => format!("dns_retrans={timer_s}s, or `timeout:{timer_s}` of resolv.conf"),
        _ => return None,
    })
}
