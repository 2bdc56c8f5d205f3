//! The finding `milter-nagle`: about 40 ms at each callback of a milter that answers at once.
//!
//! In: a whole session, since each wait for itself is too short for a finding. Out: at most one pattern per
//! milter. The evidence is the request's two writes in a row, without a read between: what left in one write has another
//! reason. Two small writes in a row on a TCP connection: Nagle's algorithm (RFC 1122, 4.2.3.4) holds the second
//! back until the first is acknowledged, and the peer delays its acknowledgement (4.2.3.2), 40 ms on Linux.

use super::{
    FLOOR_S, Text,
    text::{connect, count, host_port, seconds},
};
use crate::mta::{Mta, Topic};
use crate::report::{Cause, Outcome, Session, Wait};

pub const RULE: &str = "milter-nagle";

/// Linux delays an acknowledgement by 40 ms; the milter's own work comes on top.
const RANGE_S: std::ops::RangeInclusive<f64> = 0.030..=0.060;

/// Fewer could be anything.
const SEVERAL: usize = 3;

/// The waits of a session on one milter that show it.
pub struct Pattern<'a> {
    pub target: &'a str,
    /// Index of the command in which most of it was lost.
    pub command: usize,
    pub elapsed_s: f64,
    number: usize,
    commands: usize,
}

impl Pattern<'_> {
    /// Whether this wait is explained by it.
    pub fn has(&self, wait: &Wait) -> bool {
        fits(wait) && wait.target.as_deref() == Some(self.target)
    }

    pub fn explain(&self, mta: &dyn Mta) -> Text {
        let number = u64::try_from(self.number).unwrap_or(u64::MAX);
        let commands = u64::try_from(self.commands).unwrap_or(u64::MAX);
        let mean_ms = self.elapsed_s * 1e3 / self.number as f64;
        Text {
            summary: format!(
                "the session waited {} in {} of about {mean_ms:.0} ms for the milter {}: Nagle's algorithm against delayed \
                 acknowledgements, not the milter's work",
                seconds(self.elapsed_s),
                count(number, "callback"),
                self.target
            ),
            evidence: format!(
                "{} in {}, all answered, all between 30 and 60 ms, over TCP: each request left in two or more writes, the \
                 second waits for the acknowledgement of the first, which Linux delays by 40 ms",
                count(number, "callback"),
                count(commands, "command")
            ),
            remedy: mta.advice(Topic::MilterNagle).to_owned().into(),
            check: connect(self.target).map(|_| {
                let port = host_port(self.target).map_or(0, |(_, port)| port);
                format!("tcpdump -ni any -ttt port {port}")
            }),
        }
    }
}

fn fits(wait: &Wait) -> bool {
    let over_tcp = wait.target.as_deref().is_some_and(|target| host_port(target).is_some());
    let in_several_writes = wait.milter.as_ref().and_then(|milter| milter.writes).is_some_and(|writes| writes > 1);
    wait.cause == Cause::Milter && wait.outcome == Outcome::Ok && over_tcp && in_several_writes && RANGE_S.contains(&wait.elapsed_s)
}

/// One pattern for each milter that shows it.
pub fn find(session: &Session) -> Vec<Pattern<'_>> {
    let mut patterns: Vec<Pattern> = Vec::new();
    let mut worst: Vec<f64> = Vec::new();
    for command in &session.commands {
        for target in targets(&command.waits) {
            let of_target = || command.waits.iter().filter(|wait| fits(wait) && wait.target.as_deref() == Some(target));
            let elapsed_s: f64 = of_target().map(|wait| wait.elapsed_s).sum();
            let number = of_target().count();
            let known = patterns.iter().position(|pattern| pattern.target == target);
            let Some((pattern, most)) = known.and_then(|at| Some((patterns.get_mut(at)?, worst.get_mut(at)?))) else {
                patterns.push(Pattern { target, command: command.index, elapsed_s, number, commands: 1 });
                worst.push(elapsed_s);
                continue;
            };
            pattern.number += number;
            pattern.commands += 1;
            pattern.elapsed_s += elapsed_s;
            if elapsed_s > *most {
                (*most, pattern.command) = (elapsed_s, command.index);
            }
        }
    }
    patterns.retain(|pattern| pattern.number >= SEVERAL && pattern.elapsed_s >= FLOOR_S);
    patterns
}

/// Milters of these waits, each once.
fn targets(waits: &[Wait]) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for target in waits.iter().filter(|wait| fits(wait)).filter_map(|wait| wait.target.as_deref()) {
        if !found.contains(&target) {
            found.push(target);
        }
    }
    found
}
