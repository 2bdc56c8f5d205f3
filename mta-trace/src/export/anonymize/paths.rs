//! Paths and names of programs: parts that every system has stay, others get a stand-in.
//!
//! Invariant: an allow-list of parts (`words.txt`), and the files that mail servers name by their queue ids.

use super::names::Names;
use super::text::{is_known_word, pieces, word};

/// A path, a unix socket's (abstract ones begin with `@`), or what /proc says of a descriptor.
pub fn path(names: &mut Names, path: &str) -> String {
    let mut new = String::with_capacity(path.len());
    let mut is_in_queue = false;
    for (at, part) in path.split('/').enumerate() {
        if at > 0 {
            new.push('/');
        }
        let is_kept = is_in_queue && is_hexadecimal(part) && names.known(part).is_none();
        new.push_str(&if is_kept { part.to_owned() } else { component(names, part) });
        is_in_queue |= QUEUES.contains(&part);
    }
    new
}

/// Folders of queues, in which files have hexadecimal names (Postfix, OpenSMTPD).
const QUEUES: &[&str] = &[
    "active",
    "bounce",
    "corrupt",
    "defer",
    "deferred",
    "flush",
    "hold",
    "incoming",
    "maildrop",
    "offline",
    "purge",
    "queue",
    "saved",
    "temporary",
    "trace",
];

fn is_hexadecimal(part: &str) -> bool {
    (1..=16).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// One part of a path, or the name of a task.
pub fn component(names: &mut Names, part: &str) -> String {
    if part.len() < 2 {
        return part.to_owned();
    }
    // A number may be somebody's name too.
    if part.bytes().any(|byte| byte.is_ascii_digit())
        && let Some(known) = names.known(part)
    {
        return known;
    }
    if is_queue_file(part) || is_inode(part) {
        return part.to_owned();
    }
    let words = || part.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    if part.is_ascii()
        && words().all(|word| is_known_word(word) || word.bytes().all(|byte| byte.is_ascii_digit()) && word.len() <= 4)
        && !has_address(part)
    {
        return part.to_owned();
    }
    // `alice@example.com`, `example.com`: as it is known from elsewhere; what is behind the last dot may tell what it is.
    if part.contains('@') {
        return super::text::mail(names, part);
    }
    match part.rsplit_once('.') {
        Some((stem, extension)) if is_known_word(extension) && !stem.is_empty() => format!("{}.{extension}", whole(names, stem)),
        Some(_) if part.parse::<std::net::IpAddr>().is_err() => names.host(part),
        _ => whole(names, part),
    }
}

fn whole(names: &mut Names, part: &str) -> String {
    if let Ok(address) = part.parse() {
        return names.address(address).to_string();
    }
    if let Some(known) = names.known(part) {
        return known;
    }
    // `acme-filter`: the second word says what it is. A longer number may be a telephone's.
    pieces(part, |piece| {
        let is_long_number = piece.len() > 4 && piece.bytes().all(|byte| byte.is_ascii_digit());
        if is_long_number { names.word(piece) } else { word(names, piece) }
    })
}

/// `pipe:[25745650]`, `socket:[1]`, as /proc has it.
fn is_inode(part: &str) -> bool {
    let number = part.strip_prefix("pipe:[").or(part.strip_prefix("socket:[")).and_then(|rest| rest.strip_suffix(']'));
    number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-' || byte == b'>'))
}

fn has_address(part: &str) -> bool {
    part.split(['.', '-', '_']).filter(|number| number.parse::<u8>().is_ok()).count() >= 4
}

/// `qf6AQ3E2FB006449` (sendmail), `hdr.1xWPvg-00015G-27`, `1xWPvg-00015G-27-D` (Exim): letters and digits mixed as no name is.
fn is_queue_file(part: &str) -> bool {
    let bare = part.strip_prefix("hdr.").unwrap_or(part);
    let is_alphanumeric = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).count();
    let is_sendmail = || {
        let id = bare.get(2..).unwrap_or_default();
        let is_kind = matches!(bare.get(..2), Some("qf" | "df" | "tf" | "xf" | "hf" | "Qf" | "dl" | "lf" | "Tf"));
        is_kind && (12..=20).contains(&id.len()) && is_alphanumeric(id) && digits(id) >= 6
    };
    let is_exim = || {
        let parts: Vec<&str> = bare.split('-').collect();
        let lengths: Vec<usize> = parts.iter().take(3).map(|part| part.len()).collect();
        let is_id = matches!(lengths.as_slice(), [6, 6, 2] | [6, 11, 4]) && parts.iter().take(3).all(|part| is_alphanumeric(part));
        is_id && parts.len() <= 4 && parts.get(3).is_none_or(|kind| kind.len() == 1) && digits(bare) >= 2
    };
    is_sendmail() || is_exim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_every_system_has_stays() {
        let mut names = Names::default();
        for same in [
            "/etc/mail/access.db",
            "/var/spool/mqueue/qf6AQ3E2FB006449",
            "./tf6AQ3E2ZQ006621",
            "/var/spool/exim4/input/hdr.1xWPvg-00015G-27",
            "/var/spool/exim4/input/1xWPvg-00015G-27-D",
            "/var/spool/exim4/db/__db.callout",
            "/var/spool/postfix/incoming/EED5E24",
            "/var/spool/smtpd/incoming/6cfe68a5/message",
            "/usr/lib/postfix/sbin/cleanup",
            "/usr/libexec/sendmail/sendmail",
            "/usr/bin/python3.11",
            "private/proxymap",
            "public/cleanup",
            "/run/milter",
            "/var/run/saslauthd/mux",
            "/dev/null",
            "pipe:[25745650]",
            "anon_inode:[eventpoll]",
        ] {
            assert_eq!(path(&mut names, same), same);
        }
    }

    #[test]
    fn what_somebody_has_named_is_replaced() {
        let mut names = Names::default();
        names.user("miller");
        names.user("ada1984");
        names.user("491511234567");
        for (old, new) in [
            ("/home/ada1984/.forward", "/home/user2/.forward"),
            ("/var/mail/491511234567", "/var/mail/user3"),
            ("/var/mail/491510000000", "/var/mail/word1"),
            ("/home/miller/.forward", "/home/user1/.forward"),
            ("/var/mail/vhosts/acme.com/peter@acme.com/new", "/var/mail/vhosts/domain1.example/user4@domain1.example/new"),
            ("/run/acme-filter/acme.sock", "/run/word2-filter/word2.sock"),
            ("@acme/10.1.2.3", "@host1/198.18.0.1"),
            ("/var/spool/10.1.2.3.log", "/var/spool/198.18.0.1.log"),
        ] {
            assert_eq!(path(&mut names, old), new);
        }
    }

    proptest! {
        #[test]
        fn never_panics(old in "\\PC{0,100}") {
            let _ = path(&mut Names::default(), &old);
        }
    }
}
