//! DNS messages (RFC 1035, 4): header and first question, read lazily, so that a cut capture still tells them.
//!
//! ```text
//! 0 id | 2 QR opcode AA TC RD | 3 RA Z rcode | 4 qdcount | 6 ancount | 8 nscount | 10 arcount | 12 question: labels, type, class
//! ```
//! Invariant: a compression pointer only ever leads backwards, so no message makes this loop.

use crate::event::{Endpoint, Proto, Sys};
use std::fmt::Write as _;

/// Where name servers listen.
pub const PORT: u16 = 53;

/// Limit of a name on the wire (RFC 1035, 2.3.4).
const MAX_NAME_BYTES: usize = 255;

/// What the beginning of a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Chosen by who asks; the answer repeats it.
    pub id: u16,
    /// An answer (QR).
    pub is_response: bool,
    /// Too long for UDP: to be asked again over TCP (TC).
    pub is_truncated: bool,
    /// Low four bits; what EDNS adds is not looked for.
    pub rcode: u8,
    /// The first question, unless it is missing, cut or malformed.
    pub question: Option<Question>,
}

impl Message {
    /// Whether nothing more is to be expected behind this answer: it is whole, and its code answers.
    pub fn is_final(&self) -> bool {
        !self.is_truncated && is_answer(self.rcode)
    }
}

/// Name and type that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Without the final dot; special bytes escaped as in RFC 1035, 5.1. The root is `.`.
    pub qname: String,
    /// Type.
    pub qtype: u16,
}

impl Question {
    /// Whether both ask the same; case does not count (RFC 4343), some resolvers mix it on purpose.
    pub fn is_same(&self, other: &Self) -> bool {
        self.qtype == other.qtype && self.qname.eq_ignore_ascii_case(&other.qname)
    }
}

/// The message that a call transferred to or from a name server, if its bytes are one.
pub fn message_of(sys: &Sys) -> Option<Message> {
    let is_stream = sys.socket.as_ref().is_some_and(|socket| socket.proto == Proto::Tcp);
    let is_to_server = sys.peer.as_ref().and_then(Endpoint::port) == Some(PORT);
    let data = sys.data.as_ref().filter(|_| is_to_server)?;
    if is_stream { parse_stream(data) } else { parse(data) }
}

/// The question in it.
pub fn question_of(sys: &Sys) -> Option<Question> {
    message_of(sys)?.question
}

/// Whether a name is this one or stands above it, the root and top-level domains excepted, which stand above too much.
pub fn is_at_or_above(above: &str, name: &str) -> bool {
    let is_suffix = name.len() >= above.len() && name.get(name.len() - above.len()..).is_some_and(|end| end.eq_ignore_ascii_case(above));
    let is_at_label = name.len() == above.len() || name.len().checked_sub(above.len() + 1).and_then(|at| name.as_bytes().get(at)) == Some(&b'.');
    is_suffix && is_at_label && (above.contains('.') && above != "." || name.len() == above.len())
}

/// Reads a message without the length that precedes it over TCP.
pub fn parse(bytes: &[u8]) -> Option<Message> {
    let flags = bytes.get(2..4)?;
    let (&high, &low) = (flags.first()?, flags.get(1)?);
    let question = if be16(bytes, 4)? == 0 { None } else { parse_question(bytes) };
    Some(Message { id: be16(bytes, 0)?, is_response: high & 0x80 != 0, is_truncated: high & 0x02 != 0, rcode: low & 0x0f, question })
}

/// Reads a message from a stream: behind its length (RFC 1035, 4.2.2), or alone, where the length was read before.
pub fn parse_stream(bytes: &[u8]) -> Option<Message> {
    let announced = usize::from(be16(bytes, 0)?);
    let body = bytes.get(2..)?;
    // With its length in front the rest fits into it; a bare message begins with a random id instead.
    if announced >= 12
        && announced >= body.len()
        && let Some(message) = parse(body).filter(|it| it.question.is_some())
    {
        return Some(message);
    }
    parse(bytes)
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(pair.try_into().ok()?))
}

fn parse_question(bytes: &[u8]) -> Option<Question> {
    let (qname, end) = parse_name(bytes, 12)?;
    Some(Question { qname, qtype: be16(bytes, end)? })
}

/// A name at `start` and where what follows it begins.
fn parse_name(bytes: &[u8], start: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    let (mut at, mut lowest, mut after) = (start, start, None);
    let mut wire_bytes = 0_usize;
    loop {
        let length = *bytes.get(at)?;
        match length & 0xc0 {
            0 if length == 0 => break,
            0 => {
                let label = bytes.get(at + 1..at + 1 + usize::from(length))?;
                wire_bytes += label.len() + 1;
                if wire_bytes >= MAX_NAME_BYTES {
                    return None;
                }
                if !name.is_empty() {
                    name.push('.');
                }
                push_label(&mut name, label);
                at += 1 + label.len();
            }
            0xc0 => {
                let target = usize::from(be16(bytes, at)? & 0x3fff);
                after = after.or(Some(at + 2));
                if target >= lowest {
                    return None;
                }
                (at, lowest) = (target, target);
            }
            _ => return None,
        }
    }
    if name.is_empty() {
        name.push('.');
    }
    Some((name, after.unwrap_or(at + 1)))
}

/// RFC 1035, 5.1: a dot or backslash inside a label is quoted, an unprintable byte becomes `\DDD`.
fn push_label(name: &mut String, label: &[u8]) {
    for &byte in label {
        match byte {
            b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                name.push('\\');
                name.push(char::from(byte));
            }
            0x21..=0x7e => name.push(char::from(byte)),
            _ => {
                let _ = write!(name, "\\{byte:03}");
            }
        }
    }
}

/// Name of a type; `TYPE123` (RFC 3597) for one without.
pub fn type_name(qtype: u16) -> String {
    let name = match qtype {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        13 => "HINFO",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        29 => "LOC",
        33 => "SRV",
        35 => "NAPTR",
        39 => "DNAME",
        43 => "DS",
        46 => "RRSIG",
        48 => "DNSKEY",
        52 => "TLSA",
        64 => "SVCB",
        65 => "HTTPS",
        99 => "SPF",
        255 => "ANY",
        257 => "CAA",
        _ => return format!("TYPE{qtype}"),
    };
    name.to_owned()
}

/// Name of a response code; `RCODE11` for one without.
pub fn rcode_name(rcode: u8) -> String {
    let name = match rcode {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        _ => return format!("RCODE{rcode}"),
    };
    name.to_owned()
}

/// Whether this response code answers the question (`NOERROR`, `NXDOMAIN`); any other makes resolvers ask again.
pub fn is_answer(rcode: u8) -> bool {
    rcode == 0 || rcode == 3
}

/// What a question is for, as far as its name and type tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// Whether an address is in the blocklist of this zone (RFC 5782, 2.1).
    Dnsbl(&'a str),
    /// The key of a DKIM signature (RFC 6376, 3.6.2.1).
    DkimKey,
    /// The DMARC policy of a domain (RFC 7489, 6.1).
    DmarcPolicy,
}

impl<'a> Purpose<'a> {
    /// As reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dnsbl(_) => "dnsbl",
            Self::DkimKey => "dkim-key",
            Self::DmarcPolicy => "dmarc-policy",
        }
    }

    /// The blocklist's zone.
    pub fn zone(self) -> Option<&'a str> {
        match self {
            Self::Dnsbl(zone) => Some(zone),
            Self::DkimKey | Self::DmarcPolicy => None,
        }
    }
}

/// What a question is for; SPF's look like any other of type TXT, and only the session tells them (`session/spf.rs`).
pub fn purpose(qname: &str, qtype: u16) -> Option<Purpose<'_>> {
    const A: u16 = 1;
    const TXT: u16 = 16;
    let has_label = |wanted: &str| qname.split('.').any(|label| label.eq_ignore_ascii_case(wanted));
    match qtype {
        TXT if has_label("_domainkey") => Some(Purpose::DkimKey),
        TXT if qname.split('.').next().is_some_and(|label| label.eq_ignore_ascii_case("_dmarc")) => Some(Purpose::DmarcPolicy),
        A | TXT => blocklist_zone(qname).map(Purpose::Dnsbl),
        _ => None,
    }
}

/// What stands behind a reversed address: four decimal numbers, or 32 hexadecimal digits, and a zone of two labels or more.
fn blocklist_zone(qname: &str) -> Option<&str> {
    let is_octet = |label: &str| label.len() <= 3 && label.bytes().all(|byte| byte.is_ascii_digit()) && label.parse::<u8>().is_ok();
    let is_nibble = |label: &str| label.len() == 1 && label.bytes().all(|byte| byte.is_ascii_hexdigit());
    let behind = |count: usize, is_part: &dyn Fn(&str) -> bool| {
        let mut parts = qname.splitn(count + 1, '.');
        parts.by_ref().take(count).all(is_part).then(|| parts.next()).flatten()
    };
    let zone = behind(32, &is_nibble).or_else(|| behind(4, &is_octet))?;
    (zone.contains('.') && !zone.to_ascii_lowercase().ends_with(".arpa")).then_some(zone)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message with one question, as a resolver or a server writes it.
    pub(crate) fn message(id: u16, flags: u16, qname: &str, qtype: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [id, flags, 1, 0, 0, 0] {
            bytes.extend(word.to_be_bytes());
        }
        for label in qname.split('.').filter(|label| !label.is_empty()) {
            bytes.push(u8::try_from(label.len()).expect("short label"));
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend(qtype.to_be_bytes());
        bytes.extend([0, 1]);
        bytes
    }

    #[test]
    fn names_tell_what_they_are_for() {
        assert_eq!(purpose("1.0.99.10.bl.test", 1), Some(Purpose::Dnsbl("bl.test")));
        assert_eq!(purpose(&format!("{}zen.example.org", "1.".repeat(32)), 1), Some(Purpose::Dnsbl("zen.example.org")));
        assert_eq!(purpose("s1._DomainKey.example.com", 16), Some(Purpose::DkimKey));
        assert_eq!(purpose("_dmarc.example.com", 16), Some(Purpose::DmarcPolicy));
        for (name, qtype) in [
            ("1.0.99.10.in-addr.arpa", 12),
            ("1.0.99.10.in-addr.arpa", 1),
            ("example.com", 16),
            ("1.0.99.300.bl.test", 1),
            ("1.0.99.10.test", 1),
            ("1.0.99.10", 1),
            ("s1._domainkey.example.com", 1),
            ("", 16),
        ] {
            assert_eq!(purpose(name, qtype), None, "{name}");
        }
    }

    #[test]
    fn reads_a_question_and_an_answer() {
        let asked = parse(&message(7, 0x0100, "example.com", 28)).expect("message");
        assert_eq!((asked.id, asked.is_response), (7, false));
        assert_eq!(asked.question, Some(Question { qname: "example.com".into(), qtype: 28 }));
        let answer = parse(&message(7, 0x8383, "EXAMPLE.com", 28)).expect("message");
        assert!(answer.is_response && answer.is_truncated && answer.rcode == 3);
        assert!(answer.question.expect("question").is_same(&asked.question.expect("question")));
    }

    #[test]
    fn a_cut_message_keeps_its_header() {
        let whole = message(7, 0x8182, "example.com", 1);
        let cut = parse(&whole[..20]).expect("header");
        assert_eq!((cut.rcode, cut.question), (2, None));
        assert_eq!(parse(&whole[..3]), None);
    }

    #[test]
    fn a_pointer_loop_is_no_name() {
        let mut bytes = message(1, 0, "", 1);
        bytes.splice(12.., [0xc0, 12, 0, 1, 0, 1]);
        assert_eq!(parse(&bytes).expect("header").question, None);
    }

    #[test]
    fn escapes_as_in_rfc_1035() {
        let mut bytes = message(1, 0, "", 1);
        bytes.splice(12.., [4, b'a', b'.', 0x1b, 0xff, 0, 0, 1, 0, 1]);
        assert_eq!(parse(&bytes).expect("header").question.expect("name").qname, "a\\.\\027\\255");
    }

    #[test]
    fn reads_a_stream_with_and_without_length() {
        let bare = message(0x0102, 0, "example.com", 15);
        let mut framed = u16::try_from(bare.len()).expect("short").to_be_bytes().to_vec();
        framed.extend(&bare);
        assert_eq!(parse_stream(&framed), parse(&bare));
        assert_eq!(parse_stream(&bare), parse(&bare));
    }

    #[test]
    fn a_name_of_255_labels_is_refused() {
        let name = vec!["a"; 255].join(".");
        assert_eq!(parse(&message(1, 0, &name, 1)).expect("header").question, None);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse(&bytes);
            let _ = parse_stream(&bytes);
        }

        #[test]
        fn names_with_hostile_labels_never_panic(tail in proptest::collection::vec(prop_oneof![Just(0xc0_u8), Just(12), 0..64_u8], 0..300)) {
            let mut bytes = message(1, 0, "", 1);
            bytes.truncate(12);
            bytes.extend(tail);
            if let Some(question) = parse(&bytes).and_then(|it| it.question) {
                prop_assert!(question.qname.len() <= 4 * MAX_NAME_BYTES);
            }
        }
    }
}
