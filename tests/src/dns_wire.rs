//! DNS messages, as far as the lab's name servers need them (RFC 1035 section 4): questions in, answers out.
//!
//! ```text
//! id 2 | flags 2 | QD 2 | AN 2 | NS 2 | AR 2 | QNAME 0 QTYPE 2 QCLASS 2 | answers: C00C TYPE CLASS TTL LEN RDATA
//! ```

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A record type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Qtype(pub u16);

impl Qtype {
    pub const A: Self = Self(1);
    const CNAME: Self = Self(5);
    pub const PTR: Self = Self(12);
    pub const MX: Self = Self(15);
    pub const TXT: Self = Self(16);
    pub const AAAA: Self = Self(28);
}

impl fmt::Display for Qtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::A => f.write_str("A"),
            Self::PTR => f.write_str("PTR"),
            Self::MX => f.write_str("MX"),
            Self::TXT => f.write_str("TXT"),
            Self::AAAA => f.write_str("AAAA"),
            Self(other) => write!(f, "TYPE{other}"),
        }
    }
}

/// The question of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Chosen by the asker.
    pub id: u16,
    /// Lower case, without the final dot.
    pub name: String,
    /// Its type.
    pub qtype: Qtype,
    /// The question section as received, to be repeated in the answer.
    pub section: Vec<u8>,
}

impl Question {
    /// Reads a query with one question.
    pub fn parse(message: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
        if word(4)? != 1 {
            return None;
        }
        let (mut at, mut labels) = (12, Vec::new());
        loop {
            let len = usize::from(*message.get(at)?);
            at += 1;
            if len == 0 {
                break;
            }
            labels.push(String::from_utf8_lossy(message.get(at..at + len)?).to_lowercase());
            at += len;
        }
        Some(Self { id: word(0)?, name: labels.join("."), qtype: Qtype(word(at)?), section: message.get(12..at + 4)?.to_vec() })
    }
}

/// The code of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rcode {
    NoError,
    ServFail,
    NxDomain,
    Refused,
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoError => "NOERROR",
            Self::ServFail => "SERVFAIL",
            Self::NxDomain => "NXDOMAIN",
            Self::Refused => "REFUSED",
        })
    }
}

/// Data of one record, of the question's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Mx(u16, String),
    Ptr(String),
    Txt(String),
}

impl Record {
    /// The type under which it is given.
    pub fn qtype(&self) -> Qtype {
        match self {
            Self::A(_) => Qtype::A,
            Self::Aaaa(_) => Qtype::AAAA,
            Self::Mx(..) => Qtype::MX,
            Self::Ptr(_) => Qtype::PTR,
            Self::Txt(_) => Qtype::TXT,
        }
    }

    fn rdata(&self) -> Vec<u8> {
        match self {
            Self::A(address) => address.octets().to_vec(),
            Self::Aaaa(address) => address.octets().to_vec(),
            Self::Mx(preference, name) => [&preference.to_be_bytes()[..], &encode_name(name)].concat(),
            Self::Ptr(name) => encode_name(name),
            Self::Txt(text) => labelled(text),
        }
    }
}

/// How an answer is damaged. Its question is whole, or the resolver would take it for somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// It ends in the header.
    Cut,
    /// Its record's name is a pointer to itself.
    Loop,
    /// Its record's name has 255 labels, where a name of 255 bytes has room for 127.
    Labels,
}

impl Damage {
    /// The message that "answers" `question`.
    pub fn encode(self, question: &Question) -> Vec<u8> {
        let mut message = Reply { rcode: Rcode::NoError, is_truncated: false, chain: Vec::new(), records: Vec::new() }.encode(question);
        if self == Self::Cut {
            message.truncate(7);
            return message;
        }
        // One record is promised.
        if let Some(count) = message.get_mut(7) {
            *count = 1;
        }
        let own = u16::try_from(message.len()).unwrap_or(u16::MAX);
        match self {
            Self::Cut => {}
            Self::Loop => message.extend_from_slice(&(0xC000 | own).to_be_bytes()),
            Self::Labels => message.extend_from_slice(&[[1, b'a'].repeat(255), vec![0]].concat()),
        }
        for word in [question.qtype.0, 1, 0, 60, 0] {
            message.extend_from_slice(&word.to_be_bytes());
        }
        message
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub rcode: Rcode,
    pub is_truncated: bool,
    /// Names to which the question's is led, one after another, by CNAME; the records are of the last one.
    pub chain: Vec<String>,
    pub records: Vec<Record>,
}

impl Reply {
    /// The message that answers `question`.
    pub fn encode(&self, question: &Question) -> Vec<u8> {
        let rcode: u16 = match self.rcode {
            Rcode::NoError => 0,
            Rcode::ServFail => 2,
            Rcode::NxDomain => 3,
            Rcode::Refused => 5,
        };
        // QR, AA, RD, RA.
        let flags = 0x8580 | rcode | if self.is_truncated { 0x0200 } else { 0 };
        let count = u16::try_from(self.chain.len() + self.records.len()).unwrap_or(u16::MAX);
        let mut message: Vec<u8> = [question.id, flags, 1, count, 0, 0].iter().flat_map(|word| word.to_be_bytes()).collect();
        message.extend_from_slice(&question.section);
        // The question's name, by pointer.
        let mut owner = 0xC00C_u16.to_be_bytes().to_vec();
        for name in &self.chain {
            let target = encode_name(name);
            message.extend(record(&owner, Qtype::CNAME, &target));
            owner = target;
        }
        for one in &self.records {
            message.extend(record(&owner, one.qtype(), &one.rdata()));
        }
        message
    }
}

/// One record, of class IN and with a TTL of one minute.
fn record(owner: &[u8], qtype: Qtype, rdata: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rdata.len()).unwrap_or(u16::MAX);
    let words = [qtype.0, 1, 0, 60, len];
    [owner.to_vec(), words.iter().flat_map(|word| word.to_be_bytes()).collect(), rdata.to_vec()].concat()
}

fn labelled(text: &str) -> Vec<u8> {
    let len = u8::try_from(text.len()).unwrap_or(u8::MAX);
    std::iter::once(len).chain(text.bytes().take(usize::from(len))).collect()
}

fn encode_name(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    labels.flat_map(labelled).chain(std::iter::once(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_is_read_and_repeated_in_the_answer() {
        let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.extend(encode_name("Example.COM"));
        query.extend([0, 15, 0, 1]);
        let question = Question::parse(&query).expect("a whole query");
        assert_eq!((question.name.as_str(), question.qtype.to_string().as_str()), ("example.com", "MX"));
        let records = vec![Record::Mx(10, "mx.example.com".into())];
        let reply = Reply { rcode: Rcode::NoError, is_truncated: false, chain: Vec::new(), records };
        let message = reply.encode(&question);
        assert_eq!(message[..12], [0x12, 0x34, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert!(message.ends_with(b"\0\x0a\x02mx\x07example\x03com\0"));
        assert_eq!(Question::parse(&query[..20]), None);
        let led = Reply { chain: vec!["b.test".into(), "c.test".into()], ..reply }.encode(&question);
        assert_eq!(led[6..8], [0, 3]);
        assert!(led.ends_with(b"\x01c\x04test\0\0\x0f\0\x01\0\0\0\x3c\0\x12\0\x0a\x02mx\x07example\x03com\0"), "{led:?}");
    }
}
