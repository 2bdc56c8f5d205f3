//! A content filter that speaks SMTP and stands before the queue, as amavis does: it is late with the reply to the message.

use super::Peer;

pub fn converse(peer: &mut Peer) -> std::io::Result<()> {
    peer.write(b"220 filter.lab.test ESMTP\r\n")?;
    let mut is_data = false;
    loop {
        let line = peer.read_until(b'\n')?;
        let line = line.trim_ascii_end();
        if is_data && line != b"." {
            continue;
        }
        match line.get(..4).unwrap_or_default().to_ascii_uppercase().as_slice() {
            _ if is_data => {
                is_data = false;
                peer.think()?;
                peer.write(b"250 2.0.0 taken\r\n")?;
            }
            b"EHLO" => peer.write(b"250-filter.lab.test\r\n250 XFORWARD NAME ADDR PROTO HELO\r\n")?,
            b"DATA" => {
                is_data = true;
                peer.write(b"354 go on\r\n")?;
            }
            b"QUIT" => return peer.write(b"221 2.0.0 bye\r\n"),
            _ => peer.write(b"250 2.0.0 ok\r\n")?,
        }
    }
}
