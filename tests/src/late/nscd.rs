//! nscd for users alone (glibc's `nscd/nscd-client.h`): it answers from the MTA's own `/etc/passwd`, and for every other table says
//! that it has none, so that its clients go on by themselves.
//!
//! ```text
//! request = version 4 | type 4 | length 4 | key NUL
//! reply = version 4 | found 4 (1, 0, -1: no such table) | name, password: lengths 4 | uid 4 | gid 4 | gecos, home, shell: lengths 4 | texts
//! ```

use super::Peer;

const VERSION: i32 = 2;
/// `GETPWBYNAME`.
const USER_BY_NAME: i32 = 0;
/// `GETPWBYUID`.
const USER_BY_ID: i32 = 1;
/// The user about whom it is late.
const ASKED: &str = "mail";
/// The reply to a question about a host is the longest.
const NO_TABLE: [i32; 8] = [VERSION, -1, 0, 0, 0, 0, 0, 0];

pub fn converse(peer: &mut Peer) -> std::io::Result<()> {
    let head = peer.read(12)?;
    let field = |index: usize| head.get(index * 4..index * 4 + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, i32::from_ne_bytes);
    let (asked, len) = (field(1), usize::try_from(field(2)).unwrap_or_default());
    let key = peer.read(len)?;
    let key = String::from_utf8_lossy(&key).trim_end_matches('\0').to_owned();
    let reply = match asked {
        USER_BY_NAME | USER_BY_ID => {
            // The accounts of the mail server itself, for which each of its processes asks when it begins, are known at once.
            if key == ASKED {
                peer.think()?;
            }
            let passwd = std::fs::read_to_string(peer.etc().join("passwd"))?;
            let column = if asked == USER_BY_NAME { 0 } else { 2 };
            user(passwd.lines().find(|line| line.split(':').nth(column) == Some(&key)))
        }
        // Its memory is not given away (`GETFDPW` and the like): closing says so.
        11.. => return Ok(()),
        _ => numbers(&NO_TABLE),
    };
    peer.write(&reply)
}

fn numbers(numbers: &[i32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

fn user(line: Option<&str>) -> Vec<u8> {
    let Some(line) = line else { return numbers(&[VERSION, 0, 0, 0, 0, 0, 0, 0, 0]) };
    let fields: Vec<&str> = line.split(':').collect();
    let text = |index: usize| format!("{}\0", fields.get(index).copied().unwrap_or_default());
    let number = |index: usize| fields.get(index).and_then(|field| field.parse().ok()).unwrap_or(0);
    let [name, password, gecos, home, shell] = [0, 1, 4, 5, 6].map(text);
    let len = |text: &str| i32::try_from(text.len()).unwrap_or_default();
    let head = [VERSION, 1, len(&name), len(&password), number(2), number(3), len(&gecos), len(&home), len(&shell)];
    [numbers(&head), [name, password, gecos, home, shell].concat().into_bytes()].concat()
}
