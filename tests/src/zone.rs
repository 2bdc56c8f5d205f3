//! What the lab's name servers know when no rule says otherwise.
//!
//! Every name of the lab exists; a name that exists without the type asked for is NODATA (an empty list), any other
//! name is NXDOMAIN (`None`). Pure functions.

use crate::dns_wire::{Qtype, Question, Record};

const NAMES: &[(&str, &str, &str)] = &[
    ("client.lab.test", "A", "10.99.0.1"),
    ("client.lab.test", "AAAA", "fd99::1"),
    ("mx.lab.test", "A", "10.99.0.2"),
    ("mx.lab.test", "AAAA", "fd99::2"),
    ("other.lab.test", "A", "10.99.0.4"),
    ("lab.test", "MX", "10 mx.lab.test"),
    ("example.com", "MX", "10 mail.example.com"),
    ("mail.example.com", "A", "10.99.0.1"),
    ("example.net", "MX", "10 mail.example.net"),
    ("mail.example.net", "A", "10.99.0.1"),
    ("example.org", "A", "10.99.0.1"),
    ("1.0.99.10.in-addr.arpa", "PTR", "client.lab.test"),
    ("2.0.99.10.in-addr.arpa", "PTR", "mx.lab.test"),
    ("4.0.99.10.in-addr.arpa", "PTR", "other.lab.test"),
    ("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.9.d.f.ip6.arpa", "PTR", "client.lab.test"),
    ("2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.9.d.f.ip6.arpa", "PTR", "mx.lab.test"),
];

/// Records for a question; `None` when there is no such name.
pub fn records(question: &Question) -> Option<Vec<Record>> {
    let mut same_name = NAMES.iter().filter(|(name, _, _)| *name == question.name).peekable();
    same_name.peek()?;
    let qtype = question.qtype.to_string();
    Some(same_name.filter(|(_, t, _)| *t == qtype).filter_map(|(_, _, data)| record(question.qtype, data)).collect())
}

/// Records for a question from a rule's data.
pub fn parse(question: &Question, data: &[String]) -> Vec<Record> {
    data.iter().filter_map(|data| record(question.qtype, data)).collect()
}

fn record(qtype: Qtype, data: &str) -> Option<Record> {
    Some(match qtype {
        Qtype::A => Record::A(data.parse().ok()?),
        Qtype::AAAA => Record::Aaaa(data.parse().ok()?),
        Qtype::MX => {
            let (preference, name) = data.split_once(' ')?;
            Record::Mx(preference.parse().ok()?, name.to_owned())
        }
        Qtype::PTR => Record::Ptr(data.to_owned()),
        Qtype::TXT => Record::Txt(data.to_owned()),
        _ => return None,
    })
}
