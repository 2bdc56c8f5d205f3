//! Messages to and from name servers: head and first question, with another name. What is behind them (answers, EDNS) goes.

use super::names::Names;
use crate::proto::dns::{Message, parse, parse_stream};

const HEAD_BYTES: usize = 12;

/// A message in other words.
#[derive(Debug, PartialEq, Eq)]
pub struct Packet {
    /// What is left of it.
    pub bytes: Vec<u8>,
    /// Something was behind that.
    pub is_cut: bool,
}

/// What was transferred to or from a name server. `is_stream`: over TCP, where its length may stand before it.
pub fn packet(names: &mut Names, bytes: &[u8], is_stream: bool) -> Packet {
    // A length by itself, or nothing that could be read.
    if bytes.len() < 6 {
        let kept = bytes.get(..2).filter(|_| is_stream).unwrap_or_default();
        return Packet { bytes: kept.to_vec(), is_cut: kept.len() < bytes.len() };
    }
    let framed = bytes.get(2..).filter(|body| is_stream && parse(bytes) != parse_stream(bytes) && parse(body) == parse_stream(bytes));
    let Some(body) = framed else { return message(names, bytes, is_stream) };
    let Packet { bytes: new, is_cut } = message(names, body, is_stream);
    let length = u16::try_from(new.len()).unwrap_or(u16::MAX);
    Packet { bytes: [&length.to_be_bytes()[..], &new].concat(), is_cut }
}

fn message(names: &mut Names, bytes: &[u8], is_stream: bool) -> Packet {
    let head = bytes.get(..HEAD_BYTES.min(bytes.len())).unwrap_or_default();
    let asked = parse(bytes).and_then(|Message { question, .. }| question);
    // What has no question may be the middle of an answer.
    if asked.is_none() && (is_stream || !is_head(head)) {
        return Packet { bytes: Vec::new(), is_cut: true };
    }
    let mut new = head.to_vec();
    let behind = asked.and_then(|question| {
        let wire = wire(&names.host(&question.qname))?;
        new.extend(wire);
        new.extend(question.qtype.to_be_bytes());
        let end = end_of_name(bytes)?;
        let class = bytes.get(end + 2..end + 4)?;
        new.extend(class);
        Some(end + 4)
    });
    Packet { bytes: new, is_cut: behind != Some(bytes.len()) }
}

/// Whether these can be the first bytes of a message: a standard query (opcode 0), and as few records as a packet holds (RFC 1035, 4.1.1).
fn is_head(head: &[u8]) -> bool {
    let &[_, _, flags, _, questions_high, questions, answers_high, answers, authorities_high, authorities, more_high, more] = head else {
        return false;
    };
    let is_few = [(questions_high, questions, 1), (answers_high, answers, 64), (authorities_high, authorities, 64), (more_high, more, 64)];
    flags & 0x78 == 0 && is_few.iter().all(|(high, low, most)| *high == 0 && low <= most)
}

/// Behind the name of the first question.
fn end_of_name(bytes: &[u8]) -> Option<usize> {
    let mut at = HEAD_BYTES;
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0 => at += 1 + usize::from(length),
            _ => return Some(at + 2),
        }
    }
}

/// A name of plain labels on the wire.
fn wire(name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).ok().filter(|length| *length < 64)?);
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    (bytes.len() <= 255).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn question(name: &str) -> Vec<u8> {
        let mut bytes = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend(wire(name).expect("name"));
        bytes.extend([0, 28, 0, 1]);
        bytes
    }

    #[test]
    fn the_question_stays_and_the_answer_goes() {
        let mut names = Names::default();
        assert_eq!(packet(&mut names, &question("mx.acme.com"), false), Packet { bytes: question("host1.domain1.example"), is_cut: false });
        let answer = [question("MX.acme.com"), b"\xc0\x0c\0\x1c\0\x01\0\0\0<\0\x10secret address..".to_vec()].concat();
        assert_eq!(packet(&mut names, &answer, false), Packet { bytes: question("host1.domain1.example"), is_cut: true });
        assert_eq!(packet(&mut names, &answer[..20], false), Packet { bytes: answer[..12].to_vec(), is_cut: true });
    }

    #[test]
    fn over_tcp_with_and_without_its_length() {
        let mut names = Names::default();
        let old = question("mx.acme.com");
        let framed = |bytes: &[u8]| [&u16::try_from(bytes.len()).expect("short").to_be_bytes()[..], bytes].concat();
        let new = question("host1.domain1.example");
        assert_eq!(packet(&mut names, &framed(&old), true).bytes, framed(&new));
        assert_eq!(packet(&mut names, &old, true).bytes, new);
        assert_eq!(packet(&mut names, &[0, 40], true), Packet { bytes: vec![0, 40], is_cut: false });
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), is_stream: bool) {
            let _ = packet(&mut Names::default(), &bytes, is_stream);
        }

        #[test]
        fn an_own_message_stays_readable(name in "[a-z0-9-]{1,20}(\\.[a-z0-9-]{1,20}){0,8}", behind in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut names = Names::default();
            let new = packet(&mut names, &[question(&name), behind].concat(), false).bytes;
            let read = parse(&new).and_then(|message| message.question).expect("question");
            prop_assert_eq!((read.qname, read.qtype), (names.host(&name), 28));
        }
    }
}
