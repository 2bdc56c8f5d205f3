//! Ident (RFC 1413): `SERVER-PORT , CLIENT-PORT` asked, `... : USERID : ...` or `... : ERROR : ...` answered.
//!
//! Read with the port numbers only: who the user is matters to nobody here and is not kept.

/// A question or an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Which connection is asked about: ports at the asked host and at the asking one.
    Query(u16, u16),
    /// It is owned by a user.
    UserId,
    /// The server will not or cannot tell.
    Error,
}

/// Reads one line.
pub fn parse(bytes: &[u8]) -> Option<Line> {
    let line = bytes.split(|&byte| byte == b'\n' || byte == b'\r').next()?;
    let text = std::str::from_utf8(line).ok()?;
    let mut fields = text.split(':').map(str::trim);
    let (theirs, ours) = fields.next()?.split_once(',')?;
    let ports = (theirs.trim().parse().ok()?, ours.trim().parse().ok()?);
    match fields.next() {
        None => Some(Line::Query(ports.0, ports.1)),
        Some(kind) if kind.eq_ignore_ascii_case("USERID") => Some(Line::UserId),
        Some(kind) if kind.eq_ignore_ascii_case("ERROR") => Some(Line::Error),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_queries_and_answers() {
        assert_eq!(parse(b"54712,25\r\n"), Some(Line::Query(54712, 25)));
        assert_eq!(parse(b"54712 , 25 : USERID : UNIX :root\r\n"), Some(Line::UserId));
        assert_eq!(parse(b"54712, 25 : ERROR : NO-USER\r\n"), Some(Line::Error));
        assert_eq!(parse(b"99999,25\r\n"), None);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&bytes);
        }
    }
}
