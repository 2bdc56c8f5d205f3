//! DNS messages: what is read of one depends on nothing behind it, and can be written again.

use crate::{check, kernel::Kernel, seeds};
use mta_trace::event::Record;
use mta_trace::proto::dns::{self, Message, Question};
use mta_trace::view::escape::is_hostile;

/// Limit of a name (RFC 1035, 2.3.4), each byte shown by up to four characters.
const MAX_NAME: usize = 4 * 255;

/// Messages as a resolver sent and received them.
pub fn seeds() -> Vec<Vec<u8>> {
    let is_dns = |record: &Record| match record {
        Record::Sys(sys) if sys.peer.as_ref().and_then(mta_trace::event::Endpoint::port) == Some(dns::PORT) => sys.data.clone(),
        _ => None,
    };
    let all = seeds::traces().iter().flatten().filter_map(is_dns).map(|data| data.0).collect();
    seeds::different(all).into_iter().take(60).collect()
}

/// Checks one input.
pub fn run(bytes: &[u8]) {
    if let Some(message) = dns::parse(bytes) {
        known(bytes, &message);
    }
    let _ = dns::parse_stream(bytes);
    conversation(bytes);
}

fn known(bytes: &[u8], message: &Message) {
    let longer = [bytes, &[0xc0, 0, 1]].concat();
    let after = dns::parse(&longer).expect("its header is whole");
    assert_eq!((after.id, after.rcode), (message.id, message.rcode));
    for cut in 6..bytes.len().min(300) {
        let shorter = dns::parse(&bytes[..cut]).expect("its header is whole");
        assert!(shorter.question.is_none() || shorter == *message, "cut at {cut}");
    }
    let Some(question) = &message.question else { return };
    assert_eq!(after, *message, "what follows changes nothing");
    let Question { qname, qtype } = question;
    assert!(!qname.is_empty() && qname.len() <= MAX_NAME && qname.is_ascii() && !qname.chars().any(is_hostile), "{qname:?}");
    assert!(question.is_same(&Question { qname: qname.to_ascii_uppercase(), qtype: *qtype }));
    assert!(!dns::type_name(*qtype).is_empty() && !dns::rcode_name(message.rcode).is_empty());
    let written = write(message, question);
    assert_eq!(dns::parse(&written).as_ref(), Some(message), "written again");
    let mut framed = u16::try_from(written.len()).expect("a short name").to_be_bytes().to_vec();
    framed.extend(written);
    assert_eq!(dns::parse_stream(&framed).as_ref(), Some(message), "in a stream");
}

/// The message with nothing but its question.
fn write(message: &Message, question: &Question) -> Vec<u8> {
    let Message { id, is_response, is_truncated, rcode, question: _ } = message;
    let flags = u16::from(*is_response) << 15 | u16::from(*is_truncated) << 9 | u16::from(*rcode);
    let mut bytes = Vec::new();
    for word in [*id, flags, 1, 0, 0, 0] {
        bytes.extend(word.to_be_bytes());
    }
    for label in labels(&question.qname) {
        bytes.push(u8::try_from(label.len()).expect("a label of up to 63 bytes"));
        bytes.extend(label);
    }
    bytes.push(0);
    bytes.extend(question.qtype.to_be_bytes());
    bytes
}

/// RFC 1035, 5.1, the other way round.
fn labels(qname: &str) -> Vec<Vec<u8>> {
    let mut labels = vec![Vec::new()];
    let mut rest = qname.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let last = labels.last_mut().expect("never empty");
        match (byte, tail) {
            (b'\\', [a @ b'0'..=b'9', b, c, tail @ ..]) => {
                let number = [a, b, c].iter().fold(0_u16, |number, digit| number * 10 + u16::from(**digit - b'0'));
                last.push(u8::try_from(number).expect("a byte"));
                rest = tail;
            }
            (b'\\', [quoted, tail @ ..]) => {
                last.push(*quoted);
                rest = tail;
            }
            (b'.', _) => labels.push(Vec::new()),
            _ => last.push(byte),
        }
    }
    labels.retain(|label| !label.is_empty());
    labels
}

/// The same bytes as question and answer of a session: one part asks, the other answers, and then the whole both.
fn conversation(bytes: &[u8]) {
    let (question, answer) = bytes.split_at(bytes.len() / 2);
    let mut kernel = Kernel::greeted();
    kernel.hear(b"MAIL FROM:<a@example.test>\r\n");
    for (question, answer) in [(question, answer), (bytes, bytes)] {
        kernel.ask(question);
        kernel.wait_for_answer(20);
        kernel.answer(answer);
    }
    kernel.say(b"250 ok\r\n");
    kernel.exit();
    check::sound(&kernel.records);
}
