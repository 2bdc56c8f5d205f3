//! How a wait for a peer ended, as far as rules are told apart by it: `NAME-slow`, `NAME-timeout`, `NAME-unreachable`, `NAME-unfinished`.
//!
//! For peers of which only time and outcome are known. Not here: DNS, whose answers say more.

use super::Case;
use crate::report::{Outcome, Wait};

/// In the order of [`Rules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It answered, whatever it said.
    Slow,
    /// It did not answer in time.
    Timeout,
    /// There was no connection, or not to the end.
    Unreachable,
    /// The session, or the trace, was over first.
    Unfinished,
}

impl Ending {
    fn of(wait: &Wait) -> Self {
        match wait.outcome {
            Outcome::Ok | Outcome::Denied | Outcome::Error => Self::Slow,
            Outcome::Timeout => Self::Timeout,
            Outcome::Refused | Outcome::Unreachable | Outcome::Reset => Self::Unreachable,
            Outcome::Unfinished | Outcome::Interrupted => Self::Unfinished,
        }
    }
}

/// The rules of one kind of peer; made by [`rules`].
pub struct Rules(pub [&'static str; 4]);

impl Rules {
    /// The one that a wait falls under.
    pub fn of(&self, wait: &Wait) -> &'static str {
        let Self([slow, timeout, unreachable, unfinished]) = self;
        match Ending::of(wait) {
            Ending::Slow => slow,
            Ending::Timeout => timeout,
            Ending::Unreachable => unreachable,
            Ending::Unfinished => unfinished,
        }
    }
}

/// The rules that begin with this name.
macro_rules! rules {
    ($name:literal) => {
        $crate::diagnosis::ending::Rules([
            concat!($name, "-slow"),
            concat!($name, "-timeout"),
            concat!($name, "-unreachable"),
            concat!($name, "-unfinished"),
        ])
    };
}
pub(super) use rules;

impl Case<'_> {
    /// How its waits ended: they have one rule, so all alike.
    pub fn ending(&self) -> Ending {
        self.waits.first().map_or(Ending::Slow, |wait| Ending::of(wait))
    }
}
