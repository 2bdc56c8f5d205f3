//! A directory that finds nothing (RFC 4511): a bind succeeds at once, a search ends late and without an entry.
//!
//! ```text
//! message = 0x30 length | 0x02 length id | operation: 0x60 bind, 0x42 unbind, 0x63 search ...
//! ```

use std::io::ErrorKind;

use super::Peer;

pub fn converse(peer: &mut Peer) -> std::io::Result<()> {
    loop {
        let message = read_message(peer)?;
        // The id is short: libldap counts from 1.
        let [0x02, id_len, rest @ ..] = message.as_slice() else { return Err(ErrorKind::InvalidData.into()) };
        let (id, operation) = rest.split_at_checked(usize::from(*id_len)).ok_or(ErrorKind::InvalidData)?;
        match operation.first() {
            Some(0x60) => peer.write(&result(id, 0x61))?,
            Some(0x63) => {
                peer.think()?;
                peer.write(&result(id, 0x65))?;
            }
            Some(0x42) => return Ok(()),
            // An extended request, such as StartTLS, is answered as what it is: done, or not known.
            _ => peer.write(&result(id, 0x78))?,
        }
    }
}

fn read_message(peer: &mut Peer) -> std::io::Result<Vec<u8>> {
    peer.read(1)?;
    let first = peer.read(1)?.first().copied().unwrap_or_default();
    let len = if first < 0x80 {
        usize::from(first)
    } else {
        peer.read(usize::from(first & 0x7f).min(4))?.iter().fold(0, |len: usize, byte| len << 8 | usize::from(*byte))
    };
    peer.read(len)
}

/// `resultCode` success, no `matchedDN`, no message.
fn result(id: &[u8], operation: u8) -> Vec<u8> {
    let body = [0x0a, 1, 0, 0x04, 0, 0x04, 0];
    let len = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    let inner = [&[0x02, len(id)], id, &[operation, len(&body)], &body].concat();
    [&[0x30, len(&inner)], inner.as_slice()].concat()
}
