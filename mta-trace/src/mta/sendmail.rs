//! sendmail: its titles, its replies, and its settings as `sendmail.mc` (m4) and `sendmail.cf` call them (cf/README, doc/op).
//!
//! After a change of `sendmail.mc`: make the `.cf`, restart. What weakens security says so.

use super::{DaemonTopic, Form, Found, Mta, Refusal, Setting, Shape, Started, Topic, generic, setting::folded, version::only_version};
use crate::report::Cause;

const RELAY: &str = "`DeliveryMode=interactive` (confDELIVERY_MODE in sendmail.mc, or a `d=i` in DAEMON_OPTIONS) makes the client wait for the next hop: \
     `background` or `queueonly` answer when the message is in the queue; the next hop's own log says why it is slow";

/// How its daemon's sentences about new connections begin (sendmail/daemon.c, `getrequests` and `refuseconnections`).
const STATES: &[&str] =
    &["accepting connections", "rejecting connections on daemon ", "deferring connections on daemon ", "delaying connections on daemon "];

/// A daemon that forks a process for each session.
pub struct Sendmail;

impl Mta for Sendmail {
    fn name(&self) -> &'static str {
        "sendmail"
    }

    fn programs(&self) -> &'static [&'static str] {
        &["sendmail", "sendmail-mta", "sendmail.sendmail"]
    }

    fn shape(&self) -> Shape {
        Shape::ForkPerSession
    }

    fn version_in(&self, program: &[u8]) -> Option<String> {
        only_version(program, is_version)
    }

    fn daemon_state_in<'a>(&self, title: &'a str) -> Option<&'a str> {
        let sentence = title.split('\0').next()?.strip_prefix("sendmail: ")?.trim_end();
        STATES.iter().any(|known| sentence.starts_with(known)).then_some(sentence)
    }

    fn refusal_in(&self, state: &str) -> Option<Refusal> {
        refusal_in(state)
    }

    /// `sendmail: QUEUEID client [addr]: MAIL FROM...`.
    fn command_in<'a>(&self, title: &'a str) -> Option<&'a str> {
        title.rsplit_once("]: ").map(|(_, command)| command)
    }

    /// `250 2.0.0 ID Message accepted for delivery`.
    fn queue_id_in<'a>(&self, words: &[&'a str]) -> Option<&'a str> {
        let at = words.windows(2).position(|pair| pair == ["Message", "accepted"])?;
        words.get(at.checked_sub(1)?).copied()
    }

    /// With `DeliveryMode=interactive`.
    fn delivers_itself(&self) -> bool {
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

    /// Its address test mode (doc/op, "Address rewriting"), with what `dns_getcanonname` does (`sendmail/domain.c`).
    fn debug(&self, topic: Topic) -> Option<&'static str> {
        let is_canonified = matches!(topic, Topic::Canonify | Topic::MailExchanger);
        is_canonified.then_some("echo '/canon DOMAIN' | sendmail -bt -d8.8  # makes the same look-ups, and says what each came to")
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn files(&self, started: &Started) -> Vec<Vec<String>> {
        let usual = || vec!["/etc/mail/sendmail.cf".to_owned(), "/etc/sendmail.cf".to_owned()];
        vec![started.option("-C").map_or_else(usual, |file| vec![file.to_owned()])]
    }

    /// `confPID_FILE` of the distributions (sendmail/envelope.c, `log_sendmail_pid`).
    fn pid_files(&self) -> &'static [&'static str] {
        &["/run/sendmail/mta/sendmail.pid", "/run/sendmail.pid", "/var/run/sendmail.pid", "/etc/mail/sendmail.pid"]
    }

    fn settings_in(&self, _file: &str, text: &str) -> Found {
        settings_in(text)
    }
}

/// What advice names (doc/op/op.me, "Options").
const SETTINGS: &[Setting] = &[
    Setting { name: "Timeout.ident", form: Form::Time, default: Some("5s"), topics: &[Topic::Ident] },
    Setting { name: "Timeout.resolver.retrans", form: Form::Time, default: None, topics: &[Topic::Resolver] },
    Setting { name: "Timeout.resolver.retrans.first", form: Form::Time, default: None, topics: &[Topic::Resolver] },
    Setting { name: "Timeout.resolver.retrans.normal", form: Form::Time, default: None, topics: &[Topic::Resolver] },
    Setting { name: "Timeout.resolver.retry", form: Form::Number, default: None, topics: &[Topic::Resolver] },
    Setting { name: "Timeout.resolver.retry.first", form: Form::Number, default: None, topics: &[Topic::Resolver] },
    Setting { name: "Timeout.resolver.retry.normal", form: Form::Number, default: None, topics: &[Topic::Resolver] },
    Setting { name: "BadRcptThrottle", form: Form::Number, default: None, topics: &[Topic::RcptThrottle] },
    Setting {
        name: "DelayLA",
        form: Form::Number,
        default: None,
        topics: &[Topic::RcptThrottle, Topic::Sleep, Topic::Daemon(DaemonTopic::DelayLoad)],
    },
    Setting {
        name: "RefuseLA",
        form: Form::Number,
        default: None,
        topics: &[Topic::Sleep, Topic::AcceptLate, Topic::Daemon(DaemonTopic::RefuseLoad)],
    },
    Setting { name: "MaxDaemonChildren", form: Form::Number, default: None, topics: &[Topic::AcceptLate, Topic::Daemon(DaemonTopic::MaxChildren)] },
    Setting {
        name: "ConnectionRateThrottle",
        form: Form::Number,
        default: None,
        topics: &[Topic::AcceptLate, Topic::Daemon(DaemonTopic::ConnectionRate)],
    },
    Setting {
        name: "SuperSafe",
        form: Form::Word(&["True", "False", "Interactive", "PostMilter", "t", "f", "i", "m"]),
        default: None,
        topics: &[Topic::Spool],
    },
    Setting {
        name: "DeliveryMode",
        form: Form::Word(&["background", "interactive", "queueonly", "deferred", "b", "i", "q", "d"]),
        default: None,
        topics: &[Topic::Child],
    },
    Setting {
        name: "INPUT_MAIL_FILTER T=",
        form: Form::Limits,
        default: None,
        topics: &[Topic::MilterSlow, Topic::MilterTimeout, Topic::MilterUnreachable],
    },
    Setting { name: PAUSE, form: Form::Number, default: None, topics: &[Topic::GreetPause] },
    Setting { name: "DaemonPortOptions Listen=", form: Form::Number, default: Some("10"), topics: &[Topic::Daemon(DaemonTopic::ListenQueue)] },
];

/// The time limits of a milter, and the length of a listen queue, are parts of longer lines, and the pause before the greeting (in ms) is a rule.
const MILTER: &str = "INPUT_MAIL_FILTER T=";
const PAUSE: &str = "greet_pause";
const LISTEN: &str = "DaemonPortOptions Listen=";

/// `O Name=value` (case does not matter, names may be abbreviated), `X` lines of milters, and the rule of `greet_pause`.
fn settings_in(text: &str) -> Found {
    let (mut found, mut milters, mut ruleset) = (Found::default(), Vec::new(), String::new());
    for (line, whole) in folded(text) {
        if let Some(option) = whole.strip_prefix("O ") {
            option_in(option, line, &mut found);
        } else if whole.starts_with('O') {
            // The form of old: one letter and the value.
            found.is_whole = false;
        } else if whole.starts_with('X') {
            milters.push((line, whole));
        } else if let Some(name) = whole.strip_prefix('S') {
            name.trim().clone_into(&mut ruleset);
        } else if let Some(value) = whole.strip_prefix("R<?> <$*>").filter(|_| ruleset == "greet_pause") {
            // The clients of which the access map knows nothing (cf/m4/proto.m4).
            found.set(SETTINGS, PAUSE, value.trim().strip_prefix("$#").map(str::trim), line);
        }
    }
    for (line, milter) in &milters {
        milter_in(milter, *line, milters.len(), &mut found);
    }
    found
}

/// `Xname, S=socket, F=flags, T=limits`. Of several filters each has its name before its limits.
fn milter_in(text: &str, line: u32, of: usize, found: &mut Found) {
    let name = text.get(1..).and_then(|text| text.split(',').next()).unwrap_or_default().trim();
    let is_name = (1..=32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    match of {
        1 => part(text, &["T"], MILTER, Form::Limits, line, found),
        _ if is_name => part(text, &["T"], &format!("{name}/{MILTER}"), Form::Limits, line, found),
        _ => {}
    }
}

fn option_in(option: &str, line: u32, found: &mut Found) {
    let (name, value) = option.split_once('=').map_or((option.trim(), None), |(name, value)| (name.trim(), Some(value.trim())));
    if name.eq_ignore_ascii_case("DaemonPortOptions") {
        return part(value.unwrap_or_default(), &["L", "Listen"], LISTEN, Form::Number, line, found);
    }
    let is_meant = |known: &&Setting| known.name.get(..name.len()).is_some_and(|begin| !name.is_empty() && begin.eq_ignore_ascii_case(name));
    match SETTINGS.iter().find(|known| known.name.eq_ignore_ascii_case(name)) {
        Some(known) => found.set(SETTINGS, known.name, value, line),
        // An abbreviation may mean another option: that it is set is all that is sure.
        None => SETTINGS.iter().filter(is_meant).for_each(|known| found.set(SETTINGS, known.name, None, line)),
    }
}

/// `KEY=value` among others with commas between. Where several lines have such parts, which of them is meant is not known.
fn part(text: &str, keys: &[&str], name: &str, form: Form, line: u32, found: &mut Found) {
    let mut parts = text.split(',').filter_map(|part| part.trim().split_once('='));
    let value = parts.find(|(key, _)| keys.iter().any(|known| known.eq_ignore_ascii_case(key.trim()))).map(|(_, value)| value.trim());
    let is_second = found.values.iter().any(|known| known.name == name);
    if value.is_some() {
        found.keep(form, name.to_owned(), value.filter(|_| !is_second), line);
    }
}

/// `Version` in `sendmail/version.c`: `8.17.1.9`.
fn is_version(parts: &[&str]) -> bool {
    parts.len() >= 3 && parts.first() == Some(&"8")
}

/// What to look at.
fn advice(topic: Topic) -> &'static str {
    match topic {
        Topic::Resolver => {
            "to bound the damage: `options timeout:1 attempts:1` in /etc/resolv.conf, or \
             define(`confTO_RESOLVER_RETRANS', `1s') and define(`confTO_RESOLVER_RETRY', `1') in sendmail.mc \
             (O Timeout.resolver.retrans, O Timeout.resolver.retry)"
        }
        Topic::ClientPtr => {
            "sendmail looks up the name of each client's address: a reverse zone for the clients' network on a server \
             that answers, or the client in /etc/hosts, ends this"
        }
        Topic::OwnPtr => "sendmail looks up the name of its own address too: put this host's address and name into /etc/hosts",
        Topic::ForwardOfClient => {
            "sendmail looks up whether the name of the client's PTR leads back to its address: the name needs an A or AAAA \
             record on a server that answers, or the client in /etc/hosts"
        }
        Topic::Blocklist => {
            "a blocklist (FEATURE(`dnsbl') or FEATURE(`enhdnsbl') in sendmail.mc) that does not answer quickly should go; \
             with FEATURE(`delay_checks') it is asked at RCPT instead of at the connection. Without any blocklist more spam \
             comes in: it weakens the defence"
        }
        Topic::Canonify => {
            "sendmail canonifies the domain of MAIL and RCPT by AAAA, then A, then MX, so a test of the MX alone shows \
             nothing of this; FEATURE(`nocanonify') in sendmail.mc turns it off (for a server whose clients send full names)"
        }
        Topic::MailExchanger => {
            "FEATURE(`accept_unresolvable_domains') accepts a sender whose domain cannot be looked up, but still asks, and it \
             weakens the check against forged senders: repair the look-up instead"
        }
        Topic::Ident => {
            "define(`confTO_IDENT', `0s') in sendmail.mc (O Timeout.ident=0 in sendmail.cf) turns ident off; what ident says \
             is only logged and no protection"
        }
        Topic::Callback => {
            "sendmail itself asks no other server about an address: find out which of its maps or mailers leads there (grep for the \
             address or name in sendmail.cf)"
        }
        Topic::Relay => RELAY,
        Topic::MilterSlow => {
            "the milter itself is slow at this stage: its own log and what it asks (DNS, a scanner, a database); its limits \
             are T=C:, S:, R:, E: of INPUT_MAIL_FILTER in sendmail.mc"
        }
        Topic::MilterTimeout => {
            "restart or repair the milter; T=C:, S:, R:, E: of INPUT_MAIL_FILTER in sendmail.mc are the limits for connecting, \
             sending, an answer and the end of the message. Without F=R or F=T mail passes unfiltered when the milter fails: \
             that weakens the defence"
        }
        Topic::MilterUnreachable => {
            "start the milter, or correct S= of its INPUT_MAIL_FILTER in sendmail.mc; T=C: limits the connection attempt. \
             Without F=R or F=T mail passes unfiltered meanwhile"
        }
        Topic::MilterNagle => {
            "let the milter listen on a unix socket and name it in sendmail.mc: INPUT_MAIL_FILTER(`NAME', `S=local:/PATH/TO/SOCKET')"
        }
        Topic::Sasl => {
            "saslauthd and what stands behind it (PAM, LDAP, its -a mechanism): more workers (-n), the cache (-c); \
             pwcheck_method in Sendmail.conf of the SASL library names who is asked"
        }
        Topic::Lock => {
            "sendmail locks a map for each look-up and waits for whoever rebuilds it (makemap, newaliases): build into a new \
             file and rename it over the old one, or rebuild less often"
        }
        Topic::Spool => {
            "QueueDirectory (define(`QUEUE_DIR', `...') in sendmail.mc) lies on a slow disk: use a fast local one, no network \
             share; each message costs about five syncs. confSAFE_QUEUE (O SuperSafe) `m' or `f' saves some: it weakens the \
             promise that an accepted message survives a crash"
        }
        Topic::FileIo => "the disk or network share on which this file lies; maps and the queue belong on a local disk",
        Topic::Child => {
            "what the child does: with DeliveryMode (O DeliveryMode, confDELIVERY_MODE) `interactive' the client waits for the \
             delivery; `background' or `queue' do not"
        }
        Topic::GreetPause => {
            "FEATURE(`greet_pause', `MILLISECONDS') in sendmail.mc, and GreetPause: lines in the access map for clients that \
             need not wait (0). It is a defence against spam: without it more comes in"
        }
        Topic::Tarpit => "sendmail itself pauses before its greeting only: what else watches the client here is not known; `--view strace` shows it",
        Topic::RcptThrottle => {
            "BadRcptThrottle (confBAD_RCPT_THROTTLE) sleeps a second at each RCPT after that many refused ones; above the load \
             of DelayLA (confDELAY_LA) other commands sleep too. It is a defence against guessing of addresses"
        }
        Topic::AuthThrottle => "sendmail sleeps from the third AUTH of a session on (a defence against guessing): correct the client's password",
        Topic::Sleep => {
            "above the load of DelayLA (confDELAY_LA in sendmail.mc) sendmail sleeps one second at most commands, above \
             RefuseLA (confREFUSE_LA) it accepts none: compare with /proc/loadavg. Sessions with many bad commands are slowed \
             down too"
        }
        Topic::AcceptLate => {
            "sendmail's daemon sleeps between connections above ConnectionRateThrottle (confCONNECTION_RATE_THROTTLE), forks no more than \
             MaxDaemonChildren (confMAX_DAEMON_CHILDREN), and stops accepting above RefuseLA (confREFUSE_LA): its log and its title in ps say \
             so (`rejecting connections`, `deferring connections`). Else the machine was too busy to run it"
        }
        Topic::Daemon(topic) => daemon_advice(topic),
        Topic::Network => {
            "find out which part of sendmail talks to this peer (a map, a milter, a mailer in sendmail.cf: grep for its \
             address, port or name)"
        }
        Topic::Service(Cause::NameService) | Topic::Tls => generic::advice(topic),
        Topic::OtherService | Topic::Service(_) => "the service itself: its log and its load; grep for its address or path in sendmail.cf",
        Topic::Unknown => "nothing was seen that names the reason: repeat with `--view strace` and a log (-o), and report it together with the log",
    }
}

/// What to look at where connections do not become sessions.
fn daemon_advice(topic: DaemonTopic) -> &'static str {
    match topic {
        DaemonTopic::RefuseLoad => {
            "RefuseLA (define(`confREFUSE_LA', `N') in sendmail.mc): above this load average the daemon closes its port for 15 s at a time; find \
             out what makes the load, or raise the limit, which lets an overloaded machine take more on"
        }
        DaemonTopic::DelayLoad => {
            "DelayLA (define(`confDELAY_LA', `N') in sendmail.mc): from this load average on the daemon sleeps a second before it accepts"
        }
        DaemonTopic::MaxChildren => {
            "MaxDaemonChildren (define(`confMAX_DAEMON_CHILDREN', `N') in sendmail.mc): when as many sessions run the daemon closes its port for \
             15 s at a time; raise it, or find out why the sessions last so long. It is a defence against overload"
        }
        DaemonTopic::ConnectionRate => {
            "ConnectionRateThrottle (define(`confCONNECTION_RATE_THROTTLE', `N') in sendmail.mc): after as many connections in a second the \
             daemon sleeps a second. It is a defence against overload"
        }
        DaemonTopic::ListenQueue => {
            "Listen= of DAEMON_OPTIONS in sendmail.mc (O DaemonPortOptions) is the length of the queue, 10 by default, net.core.somaxconn its \
             limit; a queue that fills up shows that the daemon does not come to accept: its throttles, and the load of the machine"
        }
    }
}

/// A command that shows the setting.
fn check(topic: Topic) -> Option<&'static str> {
    match topic {
        Topic::GreetPause => Some("grep -i greet_pause /etc/mail/sendmail.cf; grep -i GreetPause /etc/mail/access"),
        Topic::RcptThrottle => Some("grep -iE 'BadRcptThrottle|DelayLA' /etc/mail/sendmail.cf"),
        Topic::AuthThrottle => Some("grep 'AUTH failure' /var/log/mail.log /var/log/maillog"),
        Topic::Sleep => Some("cat /proc/loadavg; grep -iE 'DelayLA|RefuseLA' /etc/mail/sendmail.cf"),
        Topic::Daemon(DaemonTopic::RefuseLoad | DaemonTopic::DelayLoad) => {
            Some("cat /proc/loadavg; grep -iE 'RefuseLA|DelayLA' /etc/mail/sendmail.cf")
        }
        Topic::Daemon(DaemonTopic::MaxChildren) => Some("grep -i MaxDaemonChildren /etc/mail/sendmail.cf; ps -o pid,etime,args -C sendmail"),
        Topic::Daemon(DaemonTopic::ConnectionRate) => Some("grep -i ConnectionRateThrottle /etc/mail/sendmail.cf"),
        Topic::Daemon(DaemonTopic::ListenQueue) => Some("grep -i DaemonPortOptions /etc/mail/sendmail.cf; ss -ltn; nstat -az TcpExtListenOverflows"),
        Topic::AcceptLate => {
            Some("grep -iE 'ConnectionRateThrottle|MaxDaemonChildren|RefuseLA' /etc/mail/sendmail.cf; ss -ltn; nstat -az TcpExtListenOverflows")
        }
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
        | Topic::Tarpit
        | Topic::MilterSlow
        | Topic::MilterTimeout
        | Topic::MilterUnreachable
        | Topic::MilterNagle
        | Topic::Sasl
        | Topic::Lock
        | Topic::Spool
        | Topic::FileIo
        | Topic::Child
        | Topic::Tls
        | Topic::Network
        | Topic::OtherService
        | Topic::Service(_)
        | Topic::Unknown => None,
    }
}

/// The sentences of `refuseconnections` (sendmail/daemon.c).
fn refusal_in(state: &str) -> Option<Refusal> {
    let (doing, why) = state.split_once(" connections on daemon ")?;
    let (rule, what, topic) = match doing {
        "rejecting" if why.contains(": load average: ") => ("refused-load", "refused new connections because of the load", DaemonTopic::RefuseLoad),
        "rejecting" if why.contains(" children, max ") => {
            ("refused-children", "refused new connections because of the number of its children", DaemonTopic::MaxChildren)
        }
        "deferring" if why.ends_with(" per second") => {
            ("deferred-rate", "let new connections wait because of their rate", DaemonTopic::ConnectionRate)
        }
        "delaying" if why.contains(": load average=") => ("delayed-load", "let new connections wait because of the load", DaemonTopic::DelayLoad),
        _ => return None,
    };
    Some(Refusal { rule, what, topic })
}

/// The timer that has this value (doc/op/op.me, "Timeouts"; libmilter's README for `T=`).
fn timer_setting(cause: Cause, stage: Option<&str>, timer_s: f64) -> Option<String> {
    Some(match cause {
        Cause::Ident => format!("Timeout.ident={timer_s}s"),
        // Which of the two is in force the wait does not tell.
        Cause::Dns => format!("Timeout.resolver.retrans={timer_s}s, or `timeout:{timer_s}` of resolv.conf"),
        Cause::Milter => {
            let limit = match stage {
                None => "C",
                Some("eom") => "E",
                Some(_) => "R",
            };
            format!("T={limit}:{timer_s}s of INPUT_MAIL_FILTER")
        }
        _ => return None,
    })
}
