//! The kernel side's allow-list for SMTP bytes, compared with a plain reading of its rules; and it does not matter how lines are read.

use crate::{kernel::scan, seeds};
use mta_trace_common::smtp::{MODE_COMMAND, MODE_DATA, MODE_PENDING, Scanner, WIPED, is_verb};

/// Lines of clients.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = crate::smtp::lines().into_iter().map(|line| [&[3], &line[..]].concat()).collect();
    seeds.extend(
        [
            &b"\x01mail from:<a@b> AUTH=x SIZE=5\r\nAUTH PLAIN AGEAYg==\r\nxyz\r\n"[..],
            b"\x02  starttls\r\nNOOP x\r\n",
            b"\x05hunter2\r\nQUITE\r\nXFORWARD NAME=x\r\nBDAT 9 LAST\r\n",
            b"\x01body\r\n.\r\n",
        ]
        .map(<[u8]>::to_vec),
    );
    seeds::different(seeds)
}

/// Checks one input: how long each read is, and what is read.
pub fn run(input: &[u8]) {
    let Some((&piece, bytes)) = input.split_first() else { return };
    let piece = usize::from(piece).max(1);
    let (whole, after) = kept(bytes, bytes.len());
    for piece in [1, piece] {
        let (split, after_split) = kept(bytes, piece);
        assert_eq!(split, whole, "{:?} read {piece} by {piece}", String::from_utf8_lossy(bytes));
        assert_eq!(after_split, after);
    }
    assert_eq!(String::from_utf8_lossy(&whole), String::from_utf8_lossy(&allowed(bytes)), "{:?}", String::from_utf8_lossy(bytes));
    message(bytes, piece);
}

/// What is left of the bytes, read in pieces: each wiped one is NUL.
fn kept(bytes: &[u8], piece: usize) -> (Vec<u8>, Scanner) {
    let mut scanner = Scanner::new(MODE_COMMAND);
    let mut all: Vec<u8> = Vec::new();
    for read in bytes.chunks(piece.max(1)) {
        let (carry, data) = scan(&mut scanner, read);
        let from = all.len().checked_sub(carry.len()).expect("no more is carried than was held back");
        all.truncate(from);
        all.extend(carry);
        all.extend(data);
    }
    (all, scanner)
}

/// The rules of docs/secrets.md, read line by line.
fn allowed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let is_whole = text.len() < line.len();
        let blanks = text.iter().take_while(|byte| is_blank(**byte)).count();
        let rest = &text[blanks..];
        let letters = rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let (verb, behind) = rest.split_at(letters);
        let is_ended = behind.first().map_or(is_whole, |byte| is_blank(*byte) || *byte == b'\r');
        out.extend(&text[..blanks]);
        if !is_ended || letters > 8 || !is_verb(verb.iter().fold(0, |packed, letter| packed << 8 | u64::from(*letter))) {
            out.extend(wiped(rest));
        } else {
            out.extend(verb);
            match verb.to_ascii_uppercase().as_slice() {
                b"AUTH" => {
                    let blanks = behind.iter().take_while(|byte| is_blank(**byte)).count();
                    let is_mechanism = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'-' || **byte == b'_';
                    let mechanism = behind[blanks..].iter().take_while(is_mechanism).count().min(20);
                    out.extend(&behind[..blanks + mechanism]);
                    out.extend(wiped(&behind[blanks + mechanism..]));
                }
                b"MAIL" => out.extend(without_auth(behind)),
                _ => out.extend(behind),
            }
            if is_whole && matches!(verb.to_ascii_uppercase().as_slice(), b"AUTH" | b"DATA" | b"BDAT" | b"STARTTLS") {
                out.push(b'\n');
                out.resize(bytes.len(), WIPED);
                return out;
            }
        }
        out.extend(is_whole.then_some(b'\n'));
    }
    out
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Only where its line ends is told.
fn wiped(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.iter().map(|byte| if *byte == b'\r' { b'\r' } else { WIPED })
}

/// RFC 4954, 5: the value of the parameter `AUTH=`.
fn without_auth(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, word) in text.split(|byte| is_blank(*byte)).enumerate() {
        if number > 0 {
            out.push(text[out.len()]);
        }
        let is_auth = number > 0 && word.len() >= 5 && word[..5].eq_ignore_ascii_case(b"AUTH=");
        let (shown, value) = word.split_at(if is_auth { 5 } else { word.len() });
        out.extend(shown);
        out.extend(wiped(value));
    }
    out
}

/// Of a message whether the final dot has come, however it is read.
fn message(bytes: &[u8], piece: usize) {
    let read = |piece: usize| {
        let mut scanner = Scanner::new(MODE_PENDING);
        scanner.code = 354;
        scanner.reply();
        assert_eq!(scanner.mode, MODE_DATA);
        for read in bytes.chunks(piece.max(1)) {
            let last = read.iter().rev().take(4).enumerate().fold(0, |last, (i, byte)| last | u32::from(*byte) << (8 * i));
            scanner.data(last, u64::try_from(read.len()).expect("short"));
        }
        scanner.dot
    };
    let whole = [b"\n", bytes].concat();
    let ends = whole.ends_with(b"\n.\r\n") || whole.ends_with(b"\n.\n");
    for piece in [1, piece, bytes.len()] {
        assert_eq!(read(piece) == 1, ends && !bytes.is_empty(), "{:?} read {piece} by {piece}", String::from_utf8_lossy(bytes));
    }
}
