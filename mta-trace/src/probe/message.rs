//! A message as it goes over the wire: lines that end in CRLF, leading dots doubled (RFC 5321, 4.5.2), the final dot.
//!
//! In: any bytes. Out: bytes for the wire. Invariant: the only line that is one dot is the last. Not here: what stands in it.

/// The final dot alone: what is sent where a server wants a message that nobody is to get (RFC 2920, 3.1).
pub const EMPTY: &[u8] = b".\r\n";

/// A file's bytes. Line feeds and carriage returns that stand alone become CRLF: a server may take one for the end of a line that the
/// next one does not.
pub fn stuffed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 32 + 8);
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let (line, tail) = rest.split_at(end.unwrap_or(rest.len()));
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
        rest = tail.strip_prefix(b"\r\n").or_else(|| tail.get(1..)).unwrap_or_default();
    }
    out.extend_from_slice(EMPTY);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dots_and_line_ends() {
        for (bytes, wire) in [
            (&b""[..], &b".\r\n"[..]),
            (b"a", b"a\r\n.\r\n"),
            (b"a\n", b"a\r\n.\r\n"),
            (b"a\r\nb\rc\n\n", b"a\r\nb\r\nc\r\n\r\n.\r\n"),
            (b".\n..\n.a\na.\n", b"..\r\n...\r\n..a\r\na.\r\n.\r\n"),
            // What would smuggle a second message past a server that takes bare line feeds.
            (b"a\n.\nMAIL FROM:<x>\n", b"a\r\n..\r\nMAIL FROM:<x>\r\n.\r\n"),
            (b"a\r.\rb", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"\xff\0\n", b"\xff\0\r\n.\r\n"),
        ] {
            assert_eq!(stuffed(bytes), wire, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn only_the_last_line_is_a_dot(bytes in proptest::collection::vec(prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..100)) {
            let wire = stuffed(&bytes);
            let lines: Vec<&[u8]> = wire.split_inclusive(|byte| *byte == b'\n').collect();
            let (last, head) = lines.split_last().expect("there is the dot");
            prop_assert_eq!(*last, EMPTY);
            prop_assert!(lines.iter().all(|line| line.ends_with(b"\r\n")));
            prop_assert!(head.iter().all(|line| *line != EMPTY));
        }
    }
}
