//! Lines of clients and replies of servers, put together from reads and writes, and taken apart again in other words.
//!
//! What a line is made of is only known when it is whole. Until then its pieces are bytes without text, as the kernel side writes what it wipes (NUL);
//! the read that completes it brings the whole as its `carry` (`event::Smtp`). Of a reply in pieces the code is written at once, the rest with its last
//! piece. Invariant: no byte of text leaves that did not go through `text.rs` as a part of a whole line.

use super::names::Names;
use super::text::{self, host, in_brackets, is_known_word, mail};
use crate::mta;
use crate::proto::smtp::parse_line;
use crate::report::Verb;
use std::collections::HashMap;

/// Connections with an unfinished line, of which more is known than its length.
const MAX_OPEN: usize = 10_000;
/// Longest line that is put together; as in `proto/smtp`.
const MAX_LINE_BYTES: usize = 4096;
/// Of a write that was copied in part, so many bytes at the end of the copy are its end; as in `proto/smtp`.
const TAIL_BYTES: usize = 256;

/// The unfinished lines of all connections, by their sockets.
#[derive(Debug, Default)]
pub struct Dialogues {
    lines: HashMap<u64, Vec<u8>>,
    replies: HashMap<u64, Unfinished>,
}

#[derive(Debug, Default)]
struct Unfinished {
    bytes: Vec<u8>,
    /// How much of its code was written.
    written: usize,
}

/// What a read brings now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Beginning of its first line.
    pub carry: Option<Vec<u8>>,
    /// Its bytes.
    pub data: Vec<u8>,
}

impl Dialogues {
    /// Bytes of a client that are no lines, or that nobody may see: their number is what is left.
    pub fn read_unseen(&mut self, socket: u64, data: &[u8]) -> Vec<u8> {
        self.lines.remove(&socket);
        vec![0; data.len()]
    }

    /// Bytes of a client where lines are expected. `is_cut`: the end of them is not there.
    pub fn read(&mut self, names: &mut Names, socket: u64, carry: &[u8], data: &[u8], is_cut: bool) -> Read {
        let mut unfinished = self.lines.remove(&socket).unwrap_or_default();
        let wiped = unfinished.len();
        unfinished.truncate(wiped.saturating_sub(carry.len()));
        unfinished.extend_from_slice(carry);
        let mut read = Read::default();
        let mut rest = data;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let (head, tail) = rest.split_at(end);
            rest = tail.get(1..).unwrap_or_default();
            let is_first = rest.len() + head.len() + 1 == data.len();
            let whole = [&std::mem::take(&mut unfinished)[..], head].concat();
            let (bare, end) = whole.strip_suffix(b"\r").map_or((&whole[..], &b"\n"[..]), |bare| (bare, &b"\r\n"[..]));
            let parsed = parse_line(bare);
            match line(names, parsed.verb, parsed.text.as_deref()).filter(|_| whole.len() <= MAX_LINE_BYTES) {
                Some(new) if is_first && (wiped > 0 || !carry.is_empty()) => {
                    // It takes the place of all that was wiped; blanks at the end of a line are no part of it.
                    let mut new = new.into_bytes();
                    new.resize(new.len().max(wiped), b' ');
                    read.carry = Some(new);
                }
                Some(new) => read.data.extend(new.into_bytes()),
                None => read.data.resize(read.data.len() + head.strip_suffix(b"\r").unwrap_or(head).len(), 0),
            }
            // The carriage return may have come, and have been wiped, before.
            read.data.extend(if head.ends_with(b"\r") || read.carry.is_some() && is_first { end } else { b"\n" });
            if matches!(parsed.verb, Verb::Auth | Verb::Data | Verb::Bdat | Verb::Starttls) {
                read.data.resize(read.data.len() + rest.len(), 0);
                return read;
            }
        }
        read.data.resize(read.data.len() + rest.len(), 0);
        // Of a line without text the length is told, and this is no part of it.
        if let (Some(last), Some(b'\r')) = (read.data.last_mut(), rest.last()) {
            *last = b'\r';
        }
        unfinished.extend_from_slice(rest);
        if !unfinished.is_empty() && !is_cut {
            if self.lines.len() >= MAX_OPEN {
                self.lines.clear();
            }
            unfinished.truncate(MAX_LINE_BYTES + 1);
            self.lines.insert(socket, unfinished);
        }
        read
    }

    /// Bytes of the server. `is_cut`: their middle is not there.
    pub fn write(&mut self, names: &mut Names, socket: u64, data: &[u8], is_cut: bool) -> Vec<u8> {
        let mut open = self.replies.remove(&socket).unwrap_or_default();
        if starts_reply(data) {
            // What came before was a code alone (inside AUTH), or is lost.
            open = Unfinished::default();
        }
        if is_cut {
            return write_cut(names, &open, data);
        }
        let mut new = Vec::with_capacity(data.len());
        for part in data.split_inclusive(|&byte| byte == b'\n') {
            let room = MAX_LINE_BYTES.saturating_sub(open.bytes.len());
            open.bytes.extend(part.iter().take(room));
            if part.last() == Some(&b'\n') {
                let Unfinished { bytes, written } = std::mem::take(&mut open);
                new.extend(reply(names, &bytes).get(written..).unwrap_or(b"\r\n"));
            } else {
                let code = code_bytes(&open.bytes);
                new.extend(open.bytes.get(open.written..code).unwrap_or_default());
                open.written = open.written.max(code);
            }
        }
        if !open.bytes.is_empty() {
            if self.replies.len() >= MAX_OPEN {
                self.replies.clear();
            }
            self.replies.insert(socket, open);
        }
        new
    }
}

/// A client's line by its verb; none: it has no text.
fn line(names: &mut Names, verb: Verb, text: Option<&str>) -> Option<String> {
    let text = text?;
    let end = text.find([' ', '\t']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let argument = rest.trim_start_matches([' ', '\t']);
    let blanks = rest.get(..rest.len() - argument.len()).unwrap_or_default();
    let new = match verb {
        Verb::Helo | Verb::Ehlo | Verb::Lhlo => {
            let end = argument.find([' ', '\t']).unwrap_or(argument.len());
            let (own, behind) = argument.split_at(end);
            host(names, own) + &text::text(names, behind, None)
        }
        Verb::Mail | Verb::Rcpt => path(names, argument),
        Verb::Vrfy | Verb::Expn if !argument.contains(['@', '<']) => names.user(argument),
        Verb::Etrn => {
            let bare = argument.trim_start_matches(['@', '#']);
            argument.get(..argument.len() - bare.len()).unwrap_or_default().to_owned() + &host(names, bare)
        }
        _ => text::text(names, argument, None),
    };
    Some(format!("{name}{blanks}{new}"))
}

/// `FROM:<a@example.com> SIZE=5`.
fn path(names: &mut Names, argument: &str) -> String {
    let Some((word, rest)) = argument.split_once(':').filter(|(word, _)| is_known_word(word.trim())) else {
        return text::text(names, argument, None);
    };
    let bare = rest.trim_start_matches([' ', '\t']);
    let blanks = rest.get(..rest.len() - bare.len()).unwrap_or_default();
    let (new, behind) = if let Some(inside) = bare.strip_prefix('<') {
        match inside.split_once('>') {
            Some((inside, behind)) => (format!("<{}>", in_brackets(names, inside)), behind),
            None => (format!("<{}", in_brackets(names, inside)), ""),
        }
    } else {
        let (own, behind) = bare.split_at(bare.find([' ', '\t']).unwrap_or(bare.len()));
        (if own.contains('@') { mail(names, own) } else { names.user(own) }, behind)
    };
    format!("{word}:{blanks}{new}{}", text::text(names, behind, None))
}

/// Whether bytes begin with a whole code.
fn starts_reply(bytes: &[u8]) -> bool {
    code_bytes(bytes) >= 3
}

/// How many bytes at the beginning are a code and the mark behind it, or may become one.
fn code_bytes(bytes: &[u8]) -> usize {
    let digits = bytes.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
    match bytes.get(digits) {
        None => digits,
        Some(b' ' | b'-') if digits == 3 => 4,
        Some(b'\r' | b'\n' | 0) if digits == 3 => 3,
        Some(_) => 0,
    }
}

/// One line of a reply, with its end.
fn reply(names: &mut Names, line: &[u8]) -> Vec<u8> {
    let bare = line.strip_suffix(b"\n").unwrap_or(line);
    let bare = bare.strip_suffix(b"\r").unwrap_or(bare);
    let end = line.get(bare.len()..).unwrap_or_default();
    let code = code_bytes(bare);
    // Without a code it is no reply.
    if code < 3 {
        return end.to_vec();
    }
    let (code, words) = bare.split_at(code);
    let queue_id = mta::queue_id(&String::from_utf8_lossy(bare)).filter(|id| id.bytes().any(|byte| byte.is_ascii_digit()));
    let words = String::from_utf8_lossy(words);
    if matches!(code.get(..3), Some(b"220" | b"221" | b"421")) {
        greeter(names, &words);
    }
    let words = text::text(names, &words, queue_id.as_deref());
    [code, words.as_bytes(), end].concat()
}

/// A server names itself first, perhaps behind an enhanced code: also where its name is one word.
fn greeter(names: &mut Names, words: &str) {
    let is_code = |word: &str| word.contains('.') && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let name = words.split_ascii_whitespace().find(|word| !is_code(word)).unwrap_or_default();
    if !is_known_word(name) && !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        names.host(name);
    }
}

/// A write with a gap: its first lines, and of its end the codes, where `proto/smtp` looks for them.
fn write_cut(names: &mut Names, open: &Unfinished, data: &[u8]) -> Vec<u8> {
    let (head, tail) = data.split_at(data.len() - TAIL_BYTES.min(data.len() / 2));
    let mut new = Vec::new();
    let mut before = open.bytes.clone();
    for part in head.split_inclusive(|&byte| byte == b'\n') {
        before.extend_from_slice(part);
        let whole = reply(names, &std::mem::take(&mut before));
        new.extend(whole.get(if new.is_empty() { open.written } else { 0 }..).unwrap_or_default());
    }
    let behind = tail.iter().position(|&byte| byte == b'\n').map_or(&[][..], |at| tail.get(at + 1..).unwrap_or_default());
    let codes: Vec<u8> = behind
        .split_inclusive(|&byte| byte == b'\n')
        .filter(|line| starts_reply(line) && line.ends_with(b"\n"))
        .flat_map(|line| [line.get(..code_bytes(line)).unwrap_or_default(), b"\r\n"].concat())
        .collect();
    let mut end = vec![b' '; TAIL_BYTES.saturating_sub(codes.len() + 1)];
    end.push(b'\n');
    end.extend(codes);
    new.resize(new.len().max(end.len()), b' ');
    new.extend(end);
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::smtp::{Lines, Replies};
    use proptest::prelude::*;

    fn read(carry: &[u8], data: &[u8]) -> Read {
        Read { carry: (!carry.is_empty()).then(|| carry.to_vec()), data: data.to_vec() }
    }

    #[test]
    fn lines_by_their_verbs() {
        let mut names = Names::default();
        for (old, new) in [
            ("HELO client.acme.com", "HELO host1.domain1.example"),
            ("ehlo [10.1.2.3]", "ehlo [198.18.0.1]"),
            ("HELO mail", "HELO host2"),
            ("MAIL FROM:<Bob@acme.com> SIZE=500 BODY=8BITMIME", "MAIL FROM:<user1@domain1.example> SIZE=500 BODY=8BITMIME"),
            ("MAIL FROM:<>", "MAIL FROM:<>"),
            ("rcpt to: bob@[10.1.2.3]", "rcpt to: user1@[198.18.0.1]"),
            ("RCPT TO:<postmaster>", "RCPT TO:<postmaster>"),
            (
                "RCPT TO:<@relay.acme.com:carol@acme.com> ORCPT=rfc822;dave@acme.com",
                "RCPT TO:<user2@domain1.example> ORCPT=rfc822;user3@domain1.example",
            ),
            ("VRFY info", "VRFY user4"),
            ("EXPN <info>", "EXPN <user4>"),
            ("ETRN @acme.com", "ETRN @domain1.example"),
            ("BDAT 1000 LAST", "BDAT 1000 LAST"),
            ("AUTH PLAIN AGEAYg==", "AUTH PLAIN"),
            ("XFORWARD NAME=x.acme.com ADDR=10.1.2.3", "XFORWARD NAME=host3.domain1.example ADDR=198.18.0.1"),
            ("NOOP miller", "NOOP word1"),
        ] {
            let got = Dialogues::default().read(&mut names, 1, b"", format!("{old}\r\n").as_bytes(), false);
            assert_eq!(got, read(b"", format!("{new}\r\n").as_bytes()));
        }
    }

    #[test]
    fn wiped_bytes_keep_their_number() {
        let mut names = Names::default();
        let old = b"\0\0\0\0\0\r\nDATA\r\nsecret";
        assert_eq!(Dialogues::default().read(&mut names, 1, b"", old, false), read(b"", b"\0\0\0\0\0\r\nDATA\r\n\0\0\0\0\0\0"));
    }

    /// The lines that a session sees.
    fn lines_of(reads: &[(Vec<u8>, Vec<u8>)]) -> Vec<crate::proto::smtp::Line> {
        let mut lines = Lines::default();
        reads.iter().flat_map(|(carry, data)| lines.push(carry, data)).collect()
    }

    #[test]
    fn a_line_in_pieces_comes_with_its_last() {
        let mut names = Names::default();
        let mut it = Dialogues::default();
        let first: Vec<Read> = b"MAIL FROM:<bob@acme.com>\r\n".iter().map(|byte| it.read(&mut names, 1, b"", &[*byte], false)).collect();
        assert_eq!(first[..24], vec![read(b"", b"\0"); 24]);
        assert_eq!(first[24], read(b"", b"\r"));
        assert_eq!(first[25], read(b"MAIL FROM:<user1@domain1.example>", b"\r\n"));
        let reads: Vec<_> = first.into_iter().map(|read| (read.carry.unwrap_or_default(), read.data)).collect();
        assert_eq!(lines_of(&reads)[0].text.as_deref(), Some("MAIL FROM:<user1@domain1.example>"));
    }

    #[test]
    fn replies_in_pieces() {
        let mut names = Names::default();
        let mut it = Dialogues::default();
        let mut write = |data: &str| String::from_utf8(it.write(&mut names, 1, data.as_bytes(), false)).expect("ASCII");
        assert_eq!(
            (write("250-mx.ac"), write("me.com Hello 10.1"), write(".2.3\r\n25"), write("0 HELP\r\n")),
            ("250-".into(), String::new(), "host1.domain1.example Hello 198.18.0.1\r\n25".into(), "0 HELP\r\n".into())
        );
        assert_eq!((write("334"), write("235 2.0.0 OK\r\n")), ("334".into(), "235 2.0.0 OK\r\n".into()));
        assert_eq!(write("250 2.0.0 6AQ3E2FB006449 Message accepted for delivery\r\n"), "250 2.0.0 6AQ3E2FB006449 Message accepted for delivery\r\n");
        assert_eq!(write("220 alpha7 ESMTP\r\n250 alpha7 Hello\r\nmiller\r\n"), "220 host2 ESMTP\r\n250 host2 Hello\r\n\r\n");
    }

    #[test]
    fn of_a_write_with_a_gap_first_line_and_last_code_stay() {
        let mut data = b"250-mx.acme.com Hello\r\n250-second".to_vec();
        data.extend([b'x'; 400]);
        data.extend(b"\r\n250-y\r\n250 last.acme.com\r\n");
        let new = Dialogues::default().write(&mut Names::default(), 1, &data, true);
        let (old, got) = (Replies::default().push(&data, true), Replies::default().push(&new, true));
        assert_eq!((old[0].code, got.len(), got[0].code, got[0].first_line.as_str()), (250, 1, 250, "250-host1.domain1.example Hello"));
    }

    proptest! {
        #[test]
        fn never_panics(all in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..40), any::<bool>(), any::<bool>()), 0..20)) {
            let (mut names, mut it) = (Names::default(), Dialogues::default());
            for (data, is_cut, is_write) in all {
                if is_write {
                    let _ = it.write(&mut names, 1, &data, is_cut);
                } else {
                    let _ = it.read(&mut names, 1, data.get(..3).unwrap_or_default(), &data, is_cut);
                }
            }
        }

        /// Whole or in pieces: the session sees the same lines, with the same verbs and, without a verb, the same length.
        #[test]
        fn pieces_make_the_same_lines(text in "(HELO [a-z.]{1,9}|MAIL FROM:<[a-z@.]{0,9}>|\0{1,9}|QUIT| RSET |NOOP)(\r?\nRCPT TO:<[a-z@]{1,9}>){0,3}\r?\n", cuts in proptest::collection::vec(1..9_usize, 0..30)) {
            let mut names = Names::default();
            let whole = Dialogues::default().read(&mut names, 1, b"", text.as_bytes(), false);
            let mut it = Dialogues::default();
            let (mut rest, mut reads) = (text.as_bytes(), Vec::new());
            for cut in cuts {
                let (piece, behind) = rest.split_at(cut.min(rest.len()));
                rest = behind;
                reads.push(it.read(&mut names, 1, b"", piece, false));
            }
            reads.push(it.read(&mut names, 1, b"", rest, false));
            let reads: Vec<_> = reads.into_iter().map(|read| (read.carry.unwrap_or_default(), read.data)).collect();
            let facts = |reads: &[(Vec<u8>, Vec<u8>)]| -> Vec<_> { lines_of(reads).into_iter().map(|line| (line.verb, line.text.clone(), if line.text.is_none() { line.bytes } else { 0 })).collect() };
            prop_assert_eq!(facts(&reads), facts(&[(Vec::new(), whole.data)]));
            let original: Vec<Verb> = lines_of(&[(Vec::new(), text.into_bytes())]).into_iter().map(|line| line.verb).collect();
            prop_assert_eq!(facts(&reads).into_iter().map(|fact| fact.0).collect::<Vec<_>>(), original);
        }
    }
}
