//! Lines of the client, put together from reads.
//!
//! The kernel side has wiped to NUL what is no line of a known verb; of a verb split over reads it brings the
//! first letters later, as `carry`. Invariant: a line that does not begin with a verb keeps its length only.

use crate::report::Verb;

/// Longest line of which the text is kept; RFC 5321, 4.5.3.1.4 asks for 512, extensions for more.
const MAX_TEXT_BYTES: usize = 4096;

/// One line of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it asks; [`Verb::Invalid`] where it begins with no verb.
    pub verb: Verb,
    /// Without line end and secrets; none where it is invalid.
    pub text: Option<String>,
    /// Length on the wire without line end.
    pub bytes: usize,
    /// How many bytes came behind it in the same read that cannot be lines (content behind `BDAT`).
    pub behind: u64,
}

/// Puts reads together to lines.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    unfinished: Vec<u8>,
    /// Bytes of the unfinished line beyond those kept.
    dropped: usize,
}

impl Lines {
    /// Takes the bytes of one read; `carry` stands for as many bytes at the end of the earlier ones.
    pub fn push(&mut self, carry: &[u8], data: &[u8]) -> Vec<Line> {
        let among_dropped = self.dropped.min(carry.len());
        self.dropped -= among_dropped;
        let kept = self.unfinished.len().saturating_sub(carry.len() - among_dropped);
        self.unfinished.truncate(kept);
        self.append(carry);
        let mut lines = Vec::new();
        let mut rest = data;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let (head, tail) = rest.split_at(end);
            rest = tail.get(1..).unwrap_or_default();
            self.append(head);
            let mut line = self.take_line();
            if is_followed_by_no_line(line.verb) {
                line.behind = u64::try_from(rest.len()).unwrap_or(u64::MAX);
                lines.push(line);
                return lines;
            }
            lines.push(line);
        }
        self.append(rest);
        lines
    }

    /// Forgets an unfinished line.
    pub fn clear(&mut self) {
        self.unfinished.clear();
        self.dropped = 0;
    }

    fn append(&mut self, bytes: &[u8]) {
        let room = MAX_TEXT_BYTES.saturating_sub(self.unfinished.len());
        let (kept, dropped) = bytes.split_at(room.min(bytes.len()));
        self.unfinished.extend_from_slice(kept);
        self.dropped = self.dropped.saturating_add(dropped.len());
    }

    fn take_line(&mut self) -> Line {
        let mut line = parse_line(&self.unfinished);
        line.bytes = line.bytes.saturating_add(self.dropped);
        self.clear();
        line
    }
}

/// What the client sends behind these may be anything until the server has replied.
fn is_followed_by_no_line(verb: Verb) -> bool {
    matches!(verb, Verb::Auth | Verb::Data | Verb::Bdat | Verb::Starttls)
}

/// Reads one line without its LF.
pub fn parse_line(line: &[u8]) -> Line {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let bytes = line.len();
    let text = line.trim_ascii_start();
    let letters = text.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let (name, rest) = text.split_at(letters);
    let is_alone = rest.first().is_none_or(|&byte| byte == b' ' || byte == b'\t');
    let verb = verb_by_name(name).filter(|_| is_alone);
    let Some(verb) = verb else {
        return Line { verb: Verb::Invalid, text: None, bytes, behind: 0 };
    };
    Line { verb, text: Some(kept_text(verb, text)), bytes, behind: 0 }
}

/// The line as it may be shown.
fn kept_text(verb: Verb, text: &[u8]) -> String {
    let shown = match verb {
        // Verb and mechanism; behind them the capture is wiped, and if it were not it would be a secret.
        Verb::Auth => {
            let words: Vec<&[u8]> = text.split(|byte| byte.is_ascii_whitespace() || *byte == 0).filter(|word| !word.is_empty()).take(2).collect();
            return String::from_utf8_lossy(&words.join(&b' ')).into_owned();
        }
        _ => text,
    };
    let text = String::from_utf8_lossy(shown);
    let text = text.trim_end_matches(['\0', ' ', '\t', '\r']);
    if verb == Verb::Mail { without_auth_parameter(text) } else { text.to_owned() }
}

/// RFC 4954, 5: `AUTH=` names who sent the message; it is nobody's business.
fn without_auth_parameter(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    for word in text.split_inclusive([' ', '\t']) {
        let is_auth = word.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("AUTH="));
        if !is_auth {
            kept.push_str(word);
        }
    }
    kept.trim_end().to_owned()
}

fn verb_by_name(name: &[u8]) -> Option<Verb> {
    const VERBS: [Verb; 18] = [
        Verb::Helo,
        Verb::Ehlo,
        Verb::Lhlo,
        Verb::Auth,
        Verb::Starttls,
        Verb::Mail,
        Verb::Rcpt,
        Verb::Data,
        Verb::Bdat,
        Verb::Rset,
        Verb::Noop,
        Verb::Vrfy,
        Verb::Expn,
        Verb::Help,
        Verb::Etrn,
        Verb::Quit,
        Verb::Xclient,
        Verb::Xforward,
    ];
    VERBS.into_iter().find(|verb| name.eq_ignore_ascii_case(verb.name().as_bytes()))
}

/// The domain in a line: behind the last `@` of an address, or the argument of `HELO`, `EHLO`, `LHLO`.
pub fn domain_of(verb: Verb, text: &str) -> Option<&str> {
    let domain = match verb {
        Verb::Mail | Verb::Rcpt | Verb::Vrfy | Verb::Expn => {
            let path = text.split('>').next()?;
            path.rsplit_once('@')?.1.split([' ', '\t']).next()?
        }
        Verb::Helo | Verb::Ehlo | Verb::Lhlo => text.split_ascii_whitespace().nth(1)?,
        _ => return None,
    };
    let domain = domain.trim_end_matches('.');
    (!domain.is_empty()).then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(lines: &[Line]) -> Vec<Option<&str>> {
        lines.iter().map(|line| line.text.as_deref()).collect()
    }

    #[test]
    fn a_batch_is_split() {
        let lines = Lines::default().push(b"", b"MAIL FROM:<a@b>\r\nrcpt to:<c@d>\nDATA\r\n");
        assert_eq!(texts(&lines), [Some("MAIL FROM:<a@b>"), Some("rcpt to:<c@d>"), Some("DATA")]);
        assert_eq!(lines[1].verb, Verb::Rcpt);
    }

    #[test]
    fn a_verb_split_over_reads_comes_as_carry() {
        let mut lines = Lines::default();
        assert!(lines.push(b"", b" \0\0").is_empty());
        let got = lines.push(b"MAIL", b"\0\0 FROM:<a@b>\r\n");
        // Four wiped letters, two of them in each read: the second read's are part of its data.
        assert_eq!(got.len(), 1);
        let mut lines = Lines::default();
        assert!(lines.push(b"", b" \0\0\0\0").is_empty());
        assert_eq!(texts(&lines.push(b"MAIL", b" FROM:<a@b>\r\n")), [Some("MAIL FROM:<a@b>")]);
    }

    /// Found by the fuzz target `smtp`: the verb took the place of blanks that are kept, so that a split line was another one than the whole.
    #[test]
    fn regress_a_verb_beyond_what_is_kept_stays_there() {
        let blanks = [b' '; MAX_TEXT_BYTES - 2];
        let whole = Lines::default().push(b"", &[&blanks[..], b"MAIL x\r\n"].concat());
        let mut lines = Lines::default();
        assert!(lines.push(b"", &[&blanks[..], b"\0\0\0\0"].concat()).is_empty());
        assert_eq!(lines.push(b"MAIL", b" x\r\n"), whole);
        assert_eq!(whole[0].verb, Verb::Invalid);
    }

    #[test]
    fn an_unknown_line_keeps_its_length_only() {
        let line = parse_line(b"\0\0\0\0\0\0\0\r");
        assert_eq!(line, Line { verb: Verb::Invalid, text: None, bytes: 7, behind: 0 });
        assert_eq!(parse_line(b"  \0\0").verb, Verb::Invalid);
        assert_eq!(parse_line(b"MAILX").verb, Verb::Invalid);
        assert_eq!(parse_line(b"").verb, Verb::Invalid);
    }

    #[test]
    fn secrets_are_cut() {
        assert_eq!(parse_line(b"AUTH PLAIN\0\0\0\0\r").text.as_deref(), Some("AUTH PLAIN"));
        assert_eq!(parse_line(b"auth plain AGEAYg==").text.as_deref(), Some("auth plain"));
        assert_eq!(parse_line(b"MAIL FROM:<a@b> AUTH=root@x SIZE=5").text.as_deref(), Some("MAIL FROM:<a@b> SIZE=5"));
        assert_eq!(parse_line(b"MAIL FROM:<a@b> auth=<>").text.as_deref(), Some("MAIL FROM:<a@b>"));
    }

    #[test]
    fn what_follows_data_is_only_counted() {
        let mut lines = Lines::default();
        let got = lines.push(b"", b"DATA\r\n\0\0\0\0");
        assert_eq!((got.len(), got[0].behind), (1, 4));
        assert_eq!(texts(&lines.push(b"", b"QUIT\r\n")), [Some("QUIT")]);
    }

    #[test]
    fn a_line_of_a_megabyte_is_counted() {
        let mut lines = Lines::default();
        for _ in 0..256 {
            assert!(lines.push(b"", &[0; 4096]).is_empty());
        }
        let got = lines.push(b"", b"\r\n");
        assert_eq!((got[0].verb, got[0].bytes), (Verb::Invalid, 1 << 20 | 1));
    }

    #[test]
    fn domains() {
        assert_eq!(domain_of(Verb::Mail, "MAIL FROM:<a@b.example> SIZE=1"), Some("b.example"));
        assert_eq!(domain_of(Verb::Rcpt, "RCPT TO: c@d.example"), Some("d.example"));
        assert_eq!(domain_of(Verb::Mail, "MAIL FROM:<>"), None);
        assert_eq!(domain_of(Verb::Helo, "HELO x.example"), Some("x.example"));
    }

    proptest! {
        #[test]
        fn never_panics(reads in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..20), proptest::collection::vec(any::<u8>(), 0..200)), 0..6)) {
            let mut lines = Lines::default();
            for (carry, data) in reads {
                for line in lines.push(&carry, &data) {
                    let _ = domain_of(line.verb, line.text.as_deref().unwrap_or_default());
                }
            }
        }

        #[test]
        fn splitting_a_dialogue_changes_nothing(cut in 0..40_usize) {
            // What the kernel side does with letters at the end of a read is `scanner_and_lines_agree` below.
            let text = b"NOOP\r\nMAIL FROM:<a@b.example>\r\nQUIT\r\n";
            let (head, tail) = text.split_at(cut.min(text.len()));
            let mut lines = Lines::default();
            let mut got = lines.push(b"", head);
            got.extend(lines.push(b"", tail));
            prop_assert_eq!(got, Lines::default().push(b"", text));
        }

        #[test]
        fn scanner_and_lines_agree(cuts in proptest::collection::vec(1..9_usize, 0..20)) {
            let text = b"noop\r\n  MAIL FROM:<a@b.example>\r\nPASSWORD\r\nAUTH PLAIN AGEAYg==\r\n";
            let mut lines = Lines::default();
            let mut got = Vec::new();
            for (carry, data) in scan(text, &cuts) {
                got.extend(lines.push(&carry, &data));
            }
            let shown: Vec<_> = got.iter().map(|line| (line.verb, line.text.as_deref())).collect();
            prop_assert_eq!(shown, vec![
                (Verb::Noop, Some("noop")),
                (Verb::Mail, Some("MAIL FROM:<a@b.example>")),
                (Verb::Invalid, None),
                (Verb::Auth, Some("AUTH PLAIN")),
            ]);
        }
    }

    /// What the kernel side makes of these bytes, read in pieces of the given sizes: carry and data of each read.
    fn scan(text: &[u8], cuts: &[usize]) -> Vec<(Vec<u8>, Vec<u8>)> {
        use mta_trace_common::smtp::{Fate, MODE_COMMAND, Scanner};
        let mut scanner = Scanner::new(MODE_COMMAND);
        let mut reads = Vec::new();
        let mut rest = text;
        let mut cuts = cuts.iter().copied().chain(std::iter::repeat(7));
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(cuts.next().expect("endless").min(rest.len()));
            rest = tail;
            let (mut carry, mut data) = (Vec::new(), Vec::new());
            for &byte in piece {
                match scanner.step(byte) {
                    Fate::Wipe => data.push(0),
                    Fate::Keep => data.push(byte),
                    Fate::Release => {
                        let held = usize::from(scanner.held);
                        let letters = &scanner.letters.to_be_bytes()[8 - held..];
                        let here = held.min(data.len());
                        let start = data.len() - here;
                        data[start..].copy_from_slice(&letters[held - here..]);
                        if held > here {
                            carry = letters[..held - here].to_vec();
                        }
                        scanner.released();
                        data.push(byte);
                    }
                }
            }
            reads.push((carry, data));
        }
        reads
    }
}
