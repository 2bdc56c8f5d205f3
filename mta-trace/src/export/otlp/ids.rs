//! Ids of traces and spans: the same for the same session, so that a log that is sent twice is stored once.
//!
//! FNV-1a (draft-eastlake-fnv), which is stable between releases, which the standard library's hashers are not. They are no secret and prove nothing.

const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

fn fnv(parts: &[&[u8]]) -> u128 {
    let mut hash = OFFSET;
    for part in parts {
        // A length between them: `ab`, `c` is not `a`, `bc`.
        for byte in part.iter().chain(&part.len().to_be_bytes()) {
            hash = (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    }
    hash
}

/// The id of a session's trace: 16 bytes, never all zero.
pub(super) fn trace(session: &str, started: &str, client: &str, server: &str) -> [u8; 16] {
    fnv(&[session.as_bytes(), started.as_bytes(), client.as_bytes(), server.as_bytes()]).max(1).to_be_bytes()
}

/// The id of a span: its place within its parent.
pub(super) fn span(trace: &[u8], parent: &[u8], kind: &str, index: usize) -> [u8; 8] {
    let hash = fnv(&[trace, parent, kind.as_bytes(), &index.to_be_bytes()]);
    // The low half alone would do; both together depend on every byte.
    let folded = u64::try_from((hash >> 64) ^ (hash & u128::from(u64::MAX))).unwrap_or(0);
    folded.max(1).to_be_bytes()
}

/// As JSON and people write them.
pub(super) fn hexadecimal(id: &[u8]) -> String {
    id.iter().fold(String::with_capacity(2 * id.len()), |mut text, byte| {
        text.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_same_for_ever() {
        let trace = trace("14811-1", "2026-03-21T04:43:26.521219Z", "10.99.0.1:54712", "10.99.0.2:25");
        assert_eq!(hexadecimal(&trace), "c2b8ee93bb6681dbf842ae3f9a6f0639");
        assert_eq!(hexadecimal(&span(&trace, &[], "session", 0)), "19851e90ddd96092");
        assert_ne!(span(&trace, &[], "command", 0), span(&trace, &[], "command", 1));
    }
}
