//! Durations as people write them: `500us`, `1ms`, `30s`, `5m`, `1h30m`.

use std::time::Duration;

const UNITS: &[(&str, u64)] =
    &[("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000), ("d", 86_400_000_000_000)];

/// Parses numbers with units; without a unit nobody knows what is meant.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time; write a number with a unit (ms, s, m, h), such as 30s, 5m or 1h30m");
    let mut rest = text;
    let mut all_ns: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_end);
        let (_, unit_ns) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let ns = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*unit_ns));
        all_ns = ns.and_then(|ns| all_ns.checked_add(ns)).ok_or_else(wrong)?;
        rest = next;
    }
    if all_ns == 0 { Err(wrong()) } else { Ok(Duration::from_nanos(all_ns)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_write_them() {
        for (text, ms) in [("1ms", 1), ("30s", 30_000), ("5m", 300_000), ("1h30m", 5_400_000), ("2s500ms", 2_500)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(parse("500us"), Ok(Duration::from_micros(500)));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in ["", "0s", "5", "s", "-5s", "1.5s", "5 s", "5x", "99999999999999999999s", "5m5", "5µs", "1e3s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
