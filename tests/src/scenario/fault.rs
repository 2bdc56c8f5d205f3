//! What the mail server asks in a scenario, and how late or wrong each of it answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The name servers and their rules.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dns {
    /// The first server is on `fd99::1` instead of 10.99.0.1.
    pub is_over_ipv6: bool,
    /// The mail server asks a resolver on its own machine, which asks the first server.
    pub has_resolver: bool,
    /// With a second server, on 10.99.0.3.
    pub second_server: bool,
    /// `options` of resolv.conf.
    pub options: String,
    /// Its `search`.
    pub search: Vec<String>,
    /// First match wins; what matches none is answered from the lab's zone.
    pub rules: Vec<DnsRule>,
}

impl Dns {
    /// Address of the first server.
    pub fn first(&self) -> &'static str {
        if self.is_over_ipv6 { "fd99::1" } else { "10.99.0.1" }
    }
}

/// What one kind of question gets.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DnsRule {
    /// The name, exactly; with a leading dot it is a suffix; empty is any.
    pub name: String,
    /// `A`, `AAAA`, ...; empty is any.
    #[serde(rename = "type")]
    pub qtype: String,
    /// Only the n-th question for this name and type (from 1) at this server.
    pub attempt: Option<u32>,
    /// Only this server, by address.
    pub server: Option<String>,
    /// What is done.
    pub action: DnsAction,
    /// Answer this much later.
    pub delay_s: f64,
    /// For `truncate`: the answer over TCP comes this much later.
    pub tcp_delay_s: f64,
    /// For `answer`: the data, as in a zone file (`10 mx.example.com`).
    pub data: Vec<String>,
    /// For `answer`: the names that it is led over by CNAME, to the last of which the data, or what the zone says of that, belongs.
    pub chain: Vec<String>,
}

/// What a name server does with a question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DnsAction {
    /// From the rule's data, or else the lab's zone.
    #[default]
    Answer,
    /// Nothing.
    Silent,
    /// SERVFAIL.
    Servfail,
    /// NXDOMAIN.
    Nxdomain,
    /// REFUSED.
    Refused,
    /// NOERROR without an answer.
    Nodata,
    /// A damaged answer: it ends in its header.
    Cut,
    /// A damaged answer: a pointer of its record's name points to itself.
    Loop,
    /// A damaged answer: its record's name has 255 labels.
    Labels,
    /// TC over UDP, then the answer over TCP.
    Truncate,
}

/// What port 113 of the client does.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ident {
    /// What is done.
    pub mode: IdentMode,
    /// For `answer`: how late.
    pub delay_s: f64,
}

/// What port 113 of the client does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentMode {
    /// No listener: RST.
    #[default]
    Refuse,
    /// nftables drops the SYN.
    Drop,
    /// Accepts and says nothing.
    Silent,
    /// Answers.
    Answer,
}

/// The milter.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Milter {
    /// On a unix socket; otherwise TCP 10.99.0.1:8891.
    pub is_unix: bool,
    /// It is `opendkim`, a process of its own, on a unix socket; the stages do not count then.
    pub is_opendkim: bool,
    /// Time-outs as in `INPUT_MAIL_FILTER`, such as `R:10s`.
    pub timeouts: String,
    /// By stage: connect, helo, envfrom, envrcpt, data, header, eoh, body, eom.
    pub stages: BTreeMap<String, MilterStage>,
}

/// What the milter does at one stage.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MilterStage {
    /// How late it answers.
    pub delay_s: f64,
    /// What.
    pub reply: MilterReply,
}

/// Reply of a milter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MilterReply {
    /// `SMFIR_CONTINUE`.
    #[default]
    Continue,
    /// `SMFIR_ACCEPT`.
    Accept,
    /// `SMFIR_REJECT`.
    Reject,
    /// `SMFIR_TEMPFAIL`.
    Tempfail,
}

/// The saslauthd.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Saslauthd {
    /// What sendmail offers, separated by blanks.
    pub mechanisms: String,
    /// How late it answers.
    pub delay_s: f64,
    /// OK or NO.
    pub is_no: bool,
}

impl Default for Saslauthd {
    fn default() -> Self {
        Self { mechanisms: "PLAIN LOGIN".to_owned(), delay_s: 0.0, is_no: false }
    }
}

/// The disk of the spool.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Disk {
    /// First match wins.
    pub delays: Vec<DiskDelay>,
}

/// What takes how long.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiskDelay {
    /// Which operation.
    pub operation: DiskOperation,
    /// How the file's name begins (`df`, `qf`, `tf`; `.` is the directory itself); empty is any.
    pub file: String,
    /// How long.
    pub delay_s: f64,
}

/// An operation of a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskOperation {
    /// `fsync` of a file or of the directory.
    #[default]
    Fsync,
    /// A new file.
    Create,
    /// A file gets another name.
    Rename,
    /// Bytes into a file.
    Write,
    /// A name goes.
    Unlink,
}

/// The next hop.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sink {
    /// nftables drops the SYN.
    pub is_dropped: bool,
    /// How late it greets.
    pub greeting_s: f64,
    /// How late it answers a RCPT.
    pub rcpt_s: f64,
    /// How late it answers the end of a message.
    pub message_s: f64,
}

/// The local mailer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mailer {
    /// How long it takes for a message.
    pub delay_s: f64,
}

/// The server of a socket map, on 10.99.0.1:8892; the map itself stands in `sendmail.mc`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SocketMap {
    /// How late it answers.
    pub delay_s: f64,
}

/// spamd, on 10.99.0.1:783.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spamd {
    /// How late it answers.
    pub delay_s: f64,
}

/// The policy service, on 10.99.0.1:10031; that it is asked stands in `postfix.main`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// How late it answers.
    pub delay_s: f64,
    /// What it answers.
    pub action: String,
}

impl Default for Policy {
    fn default() -> Self {
        Self { delay_s: 0.0, action: "DUNNO".to_owned() }
    }
}

/// A service that answers late, on 10.99.0.1 at its own port, or a unix socket; that it is asked stands in the MTA's settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Late {
    /// Which.
    pub service: Service,
    /// How late it answers.
    pub delay_s: f64,
}

/// A service of `late`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// A virus scanner, on port 3310.
    Clamd,
    /// Dovecot's authentication service, at `/run/dovecot/auth`.
    Dovecot,
    /// A directory, on port 389.
    Ldap,
    /// A database, on port 3306.
    Mysql,
    /// glibc's name service cache, at `/run/nscd/socket`.
    Nscd,
    /// A database, on port 5432.
    Pgsql,
    /// A filter before the queue, on port 10024.
    Smtp,
    /// What Exim's `${readsocket}` asks, on port 10050.
    Socket,
    /// Postfix's `tcp:` table, on port 10051.
    TcpTable,
}
