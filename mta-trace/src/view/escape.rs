//! Hostile text made harmless: what a terminal would obey is shown instead.
//!
//! In: any text or bytes. Out: text without control characters, without marks that change the direction or the order
//! of what is read, without invisible ones; invalid UTF-8 byte by byte as `\xff`. Invariant: total, and what it
//! returns contains no character for which [`is_hostile`] holds. Not here: quoting for a shell.

use std::{borrow::Cow, fmt::Write};

/// Text for a terminal.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        push(&mut out, c);
    }
    Cow::Owned(out)
}

/// Bytes for a terminal.
pub fn escape_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push(&mut out, c);
        }
        for byte in chunk.invalid() {
            push_byte(&mut out, *byte);
        }
    }
    out
}

/// Whether a character must not reach a terminal as it is.
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(
            u32::from(c),
            // Soft hyphen, Arabic letter mark, Mongolian vowel separator.
            0xad | 0x61c | 0x180e
            // Zero width, direction marks, line and paragraph separators, embeddings and overrides.
            | 0x200b..=0x200f | 0x2028..=0x202e
            // Invisible operators, isolates, deprecated format characters.
            | 0x2060..=0x206f
            // Byte order mark, interlinear annotation, replacement of objects.
            | 0xfeff | 0xfff9..=0xfffc
            // Tags: invisible text.
            | 0xe0000..=0xe007f
            // Private use: no agreed meaning, and some terminals draw there.
            | 0xe000..=0xf8ff | 0xf0000..=0x10_ffff
        )
}

fn push(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if !is_hostile(c) => out.push(c),
        c => match u8::try_from(u32::from(c)) {
            Ok(byte) if byte.is_ascii() => push_byte(out, byte),
            // A character above ASCII is more than one byte in UTF-8, so `\x9b` would be another thing.
            Ok(_) | Err(_) => push_char(out, c),
        },
    }
}

fn push_byte(out: &mut String, byte: u8) {
    let written = write!(out, "\\x{byte:02x}");
    debug_assert!(written.is_ok(), "a String takes everything");
}

fn push_char(out: &mut String, c: char) {
    let written = write!(out, "\\u{{{:x}}}", u32::from(c));
    debug_assert!(written.is_ok(), "a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_terminal_obeys_is_shown() {
        for (text, expected) in [
            ("MAIL FROM:<a@example.com>", "MAIL FROM:<a@example.com>"),
            ("\u{1b}]0;owned\u{7}", "\\x1b]0;owned\\x07"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("\0\u{7f}", "\\x00\\x7f"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\u{202e}b\u{2066}", "a\\u{202e}b\\u{2066}"),
            ("\u{200b}\u{feff}\u{e0041}", "\\u{200b}\\u{feff}\\u{e0041}"),
            ("bücher.example 日本", "bücher.example 日本"),
            ("a\\b", "a\\b"),
        ] {
            assert_eq!(escape(text), expected);
            assert_eq!(escape_bytes(text.as_bytes()), expected);
        }
    }

    #[test]
    fn invalid_utf8_is_shown_byte_by_byte() {
        assert_eq!(escape_bytes(b"a\xff\xc3(\xe2\x82"), "a\\xff\\xc3(\\xe2\\x82");
    }

    proptest! {
        #[test]
        fn nothing_hostile_is_left(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(!escape_bytes(&bytes).chars().any(is_hostile));
        }

        #[test]
        fn text_and_bytes_agree(text in any::<String>()) {
            let escaped = escape(&text);
            prop_assert!(!escaped.chars().any(is_hostile));
            prop_assert_eq!(&*escaped, escape_bytes(text.as_bytes()));
        }

        #[test]
        fn harmless_text_stays(text in "[ -~äöüß日本]*") {
            prop_assert_eq!(&*escape(&text), &*text);
        }
    }
}
