//! Free text of a mail server or its client: everything that is no word of `words.txt` gets a stand-in.
//!
//! In: replies, titles, parameters. Out: the same with other addresses, names and words. Invariant: an allow-list, so that what nobody has
//! thought of is replaced, not kept: numbers, single letters, punctuation and the words of the list are all that stays.

use super::names::Names;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;

static WORDS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let lines = include_str!("words.txt").lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(str::split_ascii_whitespace).collect()
});

/// Programs behind whose name a version stands, which may look like an address (`Sendmail 8.17.1.9`).
const PRODUCTS: &[&str] = &["sendmail", "exim", "postfix", "opensmtpd", "smtp", "version"];

/// Whether a word is on the list, as it is or with a number behind it (`MTA0`).
pub fn is_known_word(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let stem = lower.trim_end_matches(|c: char| c.is_ascii_digit());
    WORDS.contains(lower.as_str()) || lower.len() - stem.len() <= 4 && WORDS.contains(stem)
}

fn is_listed(word: &str) -> bool {
    WORDS.contains(word.to_ascii_lowercase().as_str())
}

/// A text in other words. `kept` is a piece that stays: a queue id.
pub fn text(names: &mut Names, text: &str, kept: Option<&str>) -> String {
    let mut new = String::with_capacity(text.len());
    let (mut rest, mut before) = (text, String::new());
    while let Some(first) = rest.chars().next() {
        // No further than to the next bracket: of many that are never closed each would be looked for to the end.
        let closed = rest.get(1..).filter(|_| first == '<').and_then(|rest| rest.split_at_checked(rest.find(['<', '>'])?));
        if let Some((inside, behind)) = closed
            && let Some(behind) = behind.strip_prefix('>')
        {
            new.push('<');
            new.push_str(&in_brackets(names, inside));
            new.push('>');
            (rest, before) = (behind, String::new());
            continue;
        }
        if is_separator(first) {
            new.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            continue;
        }
        let end = rest.find(is_separator).unwrap_or(rest.len());
        let (piece, behind) = rest.split_at(end);
        rest = behind;
        if kept == Some(piece) || is_version(&before, piece) {
            new.push_str(piece);
        } else {
            // An attribute of XCLIENT whose value is a name, whatever it looks like.
            let value = match before.to_ascii_uppercase().as_str() {
                "LOGIN" | "IDENT" if new.ends_with('=') && !piece.starts_with('[') => names.user(piece),
                "NAME" | "HELO" | "ADDR" | "DESTADDR" if new.ends_with('=') => host(names, piece),
                _ => token(names, piece),
            };
            new.push_str(&value);
        }
        piece.clone_into(&mut before);
    }
    new
}

/// A host name or an address where nothing else can stand.
pub fn host(names: &mut Names, text: &str) -> String {
    let (bare, open, close) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).map_or((text, "", ""), |bare| (bare, "[", "]"));
    if let Some(address) = address(names, bare) {
        return format!("{open}{address}{close}");
    }
    format!("{open}{}{close}", names.host(bare))
}

/// What stands between `<` and `>`: a path of RFC 5321, or a name of which a server speaks.
pub fn in_brackets(names: &mut Names, inside: &str) -> String {
    if inside.contains('@') {
        return mail(names, inside);
    }
    if inside.is_empty() || inside.contains(|c: char| c == '[' || c.is_whitespace()) {
        return text(names, inside, None);
    }
    if let Some(address) = address(names, inside) {
        return address;
    }
    // A user without a domain; or the host that a server has greeted or refused.
    if inside.contains('.') { names.host(inside) } else { names.known(inside).unwrap_or_else(|| names.user(inside)) }
}

/// `local@domain`, with a source route before it as one piece.
pub fn mail(names: &mut Names, path: &str) -> String {
    let Some((local, domain)) = path.rsplit_once('@') else { return names.user(path) };
    format!("{}@{}", names.user(local), host(names, domain))
}

fn is_separator(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "<>()[]{},;\"'`|\\=".contains(c)
}

/// The longest address with a tag, a scope and a port.
const LONGEST_ADDRESS: usize = 96;

fn address(names: &mut Names, text: &str) -> Option<String> {
    if text.len() > LONGEST_ADDRESS {
        return None;
    }
    let (tag, bare) = match text.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => (tag, text.get(5..)?),
        _ => ("", text),
    };
    let (bare, _scope) = bare.split_once('%').unwrap_or((bare, ""));
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(format!("{tag}{}", names.address(address)));
    }
    let socket: SocketAddr = bare.parse().ok()?;
    Some(format!("{tag}{}", SocketAddr::new(names.address(socket.ip()), socket.port())))
}

/// A piece without blanks and brackets.
fn token(names: &mut Names, piece: &str) -> String {
    let core = piece.trim_end_matches(['.', ':', '!', '?', '*']);
    let tail = piece.get(core.len()..).unwrap_or_default();
    // An address may end in a colon.
    for (core, tail) in [(piece, ""), (core, tail)] {
        if let Some(address) = address(names, core) {
            return address + tail;
        }
    }
    if core.contains('@') && !core.contains(['/', ':']) {
        return mail(names, core) + tail;
    }
    if core.contains(['/', ':']) {
        return marked(names, core) + tail;
    }
    if is_host(core) {
        return names.host(core) + tail;
    }
    if core.contains(|c: char| !c.is_ascii_alphanumeric())
        && !is_number(core)
        && let Some(known) = names.known(core)
    {
        return known + tail;
    }
    if is_dashed_address(core) {
        return names.word(core) + tail;
    }
    pieces(core, |word| self::word(names, word)) + tail
}

/// What has slashes or colons, part by part; an address may have some itself. A loop, since a hostile text has any number of them.
fn marked(names: &mut Names, text: &str) -> String {
    let mut new = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['/', ':']) {
        if let Some(address) = address(names, rest) {
            return new + &address;
        }
        let (left, right) = rest.split_at(at);
        let (mark, right) = right.split_at(1);
        new.push_str(&token(names, left));
        new.push_str(mark);
        rest = right;
    }
    new + &token(names, rest)
}

/// `10-99-0-1`, as providers write it.
fn is_dashed_address(text: &str) -> bool {
    let parts: Vec<&str> = text.split(['-', '_']).collect();
    parts.len() >= 4 && parts.iter().filter(|part| part.parse::<u8>().is_ok()).count() >= 4
}

/// Applies `change` to what stands between punctuation.
pub fn pieces(text: &str, mut change: impl FnMut(&str) -> String) -> String {
    let mut new = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = is_word_char(first);
        let end = rest.find(|c| is_word_char(c) != is_word).unwrap_or(rest.len());
        let (part, behind) = rest.split_at(end);
        if is_word {
            new.push_str(&change(part));
        } else {
            new.push_str(part);
        }
        rest = behind;
    }
    new
}

/// Other scripts have no punctuation that would tell words apart.
fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || !c.is_ascii()
}

/// A word without punctuation.
pub fn word(names: &mut Names, word: &str) -> String {
    let is_short = word.chars().nth(1).is_none() && word.is_ascii();
    if is_short || is_listed(word) || word.len() < 5 && is_number(word) {
        return word.to_owned();
    }
    if let Some(known) = names.known(word) {
        return known;
    }
    if is_number(word) || is_known_word(word) { word.to_owned() } else { names.word(word) }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Several labels, of which the last has letters only.
fn is_host(text: &str) -> bool {
    let Some((before, last)) = text.rsplit_once('.') else { return false };
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    let is_top = last.len() > 1 && (last.bytes().all(|byte| byte.is_ascii_alphabetic()) || last.starts_with("xn--") && is_label(last));
    is_top && before.split('.').all(is_label)
}

/// `8.17.1.9/8.17.1.9` behind `Sendmail`.
fn is_version(before: &str, piece: &str) -> bool {
    let is_part = |part: &str| {
        let letters = part.bytes().filter(u8::is_ascii_alphabetic).count();
        part.len() <= 8 && letters <= 4 && part.bytes().all(|byte| byte.is_ascii_alphanumeric()) || is_known_word(part)
    };
    // No mail server is in its tenth version; an address may well begin with 10.
    let is_low = piece.as_bytes().get(1) == Some(&b'.');
    PRODUCTS.contains(&before.to_ascii_lowercase().as_str())
        && is_low
        && piece.len() <= 48
        && piece.starts_with(|c: char| c.is_ascii_digit())
        && piece.split(['.', '/', '-', '+', '~', '_']).all(is_part)
}

/// A version by itself.
pub fn version(text: &str) -> Option<String> {
    let is_one = text.len() <= 32 && text.starts_with(|c: char| c.is_ascii_digit());
    (is_one && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+~-_".contains(&byte))).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(input: &str) -> String {
        let mut names = Names::default();
        names.host("lab.test");
        text(&mut names, input, None)
    }

    /// Each of them was a call inside the other one's, or looked for its end through all the rest.
    #[test]
    fn regress_a_text_of_very_many_marks() {
        for piece in ["a:", "/", "<", "<a", "2001:db8::"] {
            let _ = of(&piece.repeat(300_000));
        }
    }

    #[test]
    fn replies_keep_their_words() {
        for (reply, new) in [
            (
                "220 mx.lab.test ESMTP Sendmail 8.17.1.9/8.17.1.9; Thu, 26 Nov 2026 03:14:25 GMT",
                "220 host1.domain1.example ESMTP Sendmail 8.17.1.9/8.17.1.9; Thu, 26 Nov 2026 03:14:25 GMT",
            ),
            (
                "250 mx.lab.test Hello client.lab.test [10.99.0.1], pleased to meet you",
                "250 host1.domain1.example Hello host2.domain1.example [198.18.0.1], pleased to meet you",
            ),
            ("550 5.1.1 <nobody1@lab.test>... User unknown", "550 5.1.1 <user1@domain1.example>... User unknown"),
            (
                "554 5.7.1 Service unavailable; Client host [1.2.3.4] blocked using zen.spamhaus.org; https://www.spamhaus.org/query/ip/1.2.3.4",
                "554 5.7.1 Service unavailable; Client host [198.19.0.1] blocked using zen.spamhaus.org; https://host1.domain2.example/query/ip/198.19.0.1",
            ),
            ("550 Peter Miller does not work for Acme any more, phone him", "550 word1 word2 does not work for word3 any more, word4 word5"),
            ("220 mailhost.lab ESMTP Exim 4.96-15+deb12u4 Thu", "220 domain2.example ESMTP Exim 4.96-15+deb12u4 Thu"),
            ("450 4.7.25 <unknown[fe80::1%eth0]>: Client host rejected", "450 4.7.25 <unknown[fe80::1]>: Client host rejected"),
            ("rejecting connections on daemon MTA0: load average: 20", "rejecting connections on daemon MTA0: load average: 20"),
            ("XCLIENT NAME=spike LOGIN=info ADDR=IPV6:2a00::7 HELO=mail", "XCLIENT NAME=host1 LOGIN=user1 ADDR=IPV6:2001:db8::1 HELO=host2"),
            ("see mailto:bob@lab.test, or 10.1.2.3:25.", "see word1:user1@domain1.example, or 198.18.0.1:25."),
        ] {
            assert_eq!(of(reply), new);
        }
    }

    #[test]
    fn what_looks_like_nothing_is_replaced() {
        assert_eq!(of("0x0a630001 bWlsbGVy 0a630001 m\u{fc}ller \u{1b}]0;title\u{7}"), "word1 word2 word3 word4 \u{1b}]0;word5\u{7}");
        assert_eq!(of("250 10 1000 25/tcp 03:14:25 +0000"), "250 10 1000 25/tcp 03:14:25 +0000");
    }

    #[test]
    fn a_name_is_the_same_in_text() {
        let mut names = Names::default();
        names.user("miller");
        names.host("alpha7.example.com");
        assert_eq!(text(&mut names, "Miller on ALPHA7 (alpha7.example.com)", None), "user1 on host1 (host1.domain1.example)");
    }

    proptest! {
        #[test]
        fn never_panics(input in "\\PC{0,200}") {
            let mut names = Names::default();
            let _ = (text(&mut names, &input, None), host(&mut names, &input), in_brackets(&mut names, &input));
        }

        #[test]
        fn no_unknown_word_is_kept(input in "[a-zA-Z0-9@.:/<>\\[\\]%= -]{0,80}") {
            let mut names = Names::default();
            let new = text(&mut names, &format!("{input} zq9xk@zq9xk.zq9xk [9.8.7.6] zq9xk zq9xk.zq9xk/zq9xk:zq9xk"), None);
            prop_assert!(!new.to_ascii_lowercase().contains("zq9xk") && !new.contains("9.8.7.6"), "{}", new);
        }
    }
}
