//! What Exim's `${readsocket}` asks: a request that ends where its sender closes that direction, an answer, and an end.

use super::Peer;

pub fn converse(peer: &mut Peer) -> std::io::Result<()> {
    while peer.read(1).is_ok() {}
    peer.think()?;
    peer.write(b"no")
}
