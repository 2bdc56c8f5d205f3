//! A database that speaks `PostgreSQL`'s protocol 3.0: it takes every user, and answers a SELECT late, as a command without rows.
//!
//! ```text
//! first message = length 4 | code 4 ...      others = type 1 | length 4 | ...
//! ```

use super::Peer;

/// Of a request for TLS or GSSAPI: `SSLRequest`, `GSSENCRequest`.
const ENCRYPTION: [u32; 2] = [80_877_103, 80_877_104];
/// `AuthenticationOk`, `BackendKeyData`, `ReadyForQuery`.
const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0K\0\0\0\x0c\0\0\0\x01\0\0\0\x01Z\0\0\0\x05I";
/// `CommandComplete` (SET), `ReadyForQuery`.
const DONE: &[u8] = b"C\0\0\0\x08SET\0Z\0\0\0\x05I";

pub fn converse(peer: &mut Peer) -> std::io::Result<()> {
    loop {
        let body = read_body(peer)?;
        if !ENCRYPTION.contains(&number(&body)) {
            break;
        }
        peer.write(b"N")?;
    }
    peer.write(WELCOME)?;
    loop {
        let kind = peer.read(1)?;
        let body = read_body(peer)?;
        match kind.first() {
            Some(b'Q') => {
                if body.to_ascii_lowercase().starts_with(b"select") {
                    peer.think()?;
                }
                peer.write(DONE)?;
            }
            Some(b'X') => return Ok(()),
            _ => {}
        }
    }
}

/// What stands behind the length, which counts itself.
fn read_body(peer: &mut Peer) -> std::io::Result<Vec<u8>> {
    let len = peer.read(4)?;
    peer.read(usize::try_from(number(&len)).unwrap_or_default().saturating_sub(4))
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}
