//! A database that speaks `MySQL`'s protocol: it takes every user, and answers a query late, by an OK without rows.
//!
//! ```text
//! packet = length 3 (little endian) | number 1 | payload      payload of a command = 0x01 quit, 0x03 query, ...
//! ```

use super::Peer;

/// Protocol 4.1, `mysql_native_password`, and a challenge that is always the same: no answer to it is looked at.
const GREETING: &[u8] = b"\x0a5.7.99-lab\0\x01\0\0\0abcdefgh\0\
    \x00\x82\x21\x02\0\x08\0\x15\0\0\0\0\0\0\0\0\0\0ijklmnopqrst\0mysql_native_password\0";
/// No rows were changed, autocommit is on.
const OK: &[u8] = b"\0\0\0\x02\0\0\0";

pub fn converse(peer: &mut Peer) -> std::io::Result<()> {
    write_packet(peer, 0, GREETING)?;
    let (number, _) = read_packet(peer)?;
    write_packet(peer, number.wrapping_add(1), OK)?;
    loop {
        let (number, command) = read_packet(peer)?;
        match command {
            Some(0x01) => return Ok(()),
            Some(0x03) => peer.think()?,
            _ => {}
        }
        write_packet(peer, number.wrapping_add(1), OK)?;
    }
}

/// Its number and its first byte.
fn read_packet(peer: &mut Peer) -> std::io::Result<(u8, Option<u8>)> {
    let head = peer.read(4)?;
    let len = head.iter().take(3).rev().fold(0, |len: usize, byte| len << 8 | usize::from(*byte));
    let payload = peer.read(len)?;
    Ok((head.last().copied().unwrap_or_default(), payload.first().copied()))
}

fn write_packet(peer: &mut Peer, number: u8, payload: &[u8]) -> std::io::Result<()> {
    let len = u8::try_from(payload.len()).unwrap_or(u8::MAX);
    peer.write(&[&[len, 0, 0, number], payload].concat())
}
