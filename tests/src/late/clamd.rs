//! clamd, which finds no virus in a stream (`clamd(8)`).
//!
//! ```text
//! request = "zINSTREAM" NUL (length 4 | bytes)* 0 0 0 0      reply = "stream: OK" NUL
//! ```

use super::Peer;

pub fn converse(peer: &mut Peer) -> std::io::Result<()> {
    peer.read_until(0)?;
    loop {
        let len = peer.read(4)?.iter().fold(0, |len: usize, byte| len << 8 | usize::from(*byte));
        if len == 0 {
            break;
        }
        peer.read(len)?;
    }
    peer.think()?;
    peer.write(b"stream: OK\0")
}
