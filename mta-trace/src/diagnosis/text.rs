//! Small pieces of sentences: figures, enumerations, quoting for the shell.
//!
//! In: numbers and text from the network. Out: text. Invariant: what [`shell`] returns is one word for a POSIX
//! shell, whatever the text was. Not here: escaping for terminals, which is the views' business.

use crate::report::Outcome;
use std::net::SocketAddr;

/// `20.02 s`, `0.140 s`.
pub fn seconds(s: f64) -> String {
    if s < 0.9995 { format!("{s:.3} s") } else { format!("{s:.2} s") }
}

/// `a`, `a and b`, `a, b and c`.
pub fn list<T: AsRef<str>>(items: &[T]) -> String {
    match items {
        [] => String::new(),
        [only] => only.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

/// `one attempt`, `two attempts`, `17 attempts`.
pub fn count(n: u64, noun: &str) -> String {
    const WORDS: [&str; 11] = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
    let plural = if n == 1 { "" } else { "s" };
    match usize::try_from(n).ok().and_then(|n| WORDS.get(n)) {
        Some(word) => format!("{word} {noun}{plural}"),
        None => format!("{n} {noun}{plural}"),
    }
}

/// How a wait ended, in a sentence.
pub fn ended(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "answered",
        Outcome::Timeout => "timed out",
        Outcome::Refused => "refused",
        Outcome::Unreachable => "unreachable",
        Outcome::Reset => "reset by the peer",
        Outcome::Denied => "denied",
        Outcome::Error => "failed with an error",
        Outcome::Interrupted => "interrupted by a signal",
        Outcome::Unfinished => "not over when the trace of it ended",
    }
}

/// One word for a POSIX shell. Quotes only what needs it, so that the usual command reads well.
pub fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:/@%+,-=".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// Host and port of a target as arguments of a command.
pub fn host_port(target: &str) -> Option<(String, u16)> {
    let address: SocketAddr = target.parse().ok()?;
    Some((address.ip().to_string(), address.port()))
}

/// A connection by hand: `nc -vz -w 6 10.99.0.1 113`, `nc -vzU /run/x`.
pub fn connect(target: &str) -> Option<String> {
    if let Some((host, port)) = host_port(target) {
        return Some(format!("nc -vz -w 6 {host} {port}"));
    }
    target.starts_with('/').then(|| format!("nc -vzU {}", shell(target)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures() {
        assert_eq!(seconds(20.0213), "20.02 s");
        assert_eq!(seconds(0.1401), "0.140 s");
        assert_eq!(seconds(0.9996), "1.00 s");
        assert_eq!(count(1, "attempt"), "one attempt");
        assert_eq!(count(2, "attempt"), "two attempts");
        assert_eq!(count(11, "attempt"), "11 attempts");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        assert_eq!(list::<&str>(&[]), "");
    }

    #[test]
    fn hostile_words_stay_one_word() {
        assert_eq!(shell("example.com"), "example.com");
        assert_eq!(shell(""), "''");
        assert_eq!(shell("a; rm -rf /"), "'a; rm -rf /'");
        assert_eq!(shell("it's $(id)"), r"'it'\''s $(id)'");
        assert_eq!(shell("`id`"), "'`id`'");
    }

    #[test]
    fn connections_by_hand() {
        assert_eq!(connect("10.99.0.1:113").as_deref(), Some("nc -vz -w 6 10.99.0.1 113"));
        assert_eq!(connect("[2001:db8::1]:53").as_deref(), Some("nc -vz -w 6 2001:db8::1 53"));
        assert_eq!(connect("/run/a b").as_deref(), Some("nc -vzU '/run/a b'"));
        assert_eq!(connect("$(id)"), None);
    }
}
