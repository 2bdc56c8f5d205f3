//! Replies of a server, byte by byte (RFC 5321, 4.2.1): `250-first`, `250-second`, `250 last`.
//!
//! In: bytes as they come, untrusted. Out: whole replies, or why they are none. Invariant: however much comes, no more than
//! [`MAX_LINE`] of a line and [`MAX_REPLY`] of a reply is kept. Not here: what a reply means to the dialogue.

/// What is kept of one line, bytes; RFC 5321 allows 512.
pub const MAX_LINE: usize = 2048;
/// How long all lines of a reply may be together, bytes.
pub const MAX_REPLY: usize = 64 * 1024;
/// How much of a line is shown that is no reply.
const MAX_SHOWN: usize = 80;

/// A whole reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// Its lines without codes and line ends; what is no UTF-8 is replaced.
    pub lines: Vec<String>,
}

impl Reply {
    /// 2xx.
    pub fn is_good(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// As the report shows it: the first line, with its code.
    pub fn first_line(&self) -> String {
        let separator = if self.lines.len() > 1 { '-' } else { ' ' };
        let text = self.lines.first().map_or("", String::as_str);
        if text.is_empty() { self.code.to_string() } else { format!("{}{separator}{text}", self.code) }
    }
}

/// Why what came is no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It does not begin with three digits.
    #[error("`{0}` is no reply of SMTP")]
    NoReply(String),
    /// It has no end.
    #[error("a reply is longer than {MAX_REPLY} bytes")]
    Endless,
}

/// Takes bytes and makes replies of them.
#[derive(Debug, Default)]
pub struct Reader {
    line: Vec<u8>,
    lines: Vec<String>,
    bytes: usize,
}

impl Reader {
    /// Takes one byte; gives the reply that it completes.
    pub fn push(&mut self, byte: u8) -> Result<Option<Reply>, Broken> {
        self.bytes += 1;
        if byte != b'\n' {
            if self.line.len() < MAX_LINE {
                self.line.push(byte);
            }
            return if self.bytes > MAX_REPLY { Err(Broken::Endless) } else { Ok(None) };
        }
        let mut line = std::mem::take(&mut self.line);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        let Some((code, is_last, text)) = split(&line) else {
            let shown = line.get(..MAX_SHOWN).unwrap_or(&line);
            return Err(Broken::NoReply(String::from_utf8_lossy(shown).into_owned()));
        };
        self.lines.push(String::from_utf8_lossy(text).into_owned());
        if !is_last {
            return Ok(None);
        }
        self.bytes = 0;
        Ok(Some(Reply { code, lines: std::mem::take(&mut self.lines) }))
    }
}

/// Code, whether it is the last line, and the text. A line of three digits alone is allowed (RFC 5321, 4.2).
fn split(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (code, rest) = line.split_at_checked(3)?;
    let code: u16 = std::str::from_utf8(code).ok().filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?;
    if !(200..600).contains(&code) {
        return None;
    }
    match rest.split_first() {
        None => Some((code, true, rest)),
        Some((b' ', text)) => Some((code, true, text)),
        Some((b'-', text)) => Some((code, false, text)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Vec<Reply>, Broken> {
        let mut reader = Reader::default();
        let replies: Result<Vec<_>, _> = bytes.iter().map(|byte| reader.push(*byte)).collect();
        Ok(replies?.into_iter().flatten().collect())
    }

    fn reply(code: u16, lines: &[&str]) -> Reply {
        Reply { code, lines: lines.iter().map(|line| (*line).to_owned()).collect() }
    }

    #[test]
    fn one_line_several_lines_and_several_replies() {
        assert_eq!(read(b"220 hello\r\n"), Ok(vec![reply(220, &["hello"])]));
        assert_eq!(read(b"250-a\r\n250-\r\n250 c d\r\n"), Ok(vec![reply(250, &["a", "", "c d"])]));
        assert_eq!(read(b"250 a\r\n550-b\r\n550 c\r\n354\r\n"), Ok(vec![reply(250, &["a"]), reply(550, &["b", "c"]), reply(354, &[""])]));
        assert_eq!(read(b"250-begun\r\n250 no end"), Ok(vec![]));
        assert_eq!(read(b"220 bare line feed\n"), Ok(vec![reply(220, &["bare line feed"])]));
    }

    #[test]
    fn what_is_none_is_told() {
        for text in
            [&b"SSH-2.0-OpenSSH\r\n"[..], b"25\r\n", b"\r\n", b"2500 x\r\n", b"199 x\r\n", b"600 x\r\n", b"250_x\r\n", b"250-a\r\n\xff\x1b[2J\r\n"]
        {
            assert!(matches!(read(text), Err(Broken::NoReply(_))), "{text:?}");
        }
        let Err(Broken::NoReply(shown)) = read(&[&[b'x'; 5000][..], b"\r\n"].concat()) else { panic!("no reply") };
        assert_eq!(shown.len(), MAX_SHOWN);
    }

    #[test]
    fn what_has_no_end_is_given_up_and_a_long_line_is_cut() {
        assert_eq!(read(&vec![b'2'; MAX_REPLY + 1]), Err(Broken::Endless));
        assert_eq!(read(&b"250-x\r\n".repeat(MAX_REPLY)), Err(Broken::Endless));
        let replies = read(&[b"250 ", &vec![b'x'; 10_000][..], b"\r\n250 y\r\n"].concat()).expect("two replies");
        assert_eq!((replies[0].lines[0].len(), replies[1].lines[0].as_str()), (MAX_LINE - 4, "y"));
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_replies_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for reply in read(&bytes).unwrap_or_default() {
                prop_assert!((200..600).contains(&reply.code) && !reply.lines.is_empty());
                prop_assert!(reply.lines.iter().all(|line| !line.contains('\n')));
            }
        }

        #[test]
        fn where_it_is_cut_does_not_matter(texts in proptest::collection::vec("[ -~]{0,40}", 1..5), code in 200_u16..600) {
            let count = texts.len();
            let line = |(n, text): (usize, &String)| format!("{code}{}{text}\r\n", if n + 1 == count { ' ' } else { '-' });
            let wire: String = texts.iter().enumerate().map(line).collect();
            prop_assert_eq!(read(wire.as_bytes()), Ok(vec![Reply { code, lines: texts }]));
        }
    }
}
