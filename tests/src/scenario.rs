//! A scenario: the MTA's settings, the faults, the dialogue, and what the tracer is expected to say.
//!
//! In comes a TOML file, out go these plain structures; unknown keys are errors. Not here: how any of it is done.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// A whole scenario.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// The file's name without its suffix.
    #[serde(skip)]
    pub name: String,
    /// One line for people.
    pub title: String,
    /// What `--client` of the tracer is given.
    #[serde(default = "default_client")]
    pub client: String,
    /// When the whole run counts as hung.
    #[serde(default = "default_limit")]
    pub time_limit_s: u64,
    /// Whether processes are looked at for which the session waits; not where those are the lab's own threads.
    #[serde(default = "default_chains")]
    pub chains: bool,
    /// Which MTA.
    pub mta: MtaKind,
    /// sendmail's settings.
    pub sendmail: Sendmail,
    /// Postfix's settings.
    pub postfix: Postfix,
    /// Exim's settings.
    pub exim: Exim,
    /// OpenSMTPD's settings.
    pub opensmtpd: OpenSmtpd,
    /// aiosmtpd's settings.
    pub aiosmtpd: Aiosmtpd,
    /// The name servers.
    pub dns: Dns,
    /// The ident server on the client.
    pub ident: Ident,
    /// The milter, if any.
    pub milter: Option<Milter>,
    /// The saslauthd, if any.
    pub saslauthd: Option<Saslauthd>,
    /// The slow disk on which the spool lies, if any; otherwise it lies in memory.
    pub disk: Option<Disk>,
    /// What the next hop does, which is also asked whether an address exists.
    pub sink: Sink,
    /// The slow local mailer, if any.
    pub mailer: Option<Mailer>,
    /// The server of a socket map, if any.
    pub socket_map: Option<SocketMap>,
    /// spamd, if any.
    pub spamd: Option<Spamd>,
    /// The policy service, if any.
    pub policy: Option<Policy>,
    /// Other services that answer late.
    pub late: Vec<Late>,
    /// A second client that talks first, from another address; its session must not be reported.
    pub other_client: Option<OtherClient>,
    /// What the client does.
    pub dialogue: Vec<Step>,
    /// What the report must say.
    pub expect: Expect,
}

fn default_client() -> String {
    "10.99.0.1".to_owned()
}

fn default_chains() -> bool {
    true
}

fn default_limit() -> u64 {
    90
}

/// Which MTA serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MtaKind {
    /// sendmail.
    #[default]
    Sendmail,
    /// Postfix.
    Postfix,
    /// Exim.
    Exim,
    /// OpenSMTPD.
    OpenSmtpd,
    /// aiosmtpd, which the tracer does not know.
    Aiosmtpd,
}

/// Settings of sendmail, put into its `.mc` file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sendmail {
    /// `FEATURE(...)` arguments, as they stand between the parentheses.
    pub features: Vec<String>,
    /// `define(name, value)`.
    pub define: BTreeMap<String, String>,
    /// More lines of m4.
    pub mc: Vec<String>,
    /// Lines of the access map; a map makes the file and the FEATURE.
    pub access: Vec<String>,
    /// Addresses on which it listens.
    pub listen: Vec<String>,
    /// Whether a certificate is made and STARTTLS offered.
    pub tls: bool,
    /// The daemon is stopped when the client connects, and goes on so much later.
    pub stopped_s: f64,
    /// Length of the listen queue (`Listen=`), 0: sendmail's own.
    pub listen_queue: u32,
    /// So many more clients connect then, from 10.99.0.4, and wait until the session is over.
    pub crowd: u32,
}

/// Settings of Postfix.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Postfix {
    /// Lines of `main.cf`.
    pub main: BTreeMap<String, String>,
    /// Lines of `master.cf` in the place of the one of port 25.
    pub master: Vec<String>,
    /// Lines of the table `hash:/etc/postfix/access`.
    pub access: Vec<String>,
    /// Whether a certificate is made and STARTTLS offered.
    pub tls: bool,
}

/// Settings of Exim, put into its one file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Exim {
    /// Lines of its main part; they replace the lab's own for the same option.
    pub main: Vec<String>,
    /// Lines of an ACL by its stage (`connect`, `helo`, `mail`, `rcpt`, `data`); what they do not decide is accepted.
    pub acl: BTreeMap<String, Vec<String>>,
    /// More lines of the only router, which looks up MX.
    pub router: Vec<String>,
    /// More lines of the only transport, which speaks SMTP.
    pub transport: Vec<String>,
    /// Whether a message is delivered as soon as it is accepted; otherwise it stays in the queue.
    pub is_delivering: bool,
    /// Whether a certificate is made and STARTTLS offered.
    pub tls: bool,
}

/// Settings of OpenSMTPD, put into its one file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpenSmtpd {
    /// Lines before the one that listens.
    pub conf: Vec<String>,
    /// More words of the line that listens.
    pub listen: String,
    /// A filter answers this late, if there is one.
    pub filter_s: Option<f64>,
    /// In which phase it is asked (`mail-from`, `rcpt-to`).
    pub filter_phase: String,
}

/// Settings of aiosmtpd.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Aiosmtpd {
    /// Lines of Python that its handler runs for each recipient.
    pub rcpt: Vec<String>,
}

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

/// A client whose session is not asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtherClient {
    /// Its address.
    pub address: String,
    /// It does not talk first, but beside the client.
    pub is_beside: bool,
    /// What it does.
    pub dialogue: Vec<Step>,
}

/// One step of the client. Exactly one of the first group is given.
#[expect(clippy::struct_excessive_bools, reason = "each is one kind of step; in TOML they read better than a tag")]
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Step {
    /// Reads the greeting.
    pub greeting: bool,
    /// Sends a line and reads its reply.
    pub line: Option<String>,
    /// Sends these lines in one segment and reads as many replies.
    pub batch: Option<Vec<String>>,
    /// Sends a line byte by byte, each its own segment, and reads its reply.
    pub split: Option<String>,
    /// Sends these bytes as they are and reads `replies` replies.
    pub raw: Option<String>,
    /// Sends the message (dots are doubled) with its final dot, reads the reply.
    pub body: Option<String>,
    /// Sends a line and does not read its reply yet.
    pub send: Option<String>,
    /// Reads the reply to what was sent before and has none yet.
    pub reply: bool,
    /// Waits until a name server was asked this (`AAAA example.com`).
    pub until_asked: Option<String>,
    /// From now on the machine's load average is this, for the MTA.
    pub load_average: Option<f64>,
    /// Waits until the daemon's title begins with this (`rejecting connections`).
    pub until_title: Option<String>,
    /// Takes an exclusive lock on a file of /etc/mail, or at an absolute path as the MTA sees it, for `hold_s`, beside the dialogue.
    pub lock: Option<String>,
    /// Closes the connection.
    pub leave: bool,
    /// Kills the serving process by SIGKILL.
    pub kill: bool,
    /// STARTTLS is sent as a line before; this does the handshake, and what follows goes through it.
    pub tls: bool,
    /// Lets time pass.
    pub sleep_s: Option<f64>,
    /// Connects from this address to that one (with a port, if it is not 25) instead of the usual two; must be the first step.
    pub connect: Option<[String; 2]>,

    /// Code of each reply read, in order; empty means that any will do.
    pub codes: Vec<u16>,
    /// For `raw`: how many replies follow.
    pub replies: usize,
    /// For `raw`: what it is called in the journal.
    pub verb: Option<String>,
    /// For `split`: time between two bytes.
    pub gap_ms: u64,
    /// For `body`: time between two of its lines, which otherwise are sent at once. For `tls`: how long the client lets the server's first flight lie.
    pub gap_s: f64,
    /// For `lock`: how long.
    pub hold_s: f64,
}

/// What the report must say.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// How the session ended; `quit` unless given.
    pub end: Option<String>,
    /// Whether the trace is whole.
    pub incomplete: bool,
    /// Whether the connection waited for as long as the daemon was stopped.
    pub accepted_late: bool,
    /// Commands in order.
    pub commands: Vec<ExpectCommand>,
    /// Further commands may follow the last expected one.
    pub open_ended: bool,
    /// Rules of findings about the whole session, whatever command they name.
    pub findings_anywhere: Vec<String>,
    /// Rules of the findings that belong to no session, the only ones.
    pub daemon_findings: Vec<String>,
    /// So much of each command may be unexplained: of an event loop the time on a processor is.
    pub unexplained_s: f64,
    /// Rules of findings that may be there, where a busy machine decides about it.
    pub findings_maybe: Vec<String>,
}

/// One expected command.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExpectCommand {
    /// Its verb.
    pub verb: String,
    /// Code of its final reply.
    pub code: Option<u16>,
    /// Its waits, in order; shorter ones than `ignore_s` may stand between them.
    pub waits: Vec<ExpectWait>,
    /// Waits not mentioned above may be this long; 50 ms unless given.
    pub ignore_s: Option<f64>,
    /// What must stand in `absent`.
    pub absent: Vec<String>,
    /// Rules of the findings that must be there for this command; the only ones.
    pub findings: Vec<String>,
    /// Of some of these rules: the share of the server's time, within 2 %.
    pub shares: BTreeMap<String, f64>,
    /// All DNS questions during it, in order, as the name servers saw them (`AAAA example.com`); checked if given.
    pub questions: Vec<String>,
    /// `inferred`, where that is expected.
    pub boundary: Option<String>,
    /// About how long it takes, as configured; the exact time comes from the journal.
    pub about_s: Option<f64>,
}

/// One expected wait.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExpectWait {
    /// Its cause.
    pub cause: String,
    /// Its target, exactly; each `*` is any text.
    pub target: Option<String>,
    /// Its outcome.
    pub outcome: Option<String>,
    /// Its attempts.
    pub attempts: Option<u32>,
    /// The DNS question, as `AAAA example.com`.
    pub question: Option<String>,
    /// The DNS answer's code; `none` for null.
    pub rcode: Option<String>,
    /// The servers, in order, each `ADDRESS:53 ATTEMPTS answered|silent`.
    pub servers: Vec<String>,
    /// The disk's operation.
    pub operation: Option<DiskOperation>,
    /// Which of the disk's operations of this kind during the command, from 1.
    pub nth: Option<usize>,
    /// The milter's stage.
    pub stage: Option<String>,
    /// The milter's reply.
    pub reply: Option<String>,
    /// The process's own timer.
    pub timer_s: Option<f64>,
    /// How long, as configured, where no neighbour can measure it.
    pub elapsed_s: Option<f64>,
    /// Name of the process at its far end.
    pub peer: Option<String>,
    /// What that was waiting for; each gives its `elapsed_s`.
    pub inner: Vec<ExpectWait>,
    /// Of an inner wait: how much of its beginning may be missing, since the process was not traced yet.
    pub late_s: Option<f64>,
}

impl Scenario {
    /// Reads one file.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let mut scenario: Self = toml::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
        scenario.name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(scenario)
    }

    /// Reads the scenario of this name from `tests/lab`.
    pub fn named(name: &str) -> Result<Self> {
        Self::load(&scenario_dir().join(format!("{name}.toml")))
    }

    /// Reads all of `tests/lab`, in order of name.
    pub fn all() -> Result<Vec<Self>> {
        let dir = scenario_dir();
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        paths.retain(|path| path.extension().is_some_and(|ext| ext == "toml"));
        paths.sort();
        paths.iter().map(|path| Self::load(path)).collect()
    }
}

/// Where the scenarios are.
pub fn scenario_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("lab")
}
