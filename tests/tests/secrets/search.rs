//! Canaries in outputs: as they are, in base64 at each alignment, and percent-encoded.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Names of the outputs in which a canary stands in any of its forms.
pub fn finds(canary: &str, outputs: &[(&'static str, Vec<u8>)]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, bytes) in outputs {
        for form in forms(canary) {
            if bytes.windows(form.len()).any(|window| window == form) {
                found.push(format!("{name}: {}", String::from_utf8_lossy(&form)));
            }
        }
    }
    found
}

/// As it is, percent-encoded, and once or twice in base64 (AUTH sends base64, the log writes base64), at each alignment.
fn forms(canary: &str) -> Vec<Vec<u8>> {
    let once = alignments(canary.as_bytes());
    let twice = once.iter().flat_map(|form| alignments(form)).collect::<Vec<_>>();
    let percent = canary.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02X}"));
    let percent_lower = percent.to_ascii_lowercase();
    [canary.as_bytes().to_vec(), percent.into_bytes(), percent_lower.into_bytes()].into_iter().chain(once).chain(twice).collect()
}

/// The part of the base64 text that depends on these bytes alone, for each of the three alignments.
fn alignments(bytes: &[u8]) -> Vec<Vec<u8>> {
    (0..3)
        .map(|before| {
            let padded: Vec<u8> = std::iter::repeat_n(0, before).chain(bytes.iter().copied()).collect();
            let text = base64(&padded[..padded.len() / 3 * 3]);
            let skip = (before * 8).div_ceil(6);
            text.as_bytes()[skip..].to_vec()
        })
        .collect()
}

pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The records of a log.
pub fn records(log: &[u8]) -> impl Iterator<Item = serde_json::Value> {
    log.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
}

pub fn is_client_read(record: &serde_json::Value) -> bool {
    record.get("smtp").is_some() && record["call"] == "read"
}

/// What the client's reads brought, one after another: a canary that was split over reads stands together here.
pub fn joined(log: &[u8]) -> Vec<u8> {
    let data = |record: serde_json::Value| STANDARD.decode(record["data"].as_str().unwrap_or_default()).unwrap_or_default();
    records(log).filter(is_client_read).flat_map(data).collect()
}
