//! The words in which the rules of `diagnosis/` ask a mail server's file: what advice is about, what a daemon refuses, what a service is.

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
    /// The next hop, to which a message goes before its client has the reply.
    Relay,
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
    /// A TLS handshake that stands still.
    Tls,
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

/// What a daemon does with new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Name of the rule.
    pub rule: &'static str,
    /// `refused new connections`.
    pub what: &'static str,
    /// Which setting decides.
    pub topic: DaemonTopic,
}

/// What the peer behind a unix socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The cause of a wait for it.
    pub cause: Cause,
    /// Its name, in the server's words.
    pub name: String,
}
