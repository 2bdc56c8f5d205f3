//! Dovecot's authentication service, which knows nobody: of PLAIN and LOGIN it looks at what asks for the next line, never at a password.
//!
//! Lines of fields with tabs between (Dovecot's `auth_protocol`): the server says `VERSION`, `MECH`s, ..., `DONE` at once; then come
//! `AUTH id mechanism ...` and `CONT id ...`, and go `CONT id challenge` or `FAIL id`.

use super::Peer;

const HELLO: &[u8] =
    b"VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t00000000000000000000000000000001\nDONE\n";

pub fn converse(peer: &mut Peer) -> std::io::Result<()> {
    peer.write(HELLO)?;
    let mut is_login = false;
    // LOGIN asks for the user and then for the password.
    let mut asked = 0;
    loop {
        let line = peer.read_until(b'\n')?;
        let line = String::from_utf8_lossy(&line);
        let mut fields = line.split('\t');
        let (command, id) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        match command {
            "AUTH" => (is_login, asked) = (fields.next() == Some("LOGIN"), 0),
            "CONT" => {}
            _ => continue,
        }
        let has_response = fields.any(|field| field.starts_with("resp="));
        if is_login {
            asked += usize::from(asked == 0 && has_response && command == "AUTH");
            if let Some(prompt) = ["VXNlcm5hbWU6", "UGFzc3dvcmQ6"].get(asked) {
                asked += 1;
                peer.write(format!("CONT\t{id}\t{prompt}\n").as_bytes())?;
                continue;
            }
        } else if command == "AUTH" && !has_response {
            peer.write(format!("CONT\t{id}\t\n").as_bytes())?;
            continue;
        }
        peer.think()?;
        peer.write(format!("FAIL\t{id}\n").as_bytes())?;
    }
}
