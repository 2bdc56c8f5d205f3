//! The client's exchanges, cut into the commands that the report knows.
//!
//! In comes what the client measured, out come spans with a verb, a beginning and an end. An AUTH dialogue is one
//! span, the message's body is one, and inside TLS every exchange is OPAQUE.

use crate::client::{Exchange, Played};

/// One command by the client's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// As the report names it.
    pub verb: String,
    /// Just before its last byte was sent.
    pub start_ns: u64,
    /// When its reply had been read; `None` if there was none.
    pub end_ns: Option<u64>,
    /// How long the client waited for a processor meanwhile.
    pub late_ns: u64,
    /// Commands of one batch share their number; their times can only be told together.
    pub batch: Option<usize>,
}

impl Span {
    /// From sending to reply, in seconds.
    pub fn elapsed_s(&self) -> Option<f64> {
        self.end_ns.map(|end| crate::journal::seconds(end.saturating_sub(self.start_ns)))
    }
}

/// Cuts the exchanges.
pub fn spans(played: &Played) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let (mut is_tls, mut is_auth_open, mut data_ns, mut replied_ns) = (false, false, None, 0);
    for (number, exchange) in played.exchanges.iter().enumerate() {
        let Exchange { verbs, sent_ns, replies, late_ns } = exchange;
        if is_auth_open {
            if let Some(auth) = spans.last_mut() {
                auth.end_ns = replies.last().map(|reply| reply.1);
                auth.late_ns += late_ns;
            }
        } else {
            if let (Some(start_ns), Some("EOM")) = (data_ns, verbs.first().map(String::as_str)) {
                spans.push(Span { verb: "BODY".into(), start_ns, end_ns: Some(*sent_ns), late_ns: 0, batch: None });
            }
            let end_ns = replies.last().filter(|_| replies.len() == verbs.len()).map(|reply| reply.1);
            let batch = (verbs.len() > 1).then_some(number);
            spans.extend(verbs.iter().map(|verb| Span {
                verb: if is_tls { "OPAQUE".into() } else { verb.clone() },
                // What was sent too early begins when it is its turn.
                start_ns: replied_ns.max(*sent_ns),
                end_ns,
                late_ns: *late_ns,
                batch,
            }));
        }
        let last = replies.last().map(|reply| reply.0);
        replied_ns = replies.last().map_or(replied_ns, |reply| reply.1);
        is_auth_open = last == Some(334);
        data_ns = replies.last().filter(|reply| reply.0 == 354).map(|reply| reply.1);
        is_tls |= verbs.first().is_some_and(|verb| verb == "TLS");
    }
    spans
}

/// For each expected verb, in order, its span.
pub fn assign<'a>(verbs: &[String], spans: &'a [Span]) -> Vec<Option<&'a Span>> {
    let mut rest = spans.iter();
    verbs
        .iter()
        .map(|verb| {
            let here = rest.clone().position(|span| span.verb == *verb)?;
            rest.nth(here)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(verbs: &[&str], sent_ns: u64, replies: &[(u16, u64)]) -> Exchange {
        Exchange { verbs: verbs.iter().map(ToString::to_string).collect(), sent_ns, replies: replies.to_vec(), late_ns: 0 }
    }

    #[test]
    fn a_command_before_the_greeting_begins_after_it() {
        let exchanges = vec![exchange(&["CONNECT"], 1, &[(554, 5)]), exchange(&["HELO"], 2, &[(250, 6)]), exchange(&["QUIT"], 8, &[(221, 9)])];
        let starts: Vec<u64> = spans(&Played { exchanges, ..Played::default() }).iter().map(|span| span.start_ns).collect();
        assert_eq!(starts, [1, 5, 8]);
    }

    #[test]
    fn auth_is_one_span_and_a_body_lies_between_354_and_its_end() {
        let exchanges = vec![
            exchange(&["CONNECT"], 1, &[(220, 2)]),
            exchange(&["AUTH"], 3, &[(334, 4)]),
            exchange(&["AUTH"], 5, &[(235, 6)]),
            exchange(&["MAIL", "DATA"], 7, &[(250, 8), (354, 9)]),
            exchange(&["EOM"], 10, &[(250, 11)]),
        ];
        let spans = spans(&Played { exchanges, ..Played::default() });
        let shown: Vec<_> = spans.iter().map(|s| (s.verb.as_str(), s.start_ns, s.end_ns, s.batch)).collect();
        assert_eq!(
            shown,
            [
                ("CONNECT", 1, Some(2), None),
                ("AUTH", 3, Some(6), None),
                ("MAIL", 7, Some(9), Some(3)),
                ("DATA", 7, Some(9), Some(3)),
                ("BODY", 9, Some(10), None),
                ("EOM", 10, Some(11), None),
            ]
        );
    }
}
