//! Replies of the server (RFC 5321, 4.2): `ddd-text` lines, the last one `ddd text`.
//!
//! Of a long write only the beginning and the end may have been copied. Inside AUTH only codes are copied.

/// Longest reply line that is put together from several writes.
const MAX_LINE_BYTES: usize = 4096;
/// How many of the last bytes of a cut write are at the end of its copy.
const TAIL_BYTES: usize = 256;

/// A whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Code of its last line.
    pub code: u16,
    /// Its first line without line end.
    pub first_line: String,
}

/// Puts writes together to replies.
#[derive(Clone, Debug, Default)]
pub struct Replies {
    unfinished: Vec<u8>,
    first_line: Option<String>,
}

impl Replies {
    /// Takes the bytes of one write; `cut`: of its middle there is no copy.
    pub fn push(&mut self, data: &[u8], cut: bool) -> Vec<Reply> {
        let mut replies = Vec::new();
        let tail_bytes = if cut { TAIL_BYTES.min(data.len() / 2) } else { 0 };
        let (head, tail) = data.split_at(data.len() - tail_bytes);
        self.lines(head, &mut replies);
        if cut {
            // The line that the gap interrupts still gives the reply its first line.
            if self.first_line.is_none() && code_of(&self.unfinished).is_some() {
                self.first_line = Some(text_of(&self.unfinished));
            }
            self.unfinished.clear();
            let whole = tail.iter().position(|&byte| byte == b'\n').map_or(&[][..], |at| tail.get(at + 1..).unwrap_or_default());
            self.lines(whole, &mut replies);
        }
        replies
    }

    /// Takes a write of which only codes may be known: each is a reply of its own.
    pub fn push_code_only(&mut self, data: &[u8]) -> Option<Reply> {
        self.unfinished.clear();
        self.first_line = None;
        let last_line = data.split(|&byte| byte == b'\n').rfind(|line| code_of(line).is_some())?;
        let code = code_of(last_line)?;
        Some(Reply { code, first_line: code.to_string() })
    }

    fn lines(&mut self, data: &[u8], replies: &mut Vec<Reply>) {
        for part in data.split_inclusive(|&byte| byte == b'\n') {
            let room = MAX_LINE_BYTES.saturating_sub(self.unfinished.len());
            self.unfinished.extend(part.iter().take(room));
            if part.last() == Some(&b'\n') {
                let line = std::mem::take(&mut self.unfinished);
                replies.extend(self.line(&line));
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Option<Reply> {
        let code = code_of(line)?;
        let first_line = self.first_line.take().unwrap_or_else(|| text_of(line));
        if line.get(3) == Some(&b'-') {
            self.first_line = Some(first_line);
            return None;
        }
        Some(Reply { code, first_line })
    }
}

fn code_of(line: &[u8]) -> Option<u16> {
    let digits = line.get(..3)?;
    let is_ended = line.get(3).is_none_or(|byte| !byte.is_ascii_digit());
    if !is_ended || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn text_of(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end_matches(['\r', '\n', '\0']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reply(code: u16, first_line: &str) -> Reply {
        Reply { code, first_line: first_line.into() }
    }

    #[test]
    fn reads_single_and_multi_line_replies() {
        let mut replies = Replies::default();
        let got = replies.push(b"250-m1 Hello\r\n250-SIZE\r\n250 HELP\r\n354 go\r\n221\r\n", false);
        assert_eq!(got, [reply(250, "250-m1 Hello"), reply(354, "354 go"), reply(221, "221")]);
    }

    #[test]
    fn a_reply_may_come_in_pieces() {
        let mut replies = Replies::default();
        assert!(replies.push(b"250-a\r\n25", false).is_empty());
        assert_eq!(replies.push(b"0 b\r\n", false), [reply(250, "250-a")]);
    }

    #[test]
    fn a_cut_write_keeps_first_line_and_code() {
        let mut data = b"250-first\r\n250-second".to_vec();
        data.extend([b'x'; 400]);
        data.extend(b"\r\n250-y\r\n250 last\r\n");
        assert_eq!(Replies::default().push(&data, true), [reply(250, "250-first")]);
    }

    #[test]
    fn inside_auth_only_the_code() {
        let mut replies = Replies::default();
        assert_eq!(replies.push_code_only(b"334"), Some(reply(334, "334")));
        assert_eq!(replies.push_code_only(b"535 \0\0\0\0"), Some(reply(535, "535")));
        assert_eq!(replies.push_code_only(b"235 2.0.0 OK Authenticated\r\n"), Some(reply(235, "235")));
        assert_eq!(replies.push_code_only(b"\0\0"), None);
    }

    proptest! {
        #[test]
        fn never_panics(writes in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..700), any::<bool>()), 0..5)) {
            let mut replies = Replies::default();
            for (data, cut) in writes {
                let _ = replies.push(&data, cut);
                let _ = replies.push_code_only(&data);
            }
        }
    }
}
