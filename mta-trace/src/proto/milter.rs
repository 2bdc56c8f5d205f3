//! The head of a milter packet, as libmilter's `mfdef.h` has it: length (4 bytes, network order), then a command.
//!
//! Only this head is ever captured, and of macros the command that they are for; what a packet carries is not. The MTA's commands are capitals, the
//! filter's replies are mostly small letters; one letter can mean different things in the two directions.

/// A packet's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes behind the length, the command included.
    pub length: u32,
    /// Command or reply.
    pub command: u8,
}

/// Reads a packet's head.
pub fn parse(bytes: &[u8]) -> Option<Head> {
    let length = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?);
    let command = *bytes.get(4)?;
    (length > 0).then_some(Head { length, command })
}

/// The stage to which the MTA's command belongs; none: it gets no reply (macros, abort, quit).
pub fn stage(command: u8) -> Option<&'static str> {
    Some(match command {
        b'O' => "negotiate",
        b'C' => "connect",
        b'H' => "helo",
        b'M' => "envfrom",
        b'R' => "envrcpt",
        b'T' => "data",
        b'L' => "header",
        b'N' => "eoh",
        b'B' => "body",
        b'E' => "eom",
        b'U' => "unknown",
        _ => return None,
    })
}

/// What a filter's reply means for the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It answers the command; `denied` if it said no.
    Final {
        /// As in libmilter's documentation.
        name: &'static str,
        /// It rejects, in whatever form.
        denied: bool,
    },
    /// It changes the message or asks for patience; the answer is still to come.
    Interim,
}

/// The filter's reply.
pub fn reply(command: u8) -> Reply {
    let (name, denied) = match command {
        b'c' => ("continue", false),
        b'a' => ("accept", false),
        b'd' => ("discard", false),
        b's' => ("skip", false),
        b'O' => ("negotiate", false),
        b'r' => ("reject", true),
        b't' => ("tempfail", true),
        b'y' => ("replycode", true),
        b'f' => ("connection-fail", true),
        b'4' => ("shutdown", true),
        _ => return Reply::Interim,
    };
    Reply::Final { name, denied }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_a_head() {
        assert_eq!(parse(b"\0\0\0\x01c"), Some(Head { length: 1, command: b'c' }));
        assert_eq!(parse(b"\0\0\0\0c"), None);
        assert_eq!(parse(b"\0\0\0\x01"), None);
        assert_eq!(stage(b'R'), Some("envrcpt"));
        assert_eq!(stage(b'D'), None);
        assert_eq!(reply(b'p'), Reply::Interim);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..10)) {
            if let Some(head) = parse(&bytes) {
                let _ = (stage(head.command), reply(head.command));
            }
        }
    }
}
