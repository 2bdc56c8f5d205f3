//! Who was accepted although nobody asked for them: said when no session matched.
//!
//! In: the header and the updates. Out: one sentence. Invariant: bounded, however many strangers come.

use super::escape::escape;
use crate::{event::Record, update::Update};
use std::{collections::HashMap, net::SocketAddr};

/// More addresses are counted together.
const ADDRESSES: usize = 1000;
/// How many are named.
const NAMED: usize = 5;

/// Connections that did not match `--client`.
#[derive(Clone, Debug, Default)]
pub struct Accepted {
    wanted: Vec<String>,
    by_address: HashMap<String, u64>,
    all: u64,
}

impl Accepted {
    /// Learns what was asked for.
    pub fn record(&mut self, record: &Record) {
        if let Record::Header(header) = record {
            self.wanted.clone_from(&header.client);
        }
    }

    /// Counts.
    pub fn update(&mut self, update: &Update) {
        let Update::Unmatched { client } = update else { return };
        self.all = self.all.saturating_add(1);
        let address = client.parse::<SocketAddr>().map_or_else(|_| client.clone(), |it| it.ip().to_string());
        if self.by_address.len() < ADDRESSES || self.by_address.contains_key(&address) {
            *self.by_address.entry(address).or_default() += 1;
        }
    }

    /// `0 sessions from 10.0.0.1; 14 others were accepted: 10.0.0.7 (9), ...`.
    pub fn sentence(&self) -> String {
        let wanted = if self.wanted.is_empty() { String::new() } else { format!(" from {}", escape(&self.wanted.join(", "))) };
        match self.all {
            0 if self.wanted.is_empty() => "0 sessions: nobody was accepted".to_owned(),
            0 => format!("0 sessions{wanted}; nobody else was accepted either"),
            1 => format!("0 sessions{wanted}; 1 other was accepted: {}", self.named()),
            all => format!("0 sessions{wanted}; {all} others were accepted: {}", self.named()),
        }
    }

    /// Most frequent first.
    fn named(&self) -> String {
        let mut sorted: Vec<(&String, &u64)> = self.by_address.iter().collect();
        sorted.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        let named: Vec<String> = sorted.iter().take(NAMED).map(|(who, number)| format!("{} ({number})", escape(who))).collect();
        let rest = if sorted.len() > NAMED { ", ..." } else { "" };
        format!("{}{rest}", named.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(clients: &[&str]) -> Accepted {
        let mut accepted = Accepted { wanted: vec!["10.0.0.1".to_owned()], ..Accepted::default() };
        for client in clients {
            accepted.update(&Update::Unmatched { client: (*client).to_owned() });
        }
        accepted
    }

    #[test]
    fn the_most_frequent_come_first() {
        let seen = accepted(&["10.0.0.8:1", "10.0.0.7:1", "10.0.0.7:2", "[2001:db8::1]:5"]);
        let expected = "0 sessions from 10.0.0.1; 4 others were accepted: 10.0.0.7 (2), 10.0.0.8 (1), 2001:db8::1 (1)";
        assert_eq!(seen.sentence(), expected);
    }

    #[test]
    fn few_and_many() {
        assert_eq!(Accepted::default().sentence(), "0 sessions: nobody was accepted");
        assert!(accepted(&["10.0.0.9:1"]).sentence().ends_with("1 other was accepted: 10.0.0.9 (1)"));
        let many: Vec<String> = (0..2000).map(|n| format!("10.1.{}.{}:9", n / 250, n % 250)).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let seen = accepted(&many);
        assert!(seen.sentence().contains("2000 others") && seen.sentence().ends_with(", ..."));
        assert_eq!(seen.by_address.len(), ADDRESSES);
    }
}
