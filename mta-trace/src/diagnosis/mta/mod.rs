//! What mail servers call their settings: one file each.
//!
//! In: the name of the server and a [`Topic`]. Out: what to look at, in its own words. Another server is one more
//! file and one more line in [`advice_for`]. Not here: which topic fits (the rules).

mod exim;
mod generic;
mod opensmtpd;
mod postfix;
mod sendmail;

use super::daemon::Refusal;
use crate::report::Cause;

/// What a piece of advice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// How long the resolver tries.
    Resolver,
    /// PTR of the client's address.
    ClientPtr,
    /// PTR of the server's own address.
    OwnPtr,
    /// The name that the client's PTR gave, looked up again.
    ForwardOfClient,
    /// The client's address in a DNS blocklist.
    Blocklist,
    /// AAAA or A of the domain in MAIL or RCPT.
    Canonify,
    /// MX of the domain in MAIL or RCPT.
    MailExchanger,
    /// Ident.
    Ident,
    /// A mail server that is asked whether an address exists.
    Callback,
    /// A milter that answers late.
    MilterSlow,
    /// A milter that does not answer.
    MilterTimeout,
    /// A milter that is not there.
    MilterUnreachable,
    /// 40 ms a callback.
    MilterNagle,
    /// Password checks.
    Sasl,
    /// A locked map or mailbox.
    Lock,
    /// Syncing the queue.
    Spool,
    /// Other file access.
    FileIo,
    /// A child process.
    Child,
    /// A pause before the greeting.
    GreetPause,
    /// A pause before a reply.
    Tarpit,
    /// A throttle of recipients.
    RcptThrottle,
    /// A throttle of authentication.
    AuthThrottle,
    /// Any other sleep.
    Sleep,
    /// A daemon that comes late to accept.
    AcceptLate,
    /// Connections that do not become sessions.
    Daemon(DaemonTopic),
    /// A peer without a name.
    Network,
    /// A service that is known by its address or by what it was asked, by the cause of waits for it.
    Service(Cause),
    /// A service with a name, but without rules yet.
    OtherService,
    /// Nothing is known.
    Unknown,
}

/// Why connections do not become sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonTopic {
    /// It refuses them above a load.
    RefuseLoad,
    /// It lets them wait above a load.
    DelayLoad,
    /// It has as many children as it may.
    MaxChildren,
    /// It accepts so many of them a second.
    ConnectionRate,
    /// The listen queue is too short, or is not emptied in time.
    ListenQueue,
}

/// What to look at.
pub type Advice = fn(Topic) -> &'static str;

/// A command that shows the setting.
pub type Check = fn(Topic) -> Option<&'static str>;

/// What one of the server's own timers is called, with the value that it had: for the cause whose wait it ended, and the milter's stage.
pub fn timer_setting(mta: &str, cause: Cause, stage: Option<&str>, timer_s: f64) -> Option<String> {
    match mta {
        "sendmail" => sendmail::timer_setting(cause, stage, timer_s),
        "postfix" => postfix::timer_setting(cause, stage, timer_s),
        "exim" => exim::timer_setting(cause, timer_s),
        _ => None,
    }
}

/// What a daemon's words about new connections mean, if it does not simply accept them.
pub fn refusal_in(mta: &str, state: &str) -> Option<Refusal> {
    match mta {
        "sendmail" => sendmail::refusal_in(state),
        _ => None,
    }
}

/// The advice for a mail server; without a file of its own it is general.
pub fn advice_for(mta: &str) -> (Advice, Check) {
    match mta {
        "sendmail" => (sendmail::advice, sendmail::check),
        "postfix" => (postfix::advice, postfix::check),
        "exim" => (exim::advice, exim::check),
        "opensmtpd" => (opensmtpd::advice, opensmtpd::check),
        _ => (generic::advice, generic::check),
    }
}
