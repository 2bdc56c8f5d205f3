//! The mail servers that serve a scenario, and their settings.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::IGNORE_S;

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

impl MtaKind {
    /// Waits for the server's own services (`mta`) that no expectation mentions may be this long, unless the command says otherwise, s. Postfix's
    /// are processes that are forked when they are first needed: 4 ms on an idle machine, 25 ms beside six others, and true. Below what is told
    /// as a finding, as everything else.
    pub const fn own_s(self) -> f64 {
        match self {
            Self::Postfix => 0.1,
            Self::Sendmail | Self::Exim | Self::OpenSmtpd | Self::Aiosmtpd => IGNORE_S,
        }
    }
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
    /// Lines of `/etc/smtpd-ldap.conf`, for a table `ldap:/etc/smtpd-ldap.conf` (table-ldap(5)).
    pub ldap: Vec<String>,
}

/// Settings of aiosmtpd.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Aiosmtpd {
    /// Lines of Python that its handler runs for each recipient.
    pub rcpt: Vec<String>,
    /// Whether a certificate is made and STARTTLS offered.
    pub tls: bool,
}
