//! Sizes on the command line: `100M`, `2G`, `4096`.

/// Bytes; the suffixes K, M and G are powers of 1024.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor = match text.get(digits.len()..).unwrap_or_default() {
        "" => 1,
        "K" | "k" => 1 << 10,
        "M" | "m" => 1 << 20,
        "G" | "g" => 1 << 30,
        _ => 0,
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| format!("`{text}` is no size; write 100M or 2G"))
}

/// Bytes of a ring: the kernel takes powers of two from a page on.
pub fn parse_ring(text: &str) -> Result<u32, String> {
    let bytes = parse(text).ok().and_then(|bytes| u32::try_from(bytes).ok());
    let is_possible = |bytes: &u32| bytes.is_power_of_two() && (4 << 10..=1 << 30).contains(bytes);
    bytes.filter(is_possible).ok_or_else(|| format!("`{text}` is no size of a ring; write a power of two from 4K to 1G, such as 16M"))
}

#[cfg(test)]
mod tests {
    use super::{parse, parse_ring};

    #[test]
    fn sizes() {
        assert_eq!(parse("4096"), Ok(4096));
        assert_eq!(parse("100M"), Ok(100 << 20));
        assert_eq!(parse("2g"), Ok(2 << 30));
        for bad in ["", "0", "-1", "M", "1T", "1.5M", "99999999999G"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rings() {
        assert_eq!(parse_ring("4096"), Ok(4096));
        assert_eq!(parse_ring("16M"), Ok(16 << 20));
        for bad in ["", "2K", "5000", "3M", "2G", "99999999999G"] {
            assert!(parse_ring(bad).is_err_and(|error| error.contains("power of two")), "{bad}");
        }
    }
}
