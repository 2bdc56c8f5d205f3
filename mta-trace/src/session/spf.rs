//! SPF questions (RFC 7208, 2.3, 2.4 and 3.1): of type TXT, about the very domain of the sender or of HELO in this session.
//!
//! In: the client's lines, and waits, with those of helpers inside. Out: the `purpose` of such a look-up. Invariant: nothing less is evidence, since
//! an SPF question looks like any other of type TXT; so what `include` and `redirect` lead to is not named.

use crate::proto::smtp::domain_of;
use crate::report::{Verb, Wait};

/// As reports call it.
const PURPOSE: &str = "spf";

/// Who the client says it is, and who sends.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    helo: Option<String>,
    sender: Option<String>,
}

impl Identities {
    /// Takes a line of the client.
    pub fn see(&mut self, verb: Verb, line: Option<&str>) {
        let domain = || line.and_then(|line| domain_of(verb, line)).map(str::to_owned);
        match verb {
            Verb::Helo | Verb::Ehlo | Verb::Lhlo => *self = Self { helo: domain(), sender: None },
            Verb::Mail => self.sender = domain(),
            Verb::Rset | Verb::Starttls => self.sender = None,
            _ => {}
        }
    }

    /// Names a look-up, and those that the far end of a wait made.
    pub fn name(&self, wait: &mut Wait) {
        let is_one = |name: &str| [&self.helo, &self.sender].into_iter().flatten().any(|known| known.eq_ignore_ascii_case(name));
        if let Some(dns) = wait.dns.as_mut().filter(|dns| dns.purpose.is_none() && dns.qtype == "TXT" && is_one(dns.qname.trim_end_matches('.'))) {
            dns.purpose = Some(PURPOSE.to_owned());
        }
        wait.inner.iter_mut().for_each(|inner| self.name(inner));
    }
}
