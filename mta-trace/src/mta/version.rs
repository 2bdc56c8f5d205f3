//! A version that stands in a program as a string of its own: what files of mail servers share to find theirs.

/// It; none: there is no such string, or several that differ.
pub fn only_version(program: &[u8], is_version: fn(&[&str]) -> bool) -> Option<String> {
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let strings = program.split(|byte| *byte == 0).filter(|text| (4..16).contains(&text.len())).filter_map(|text| std::str::from_utf8(text).ok());
    let mut versions = strings.filter(|text| {
        let parts: Vec<&str> = text.split('.').collect();
        parts.iter().all(is_number) && is_version(&parts)
    });
    let first = versions.next()?;
    versions.all(|other| other == first).then(|| first.to_owned())
}
