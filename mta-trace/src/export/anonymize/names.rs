//! Names that stand for others: `host3`, `domain1.example`, `user2`, `word7`, numbered as they appear.
//!
//! Of a host name the last two labels are one thing, each label before them one of its own, so that what ended in a domain ends in its stand-in. Kept
//! are labels that a protocol gives (`_dmarc`, `in-addr.arpa`), zones of public blocklists and the accounts that every server has. A reversed address is
//! that of the stand-in. Invariant: bounded; when [`MAX_ENTRIES`] are known, all new ones are `other`.

use super::addresses::Addresses;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Entries in all: some 100 bytes each.
pub const MAX_ENTRIES: usize = 1_000_000;

/// Longest name that is looked at label by label; of a longer one everything before the domain is one label.
const MAX_LABELS: usize = 16;
/// Longer ones are told apart by their beginning: nothing that exists has as many letters.
const MAX_KEY: usize = 255;

/// Labels that are not anybody's.
const KEPT_LABELS: &[&str] = &[
    "localhost",
    "localdomain",
    "_domainkey",
    "_dmarc",
    "_spf",
    "_adsp",
    "_report",
    "_policy",
    "_vouch",
    "_atps",
    "_mta-sts",
    "_smtp",
    "_tls",
    "_tcp",
    "_udp",
    "_submission",
    "_submissions",
    "_imap",
    "_imaps",
    "_pop3",
    "_pop3s",
    "_ldap",
    "_kerberos",
    "_esp",
    "_bimi",
];

/// Zones of blocklists and allow-lists that everybody may ask: which one is slow is what a reader wants to know.
const PUBLIC_ZONES: &[&str] = &[
    "zen.spamhaus.org",
    "sbl.spamhaus.org",
    "xbl.spamhaus.org",
    "pbl.spamhaus.org",
    "sbl-xbl.spamhaus.org",
    "dbl.spamhaus.org",
    "swl.spamhaus.org",
    "bl.spamcop.net",
    "b.barracudacentral.org",
    "bb.barracudacentral.org",
    "dnsbl.sorbs.net",
    "multi.surbl.org",
    "multi.uribl.com",
    "black.uribl.com",
    "list.dnswl.org",
    "psbl.surriel.com",
    "bl.mailspike.net",
    "rep.mailspike.net",
    "dnsbl.dronebl.org",
    "ix.dnsbl.manitu.net",
    "bl.blocklist.de",
    "all.s5h.net",
    "hostkarma.junkemailfilter.com",
    "dnsbl-1.uceprotect.net",
    "dnsbl-2.uceprotect.net",
    "dnsbl-3.uceprotect.net",
    "cbl.abuseat.org",
    "truncate.gbudb.net",
    "bl.spameatingmonkey.net",
    "dnsbl.abuse.ch",
    "combined.njabl.org",
    "bogons.cymru.com",
];

/// Accounts that RFC 2142 or the servers themselves give.
const KEPT_USERS: &[&str] = &["postmaster", "mailer-daemon", "double-bounce"];

/// The names of a file.
#[derive(Debug)]
pub struct Names {
    addresses: Addresses,
    labels: HashMap<Box<str>, u32>,
    domains: HashMap<Box<str>, u32>,
    users: HashMap<Box<str>, u32>,
    words: HashMap<Box<str>, u32>,
    /// Whole names: what was said of one is said again.
    whole: HashMap<Box<str>, Box<str>>,
    max: usize,
}

impl Default for Names {
    fn default() -> Self {
        Self::bounded(MAX_ENTRIES)
    }
}

/// The number of a name; none: there is no room for it.
fn number(map: &mut HashMap<Box<str>, u32>, key: &str, is_full: bool) -> Option<u32> {
    if let Some(known) = map.get(key) {
        return Some(*known);
    }
    if is_full {
        return None;
    }
    let next = u32::try_from(map.len()).ok()?.checked_add(1)?;
    map.insert(key.into(), next);
    Some(next)
}

fn numbered(stem: &str, number: Option<u32>) -> String {
    number.map_or_else(|| "other".to_owned(), |number| format!("{stem}{number}"))
}

impl Names {
    /// With another bound.
    pub fn bounded(max: usize) -> Self {
        Self {
            addresses: Addresses::default(),
            labels: HashMap::new(),
            domains: HashMap::new(),
            users: HashMap::new(),
            words: HashMap::new(),
            whole: HashMap::new(),
            max,
        }
    }

    /// No new name is kept any more.
    pub fn is_full(&self) -> bool {
        let Self { addresses, labels, domains, users, words, whole, max } = self;
        addresses.len() + labels.len() + domains.len() + users.len() + words.len() + whole.len() >= *max
    }

    /// The address that stands for this one.
    pub fn address(&mut self, address: IpAddr) -> IpAddr {
        let is_full = self.is_full();
        self.addresses.stand_in(address, is_full)
    }

    /// The local part that stands for this one.
    pub fn user(&mut self, local: &str) -> String {
        let key = key(local);
        if key.is_empty() || KEPT_USERS.contains(&key.as_str()) {
            return local.to_owned();
        }
        let is_full = self.is_full();
        numbered("user", number(&mut self.users, &key, is_full))
    }

    /// What stands for a word that is nowhere said to be a name; the same as for a user or a host of this name.
    pub fn word(&mut self, word: &str) -> String {
        if let Some(known) = self.known(word) {
            return known;
        }
        let is_full = self.is_full();
        numbered("word", number(&mut self.words, &key(word), is_full))
    }

    /// What stands for a word that was a user's or a host's name before.
    pub fn known(&self, word: &str) -> Option<String> {
        let key = key(word);
        if KEPT_USERS.contains(&key.as_str()) || KEPT_LABELS.contains(&key.as_str()) {
            return Some(word.to_owned());
        }
        let of = |map: &HashMap<Box<str>, u32>, stem: &str| map.get(key.as_str()).map(|number| numbered(stem, Some(*number)));
        of(&self.users, "user").or_else(|| of(&self.labels, "host")).or_else(|| of(&self.words, "word"))
    }

    /// The host or domain name that stands for this one, which is in the form of RFC 1035, 5.1; a final dot stays.
    pub fn host(&mut self, name: &str) -> String {
        let (bare, dot) = name.strip_suffix('.').map_or((name, ""), |bare| (bare, "."));
        if bare.is_empty() {
            return name.to_owned();
        }
        let lower = key(bare);
        if let Some(known) = self.whole.get(lower.as_str()) {
            return format!("{known}{dot}");
        }
        let new = self.new_host(&lower);
        if !self.is_full() {
            self.whole.insert(lower.into(), new.as_str().into());
        }
        format!("{new}{dot}")
    }

    fn new_host(&mut self, lower: &str) -> String {
        if PUBLIC_ZONES.contains(&lower) || lower == "localhost.localdomain" {
            return lower.to_owned();
        }
        if let Some(new) = self.reversed(lower) {
            return new;
        }
        if let Some((listed, zone)) = PUBLIC_ZONES.iter().find_map(|zone| Some((lower.strip_suffix(zone)?.strip_suffix('.')?, zone))) {
            return format!("{}.{zone}", self.host(listed));
        }
        let labels = labels(lower);
        let new = self.by_labels(&labels).join(".");
        if new.len() <= 250 { new } else { self.short(lower, &labels) }
    }

    /// Label by label; a name that is known stays one piece where it stands within another (blocklists of domains, search suffixes).
    fn by_labels(&mut self, labels: &[&str]) -> Vec<String> {
        let (before, domain) = labels.split_at(labels.len().saturating_sub(2));
        if labels.len() > MAX_LABELS {
            let before = before.join(".");
            return vec![self.label(&before), self.domain(domain)];
        }
        let mut new = Vec::new();
        let mut at = 0;
        while let Some(label) = before.get(at) {
            let known = (at + 2..labels.len()).rev().find_map(|end| Some((end, self.whole.get(labels.get(at..end)?.join(".").as_str())?)));
            if let Some((end, known)) = known {
                new.push(known.to_string());
                new.extend(self.by_labels(labels.get(end..).unwrap_or_default()));
                return new;
            }
            new.push(self.label(label));
            at += 1;
        }
        match domain {
            [first, last] if is_kept(first) || is_kept(last) => new.extend([self.label(first), self.label(last)]),
            [_, _] => new.push(self.domain(domain)),
            _ => new.extend(domain.iter().map(|label| self.label(label))),
        }
        new
    }

    fn short(&mut self, lower: &str, labels: &[&str]) -> String {
        let domain = labels.get(labels.len().saturating_sub(2)..).unwrap_or_default();
        format!("{}.{}", self.label(lower), self.domain(domain))
    }

    fn domain(&mut self, labels: &[&str]) -> String {
        let is_full = self.is_full();
        format!("{}.example", numbered("domain", number(&mut self.domains, &labels.join("."), is_full)))
    }

    fn label(&mut self, label: &str) -> String {
        if is_kept(label) {
            return label.to_owned();
        }
        let is_full = self.is_full();
        numbered("host", number(&mut self.labels, label, is_full))
    }

    /// A name that begins with a whole reversed address: below `arpa`, or of a blocklist (RFC 5782, 2.1 and 2.4).
    fn reversed(&mut self, lower: &str) -> Option<String> {
        if let Some(digits) = lower.strip_suffix(".in-addr.arpa") {
            return match octets(digits) {
                Some((address, "")) => Some(reverse_v4(self.address(IpAddr::V4(address))) + ".in-addr.arpa"),
                // A part of one (a zone cut, RFC 2317): numbers again, but no address.
                _ => Some(format!("{}.in-addr.arpa", digits.split('.').map(|label| self.label(label)).collect::<Vec<_>>().join("."))),
            };
        }
        if let Some(digits) = lower.strip_suffix(".ip6.arpa") {
            return match nibbles(digits) {
                Some((address, "")) => Some(reverse_v6(self.address(IpAddr::V6(address))) + ".ip6.arpa"),
                _ => Some(format!("{}.ip6.arpa", self.label(digits))),
            };
        }
        if matches!(lower, "in-addr.arpa" | "ip6.arpa" | "arpa") {
            return Some(lower.to_owned());
        }
        let (new, zone) = match (octets(lower), nibbles(lower)) {
            (_, Some((address, zone))) => (reverse_v6(self.address(IpAddr::V6(address))), zone),
            (Some((address, zone)), None) => (reverse_v4(self.address(IpAddr::V4(address))), zone),
            (None, None) => return None,
        };
        if zone.is_empty() {
            return Some(new);
        }
        let zone = self.host(zone);
        Some(format!("{new}.{zone}"))
    }
}

/// By what a name is known: its case does not count.
fn key(text: &str) -> String {
    text.chars().take(MAX_KEY).collect::<String>().to_lowercase()
}

fn is_kept(label: &str) -> bool {
    KEPT_LABELS.contains(&label) || label.strip_prefix('_').is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Labels of a name, of which a dot behind a backslash is a part.
fn labels(name: &str) -> Vec<&str> {
    let (mut found, mut from, mut is_quoted) = (Vec::new(), 0, false);
    for (at, byte) in name.bytes().enumerate() {
        if byte == b'.' && !is_quoted {
            found.push(name.get(from..at).unwrap_or_default());
            from = at + 1;
        }
        is_quoted = byte == b'\\' && !is_quoted;
    }
    found.push(name.get(from..).unwrap_or_default());
    found
}

/// An address from four reversed numbers, and what stands behind them.
fn octets(name: &str) -> Option<(Ipv4Addr, &str)> {
    let mut parts = name.splitn(5, '.');
    let mut octet = || parts.next().filter(|part| part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit()))?.parse::<u8>().ok();
    let (d, c, b, a) = (octet()?, octet()?, octet()?, octet()?);
    Some((Ipv4Addr::new(a, b, c, d), parts.next().unwrap_or_default()))
}

/// An address from 32 reversed digits, and what stands behind them.
fn nibbles(name: &str) -> Option<(Ipv6Addr, &str)> {
    let mut parts = name.splitn(33, '.');
    let mut bits = 0_u128;
    for at in 0..32 {
        let digit = parts.next().filter(|part| part.len() == 1)?;
        bits |= u128::from_str_radix(digit, 16).ok()? << (4 * at);
    }
    Some((Ipv6Addr::from_bits(bits), parts.next().unwrap_or_default()))
}

fn reverse_v4(address: IpAddr) -> String {
    let IpAddr::V4(v4) = address else { return String::new() };
    let [a, b, c, d] = v4.octets();
    format!("{d}.{c}.{b}.{a}")
}

fn reverse_v6(address: IpAddr) -> String {
    let IpAddr::V6(v6) = address else { return String::new() };
    let mut text = String::with_capacity(64);
    for byte in v6.octets().iter().rev() {
        let _ = write!(text, "{:x}.{:x}.", byte & 15, byte >> 4);
    }
    text.pop();
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_ends_in_a_domain_ends_in_its_stand_in() {
        let mut names = Names::default();
        assert_eq!(names.host("Example.COM"), "domain1.example");
        assert_eq!(names.host("mx1.example.com"), "host1.domain1.example");
        assert_eq!(names.host("mx1.example.com."), "host1.domain1.example.");
        assert_eq!(names.host("a.mx1.example.com"), "host2.host1.domain1.example");
        assert_eq!(names.host("mx1"), "host1");
        assert_eq!(names.host("example.org"), "domain2.example");
        // A search suffix behind it, and a blocklist of domains.
        assert_eq!(names.host("example.com.lab.test"), "domain1.example.domain3.example");
        assert_eq!(names.host("example.com.dbl.spamhaus.org"), "domain1.example.dbl.spamhaus.org");
        assert_eq!(names.host("x.example.com.rhsbl.test"), "host3.domain1.example.domain4.example");
    }

    #[test]
    fn the_public_shape_stays() {
        let mut names = Names::default();
        assert_eq!(names.address("10.0.0.7".parse().expect("address")).to_string(), "198.18.0.1");
        assert_eq!(names.host("7.0.0.10.in-addr.arpa"), "1.0.18.198.in-addr.arpa");
        assert_eq!(names.host("7.0.0.10.zen.spamhaus.org"), "1.0.18.198.zen.spamhaus.org");
        assert_eq!(names.host("7.0.0.10.bl.test"), "1.0.18.198.domain1.example");
        assert_eq!(names.host("secretkey.zen.dq.spamhaus.net"), "host1.host2.host3.domain2.example");
        assert_eq!(names.host("s1._domainkey.example.com"), "host4._domainkey.domain3.example");
        assert_eq!(names.host("_dmarc.example.com"), "_dmarc.domain3.example");
        assert_eq!(names.host("_25._tcp.mx.example.com"), "_25._tcp.host5.domain3.example");
        assert_eq!(names.host("localhost"), "localhost");
        assert_eq!(names.host("."), ".");
        let six = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.9.d.f.ip6.arpa";
        assert_eq!(names.host(six), "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.8.b.d.0.1.0.0.2.ip6.arpa");
        assert_eq!(names.host("0.10.in-addr.arpa"), "host6.host7.in-addr.arpa");
    }

    #[test]
    fn behind_the_bound_all_are_other() {
        let mut names = Names::bounded(4);
        assert_eq!((names.user("alice"), names.user("Bob"), names.user("carol")), ("user1".into(), "user2".into(), "user3".into()));
        assert_eq!(names.word("xyzzy"), "word1");
        assert_eq!(
            (names.user("dave"), names.host("mx.example.com"), names.word("zzz")),
            ("other".into(), "other.other.example".into(), "other".into())
        );
        assert_eq!((names.user("ALICE"), names.user("postmaster")), ("user1".into(), "postmaster".into()));
        assert_eq!(names.address("192.0.2.7".parse().expect("address")), IpAddr::V4(super::super::addresses::OTHER_V4));
    }

    proptest! {
        #[test]
        fn never_panics_and_fits_the_wire(name in "[a-z0-9._\\\\-]{0,300}", other in "\\PC{0,80}") {
            let mut names = Names::default();
            prop_assert!(names.host(&name).len() <= 255 && names.host(&other).len() <= 255);
            prop_assert_eq!(names.host(&name), names.host(&name.to_uppercase()));
            let _ = (names.user(&other), names.word(&other));
        }
    }
}
