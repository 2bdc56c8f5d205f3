//! A table of Postfix behind TCP (`tcp_table(5)`) that knows no key: `get KEY` gives `500`.

use super::Peer;

pub fn converse(peer: &mut Peer) -> std::io::Result<()> {
    loop {
        peer.read_until(b'\n')?;
        peer.think()?;
        peer.write(b"500 not found\n")?;
    }
}
