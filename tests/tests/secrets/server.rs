//! The mail servers that secrets are brought to, and what each of them says to AUTH.

use anyhow::Result;
use lab::scenario::{DnsRule, Saslauthd, Scenario};

/// Attaching and detaching takes a second on an idle machine; while the positive control was built beside three busy loops it took more than
/// ten. Less than the time that the resolver waits.
const SLOW_S: f64 = 25.0;
/// What sendmail asks about a domain first.
const FIRST: &str = "AAAA";

/// The mail server that a case is played with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// Offers AUTH; saslauthd refuses every password.
    Refusing,
    /// Offers AUTH; saslauthd takes every password.
    Accepting,
    /// As the refusing one, but its name server takes its time for the sender's domain: a tracer is attached meanwhile.
    Slow,
    /// Offers no AUTH.
    Without,
    /// Postfix, which offers no AUTH.
    Postfix,
    /// Postfix, which offers AUTH; dovecot's auth refuses every password.
    PostfixAuth,
    /// Postfix behind its postscreen, which offers no AUTH.
    Postscreen,
    /// Exim, which offers AUTH; saslauthd refuses every password.
    Exim,
}

impl Server {
    pub const ALL: [Self; 8] =
        [Self::Refusing, Self::Accepting, Self::Slow, Self::Without, Self::Postfix, Self::PostfixAuth, Self::Postscreen, Self::Exim];

    pub fn name(self) -> &'static str {
        match self {
            Self::Refusing => "refusing",
            Self::Accepting => "accepting",
            Self::Slow => "slow",
            Self::Without => "without",
            Self::Postfix => "postfix",
            Self::PostfixAuth => "postfix-auth",
            Self::Postscreen => "postscreen",
            Self::Exim => "exim",
        }
    }

    /// What stands in its reply to EHLO.
    pub fn offer(self) -> Option<&'static str> {
        match self {
            Self::Without | Self::Postfix | Self::Postscreen => None,
            Self::Refusing | Self::Accepting | Self::Slow => Some("AUTH PLAIN LOGIN CRAM-MD5"),
            Self::PostfixAuth | Self::Exim => Some("AUTH PLAIN LOGIN"),
        }
    }

    /// Whether it checks a password by a mechanism in which it is not sent.
    pub fn has_cram(self) -> bool {
        !matches!(self, Self::Accepting | Self::PostfixAuth | Self::Exim)
    }

    /// Whether what serves stays for the next session.
    pub fn is_reused(self) -> bool {
        matches!(self, Self::Postfix | Self::PostfixAuth | Self::Postscreen)
    }

    pub fn scenario(self) -> Result<Scenario> {
        match self {
            Self::Postfix => return Scenario::named("postfix-fast"),
            Self::Postscreen => return Scenario::named("postfix-postscreen-early-talker"),
            Self::PostfixAuth => {
                let mut scenario = Scenario::named("postfix-sasl-slow")?;
                scenario.late.iter_mut().for_each(|late| late.delay_s = 0.0);
                return Ok(scenario);
            }
            Self::Exim => {
                let mut scenario = Scenario::named("exim-saslauthd-slow")?;
                scenario.saslauthd.iter_mut().for_each(|saslauthd| saslauthd.delay_s = 0.0);
                return Ok(scenario);
            }
            Self::Refusing | Self::Accepting | Self::Slow | Self::Without => {}
        }
        let mut scenario = Scenario::named("fast")?;
        let mechanisms = "PLAIN LOGIN CRAM-MD5".to_owned();
        scenario.saslauthd = match self {
            Self::Refusing | Self::Slow => Some(Saslauthd { mechanisms, delay_s: 0.0, is_no: true }),
            Self::Accepting => Some(Saslauthd { mechanisms, delay_s: 0.0, is_no: false }),
            Self::Without | Self::Postfix | Self::PostfixAuth | Self::Postscreen | Self::Exim => None,
        };
        if self == Self::Slow {
            // Who asks is patient, and asks once.
            "timeout:30 attempts:1".clone_into(&mut scenario.dns.options);
            scenario.dns.rules = vec![DnsRule { name: "example.com".to_owned(), qtype: FIRST.to_owned(), delay_s: SLOW_S, ..DnsRule::default() }];
        }
        if self == Self::Without {
            // Left to itself sendmail offers what libsasl has; of a mechanism that nobody has nothing is left.
            scenario.sendmail.define.insert("confAUTH_MECHANISMS".to_owned(), "X-NONE".to_owned());
        }
        Ok(scenario)
    }
}
