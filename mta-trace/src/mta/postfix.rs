//! Postfix: its services, and its settings as `main.cf` and `master.cf` call them (postconf(5), master(5)).
//!
//! After a change: `postfix reload`. What weakens security says so.

use super::{DaemonTopic, Form, Found, Mta, Service, Setting, Shape, Started, Topic, generic, setting::folded};
use crate::report::Cause;

/// A `master` that does not accept, and smtpd processes that do.
pub struct Postfix;

impl Mta for Postfix {
    fn name(&self) -> &'static str {
        "postfix"
    }

    fn programs(&self) -> &'static [&'static str] {
        &["master", "smtpd", "postscreen"]
    }

    fn shape(&self) -> Shape {
        Shape::PreForked
    }

    /// postscreen(8).
    fn screener(&self) -> Option<&'static str> {
        Some("postscreen")
    }

    /// `OpenSMTPD` has an `smtpd` as well; Postfix's programs lie in a folder of their own.
    fn has_program(&self, exe: &str) -> bool {
        exe.contains("/postfix/") && self.programs().contains(&exe.rsplit('/').next().unwrap_or(exe))
    }

    fn version_in(&self, program: &[u8]) -> Option<String> {
        version_in(program)
    }

    fn service_at(&self, path: &str) -> Option<Service> {
        service_at(path)
    }

    /// `250 2.0.0 Ok: queued as ID`.
    fn queue_id_in<'a>(&self, words: &[&'a str]) -> Option<&'a str> {
        let at = words.windows(2).position(|pair| pair == ["queued", "as"])?;
        words.get(at + 2).copied()
    }

    /// Its smtpd leaves that to other processes: a connection of its own leads to a proxy in front of the queue (`smtpd_proxy_filter`).
    fn verifies_itself(&self) -> bool {
        false
    }

    fn sleeps_only_if_told(&self) -> bool {
        true
    }

    fn advice(&self, topic: Topic) -> &'static str {
        advice(topic)
    }

    fn check(&self, topic: Topic) -> Option<&'static str> {
        check(topic)
    }

    fn timer_setting(&self, cause: Cause, stage: Option<&str>, timer_s: f64) -> Option<String> {
        timer_setting(cause, stage, timer_s)
    }

    /// `DEBUG_README`: the client's sessions with all that smtpd asks, in the mail log.
    fn debug(&self, topic: Topic) -> Option<&'static str> {
        is_inside(topic).then_some("postconf -e debug_peer_list=CLIENT && postfix reload  # the mail log then has each step of smtpd, and the passwords of that client: take it out again")
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn peer_of_setting(&self, name: &str) -> Option<Cause> {
        (name == PROXY_FILTER).then_some(Cause::ContentFilter)
    }

    fn files(&self, started: &Started) -> Vec<Vec<String>> {
        let folder = started.option("-c").or(started.mail_config.as_deref()).unwrap_or("/etc/postfix");
        ["main.cf", "master.cf"].map(|name| vec![format!("{}/{name}", folder.trim_end_matches('/'))]).into()
    }

    fn settings_in(&self, file: &str, text: &str) -> Found {
        if file.ends_with("/master.cf") { overrides_in(text) } else { settings_in(text) }
    }
}

/// A filter before the queue (`SMTPD_PROXY_README`), which is a process of somebody else.
const PROXY_FILTER: &str = "smtpd_proxy_filter";

/// What advice names (postconf(5)).
const SETTINGS: &[Setting] = &[
    Setting { name: PROXY_FILTER, form: Form::Peer, default: None, topics: &[Topic::Service(Cause::ContentFilter)] },
    Setting { name: "smtpd_proxy_timeout", form: Form::Time, default: Some("100s"), topics: &[Topic::Service(Cause::ContentFilter)] },
    Setting {
        name: "smtpd_error_sleep_time",
        form: Form::Time,
        default: Some("1s"),
        topics: &[Topic::Tarpit, Topic::Sleep, Topic::RcptThrottle, Topic::AuthThrottle],
    },
    Setting {
        name: "smtpd_soft_error_limit",
        form: Form::Number,
        default: Some("10"),
        topics: &[Topic::Tarpit, Topic::Sleep, Topic::RcptThrottle, Topic::AuthThrottle],
    },
    Setting {
        name: "milter_connect_timeout",
        form: Form::Time,
        default: Some("30s"),
        topics: &[Topic::MilterSlow, Topic::MilterTimeout, Topic::MilterUnreachable],
    },
    Setting { name: "milter_command_timeout", form: Form::Time, default: Some("30s"), topics: &[Topic::MilterSlow, Topic::MilterTimeout] },
    Setting { name: "milter_content_timeout", form: Form::Time, default: Some("300s"), topics: &[Topic::MilterSlow, Topic::MilterTimeout] },
    Setting {
        name: "milter_default_action",
        form: Form::Word(&["accept", "reject", "tempfail", "quarantine", "shutdown"]),
        default: Some("tempfail"),
        topics: &[Topic::MilterTimeout, Topic::MilterUnreachable],
    },
    Setting { name: "smtpd_policy_service_timeout", form: Form::Time, default: Some("100s"), topics: &[Topic::Service(Cause::Policy)] },
    Setting { name: "address_verify_poll_delay", form: Form::Time, default: Some("3s"), topics: &[Topic::Callback] },
    Setting { name: "address_verify_poll_count", form: Form::Number, default: None, topics: &[Topic::Callback] },
    Setting {
        name: "smtpd_peername_lookup",
        form: Form::Word(&["yes", "no"]),
        default: Some("yes"),
        topics: &[Topic::ClientPtr, Topic::ForwardOfClient],
    },
    Setting { name: "postscreen_greet_wait", form: Form::Time, default: None, topics: &[Topic::GreetPause] },
    Setting {
        name: "default_process_limit",
        form: Form::Number,
        default: Some("100"),
        topics: &[Topic::AcceptLate, Topic::Daemon(DaemonTopic::ListenQueue), Topic::Service(Cause::Mta)],
    },
];

/// `name = value`; the last one wins. A value with `$` in it is not told.
fn settings_in(text: &str) -> Found {
    let mut found = Found::default();
    for (line, whole) in folded(text) {
        if let Some((name, value)) = whole.split_once('=') {
            found.set(SETTINGS, name.trim(), Some(value.trim()), line);
        }
    }
    found
}

/// `-o name=value` of the services that are run by smtpd and its like: they hold for these alone, `SERVICE/inet/NAME`.
fn overrides_in(text: &str) -> Found {
    // What is not set here says nothing of defaults.
    let mut found = Found { is_whole: false, ..Found::default() };
    for (line, whole) in folded(text) {
        let words: Vec<&str> = whole.split_ascii_whitespace().collect();
        let [service, kind @ ("inet" | "pass"), _, _, _, _, _, "smtpd" | "postscreen", arguments @ ..] = words.as_slice() else { continue };
        let is_name = service.len() <= 64 && service.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-_[]".contains(&byte));
        if !is_name {
            continue;
        }
        for option in arguments.windows(2).filter_map(|pair| if let ["-o", option] = pair { Some(option) } else { None }) {
            let Some((name, value)) = option.split_once('=') else { continue };
            if let Some(known) = SETTINGS.iter().find(|known| known.name == name) {
                found.keep(known.form, format!("{service}/{kind}/{name}"), Some(value), line);
            }
        }
    }
    found
}

/// What neither dig nor a connection by hand shows.
fn is_inside(topic: Topic) -> bool {
    matches!(
        topic,
        Topic::MilterSlow
            | Topic::MilterTimeout
            | Topic::Callback
            | Topic::Sasl
            | Topic::Tarpit
            | Topic::RcptThrottle
            | Topic::AuthThrottle
            | Topic::Sleep
            | Topic::Service(_)
            | Topic::OtherService
            | Topic::Network
            | Topic::Unknown
    )
}

/// `mail_version` among the default parameters, which every program of Postfix has in it (`DEF_MAIL_VERSION` in
/// `src/global/mail_version.h`): `3.7.11`.
fn version_in(program: &[u8]) -> Option<String> {
    let text = program.split(|byte| *byte == 0).find_map(|text| text.strip_prefix(b"mail_version="))?;
    std::str::from_utf8(text).ok().filter(|text| text.len() < 32 && text.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned)
}

/// Postfix's `master` listens for its services in two folders of the queue directory, each under the service's name (master(5)); what is served
/// there by others is told by what it is asked.
fn service_at(path: &str) -> Option<Service> {
    let (folder, name) = path.rsplit_once('/')?;
    let is_own = ["private", "public"].contains(&folder.rsplit('/').next().unwrap_or(folder));
    let cause = match name {
        "anvil" | "bounce" | "cleanup" | "defer" | "dnsblog" | "flush" | "pickup" | "qmgr" | "rewrite" | "showq" | "smtpd" | "tlsmgr"
        | "tlsproxy" | "trace" | "verify" => Cause::Mta,
        "proxymap" | "proxywrite" => Cause::Map,
        _ => return None,
    };
    is_own.then(|| Service { cause, name: name.to_owned() })
}

/// What to look at.
fn advice(topic: Topic) -> &'static str {
    match topic {
        Topic::Resolver => {
            "to bound the damage: `options timeout:1 attempts:1` in the resolv.conf that the process sees: for chrooted services a copy, such as \
             /var/spool/postfix/etc/resolv.conf, which may be older than /etc/resolv.conf"
        }
        Topic::ClientPtr | Topic::ForwardOfClient => {
            "smtpd looks up the name of each client's address, and that name again: the clients need a reverse zone on a server that answers, or \
             a line in /etc/hosts. smtpd_peername_lookup = no turns it off, and with it all restrictions by the client's name"
        }
        Topic::Blocklist => {
            "reject_rbl_client (and the like) in smtpd_client_restrictions or smtpd_recipient_restrictions, or postscreen_dnsbl_sites: take out \
             the list that does not answer quickly; without any blocklist more spam comes in: it weakens the defence"
        }
        Topic::Canonify | Topic::MailExchanger => {
            "reject_unknown_sender_domain and reject_unknown_recipient_domain look up the domains of MAIL and RCPT: repair the look-up; without \
             them forged senders are accepted: it weakens the defence"
        }
        Topic::MilterSlow | Topic::MilterTimeout => {
            "the milter itself (its log, what it asks); Postfix's limits are milter_connect_timeout, milter_command_timeout and \
             milter_content_timeout. milter_default_action = accept lets mail pass unfiltered when it fails: that weakens the defence"
        }
        Topic::MilterUnreachable => "start the milter, or correct its address in smtpd_milters; milter_connect_timeout limits the attempt",
        Topic::MilterNagle => "let the milter listen on a unix socket and name it so in smtpd_milters (unix:PATH)",
        Topic::Callback => {
            "reject_unverified_sender and reject_unverified_recipient ask another mail server before they answer; address_verify_poll_delay and \
             address_verify_poll_count are how long smtpd waits, address_verify_map keeps what was learnt"
        }
        Topic::Sasl => "the service behind smtpd_sasl_path (dovecot's auth, or saslauthd) and what it asks; its own log has the time of each request",
        Topic::Lock => "whoever holds the lock: postmap and postalias lock a table while they rebuild it: rebuild less often, or use lmdb or cdb",
        Topic::Spool => "queue_directory lies on a slow disk: use a fast local one, no network share; each message is synced once before its reply",
        Topic::GreetPause => "postscreen_greet_wait (a defence against spam: without it more comes in)",
        Topic::Tarpit | Topic::RcptThrottle | Topic::AuthThrottle | Topic::Sleep => {
            "smtpd sleeps smtpd_error_sleep_time before each reply once a client has made smtpd_soft_error_limit errors, and for as long as a \
             `sleep N` in a restriction list says: both are defences, and configured"
        }
        Topic::AcceptLate => {
            "all smtpd processes were busy, or had to be made first: default_process_limit and the maxproc column of master.cf; smtpd's own waits \
             (find out what they are) keep its processes busy"
        }
        Topic::Daemon(DaemonTopic::ListenQueue) => {
            "nobody came to accept: the maxproc column of master.cf and default_process_limit, net.core.somaxconn, and the load of the machine"
        }
        Topic::Service(Cause::Policy) => {
            "the policy service itself (check_policy_service): its log, its database; smtpd_policy_service_timeout is the limit, \
             smtpd_policy_service_default_action what happens then"
        }
        Topic::Service(Cause::ContentFilter) => {
            "the filter before the queue that smtpd_proxy_filter names: its log, its load, and what it asks; smtpd_proxy_timeout is the limit. Behind \
             the queue (content_filter) the client would not wait, but what the filter refuses then could only be bounced or dropped"
        }
        Topic::Service(Cause::Map) => {
            "the table that proxymap looks up (proxy: in main.cf): its database or directory; `postmap -q KEY TABLE` by hand"
        }
        Topic::Service(Cause::Mta) => {
            "what this service of Postfix does and waits for itself: cleanup the milters' end of message, the queue's disk; rewrite and verify \
             their tables; or its process limit (maxproc in master.cf) is reached. Its lines in the mail log have the same time"
        }
        other => generic::advice(other),
    }
}

/// A command that shows the setting.
fn check(topic: Topic) -> Option<&'static str> {
    Some(match topic {
        Topic::Tarpit | Topic::Sleep | Topic::RcptThrottle | Topic::AuthThrottle => {
            "postconf smtpd_error_sleep_time smtpd_soft_error_limit; postconf -n | grep sleep"
        }
        Topic::GreetPause => "postconf postscreen_greet_wait",
        Topic::Callback => "sendmail -bv ADDRESS  # Postfix makes the same probe and mails you what came of it",
        Topic::AcceptLate => "postconf default_process_limit; postconf -M smtp/inet; ss -ltn",
        Topic::Service(Cause::Mta) => "postconf -M; grep -E 'cleanup|qmgr|verify|trivial-rewrite' /var/log/mail.log | tail",
        other => return generic::check(other),
    })
}

/// The timer that has this value (postconf(5)).
fn timer_setting(cause: Cause, stage: Option<&str>, timer_s: f64) -> Option<String> {
    let name = match (cause, stage) {
        (Cause::Policy, _) => "smtpd_policy_service_timeout",
        (Cause::Milter, None) => "milter_connect_timeout",
        (Cause::Milter, Some("header" | "eoh" | "body" | "eom")) => "milter_content_timeout",
        (Cause::Milter, Some(_)) => "milter_command_timeout",
        (Cause::Dns, _) => return Some(format!("`timeout:{timer_s}` of resolv.conf")),
        (Cause::Mta | Cause::Map, _) => "ipc_timeout",
        _ => return None,
    };
    Some(format!("{name}={timer_s}s"))
}
