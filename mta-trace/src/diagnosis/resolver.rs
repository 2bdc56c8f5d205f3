//! How the resolver of the process is set up: `resolv.conf`, as glibc reads it (resolv.conf(5), `res_init.c`).
//!
//! In: its text, as the process sees it. Out: name servers, time-out, attempts, and what look-ups would have cost with less of them.

use super::text::{count, seconds};
use crate::report::{Setting, Wait};

pub const PATH: &str = "/etc/resolv.conf";
/// `MAXNS`, `RES_TIMEOUT` and `RES_DFLRETRY`, `RES_MAXRETRANS` and `RES_MAXRETRY`, `MAXDNSRCH`.
const MAX_SERVERS: usize = 3;
const DEFAULTS: (u64, u64) = (5, 2);
const MOST: (u64, u64) = (30, 5);
const MAX_SUFFIXES: usize = 64;

/// What it says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    servers: usize,
    timeout_s: Option<u64>,
    attempts: Option<u64>,
    /// Of `search` or `domain`, whichever comes last.
    suffixes: Vec<String>,
    rotates: bool,
}

impl Resolver {
    /// Any text is a configuration.
    pub fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") if words.next().is_some() => found.servers = (found.servers + 1).min(MAX_SERVERS),
                Some("search" | "domain") => {
                    found.suffixes = words.take(MAX_SUFFIXES).map(|word| word.trim_end_matches('.').to_ascii_lowercase()).collect();
                }
                Some("options") => words.for_each(|option| found.option(option)),
                _ => {}
            }
        }
        found
    }

    fn option(&mut self, option: &str) {
        let number = |value: &str| value.parse::<u64>().ok();
        match option.split_once(':') {
            Some(("timeout", value)) => self.timeout_s = number(value).map(|s| s.min(MOST.0)),
            Some(("attempts", value)) => self.attempts = number(value).map(|n| n.min(MOST.1)),
            _ => self.rotates |= option == "rotate",
        }
    }

    /// The suffix of the search list with which this name was made of that one.
    pub fn suffix(&self, of: &str, asked: &str) -> Option<&str> {
        let (of, asked) = (of.trim_end_matches('.').to_ascii_lowercase(), asked.trim_end_matches('.').to_ascii_lowercase());
        let behind = asked.strip_prefix(&of)?.strip_prefix('.')?;
        self.suffixes.iter().map(String::as_str).find(|suffix| *suffix == behind)
    }

    /// Its settings, with a sentence for all of them at the first.
    pub fn present(&self) -> Vec<(Setting, String)> {
        let of = |name: &str, value: u64| Setting { name: name.to_owned(), value: value.to_string(), file: PATH.to_owned(), line: None };
        let (timeout_s, attempts) = (self.timeout_s.unwrap_or(DEFAULTS.0), self.attempts.unwrap_or(DEFAULTS.1));
        let servers = u64::try_from(self.servers).unwrap_or(0);
        let mark = |is_set: bool| if is_set { "" } else { " (the default)" };
        let timeout = format!("timeout:{timeout_s}{}", mark(self.timeout_s.is_some()));
        let attempts_text = format!("attempts:{attempts}{}", mark(self.attempts.is_some()));
        let rotate = if self.rotates { ", rotate" } else { "" };
        let suffixes = if self.suffixes.len() > 1 { format!(", search with {} suffixes", self.suffixes.len()) } else { String::new() };
        vec![
            (of("nameserver", servers), format!("{PATH} with {}{rotate}{suffixes}", count(servers, "name server"))),
            (of("timeout", timeout_s), timeout),
            (of("attempts", attempts), attempts_text),
        ]
    }
}

/// What these look-ups would have taken with one attempt of a second at each server that was silent; none: where a server's share is not known, or it
/// would save little.
pub fn saving(waits: &[&Wait], elapsed_s: f64) -> Option<String> {
    let servers: Vec<_> = waits.iter().map(|wait| wait.dns.as_ref()).collect::<Option<Vec<_>>>()?.into_iter().flat_map(|dns| &dns.servers).collect();
    let shares: Vec<f64> = servers.iter().map(|server| if server.answered { server.waited_s } else { Some(1.0) }).collect::<Option<Vec<_>>>()?;
    let after_s: f64 = shares.iter().sum();
    let is_worth_it = !shares.is_empty() && after_s < 0.7 * elapsed_s;
    is_worth_it.then(|| {
        format!("; with one attempt of 1 s at each silent server this would have been about {} instead of {}", seconds(after_s), seconds(elapsed_s))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(text: &str) -> String {
        Resolver::parse(text).present().into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn defaults_and_values() {
        let plain = "/etc/resolv.conf with one name server, timeout:5 (the default), attempts:2 (the default)";
        assert_eq!(told("nameserver 10.99.0.1\n"), plain);
        assert_eq!(told("# options timeout:1\nnameserver 10.99.0.1"), plain);
        let all = "search a.example b.example\nnameserver 1.1.1.1\nnameserver 2.2.2.2\noptions timeout:1 rotate\noptions attempts:99\n";
        assert_eq!(told(all), "/etc/resolv.conf with two name servers, rotate, search with 2 suffixes, timeout:1, attempts:5");
    }

    #[test]
    fn a_name_is_led_back_to_the_search_list() {
        let found = Resolver::parse("search Lab.test. slow.test\n");
        assert_eq!(found.suffix("gone.test", "gone.test.slow.test"), Some("slow.test"));
        assert_eq!(found.suffix("Gone.Test", "gone.test.lab.test."), Some("lab.test"));
        for (of, asked) in [("gone.test", "gone.test"), ("gone.test", "gone.testslow.test"), ("gone.test", "gone.test.other.test"), ("", "slow.test")]
        {
            assert_eq!(found.suffix(of, asked), None, "{of} {asked}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_configuration(text in "(nameserver|options|search|timeout:|attempts:|[0-9]{1,30}|[ \n\t]|\\PC){0,60}") {
            let found = Resolver::parse(&text);
            prop_assert!(found.servers <= MAX_SERVERS && found.timeout_s.is_none_or(|s| s <= MOST.0) && found.attempts.is_none_or(|n| n <= MOST.1));
            let _ = found.present();
        }
    }
}
