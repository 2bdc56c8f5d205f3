//! Points on a session's time line, with what the serving thread had consumed up to each.

use crate::event::Counters;

/// A point in time and the session's cumulative counters there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Monotonic ns.
    pub t: u64,
    /// Of the session: they go on where a fork hands it to another thread.
    pub at: Counters,
}

/// What passed between two marks, ns. Can be negative where a log contradicts itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Wall time.
    pub elapsed: i64,
    /// On a CPU.
    pub cpu: i64,
    /// Runnable.
    pub rq: i64,
    /// Blocked.
    pub blocked: i64,
}

impl Mark {
    /// What passed since an earlier mark.
    pub fn since(&self, earlier: &Self) -> Passed {
        Passed {
            elapsed: difference(self.t, earlier.t),
            cpu: difference(self.at.cpu_ns, earlier.at.cpu_ns),
            rq: difference(self.at.rq_ns, earlier.at.rq_ns),
            blocked: difference(self.at.blocked_ns, earlier.at.blocked_ns),
        }
    }

    /// The later of two.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        if other.t > self.t { other } else { self }
    }

    /// The earlier of two.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        if other.t < self.t { other } else { self }
    }

    /// The mark at `t`, between `last` and this one, where the thread blocked from `t` on, as far as that fits the
    /// counters: used where an event tells when a call began to block but not what had been consumed by then.
    #[must_use]
    pub fn back_to(&self, t: u64, last: &Self) -> Self {
        let t = t.clamp(last.t.min(self.t), self.t);
        let mut rest = self.t - t;
        let mut take = |now: u64, then: u64| {
            let part = now.saturating_sub(then).min(rest);
            rest -= part;
            now - part
        };
        let blocked_ns = take(self.at.blocked_ns, last.at.blocked_ns);
        let rq_ns = take(self.at.rq_ns, last.at.rq_ns);
        let cpu_ns = take(self.at.cpu_ns, last.at.cpu_ns);
        Self { t, at: Counters { cpu_ns, blocked_ns, rq_ns } }
    }
}

impl std::ops::AddAssign for Passed {
    fn add_assign(&mut self, other: Self) {
        self.elapsed = self.elapsed.saturating_add(other.elapsed);
        self.cpu = self.cpu.saturating_add(other.cpu);
        self.rq = self.rq.saturating_add(other.rq);
        self.blocked = self.blocked.saturating_add(other.blocked);
    }
}

impl std::ops::SubAssign for Passed {
    fn sub_assign(&mut self, other: Self) {
        self.elapsed = self.elapsed.saturating_sub(other.elapsed);
        self.cpu = self.cpu.saturating_sub(other.cpu);
        self.rq = self.rq.saturating_sub(other.rq);
        self.blocked = self.blocked.saturating_sub(other.blocked);
    }
}

fn difference(later: u64, earlier: u64) -> i64 {
    later.wrapping_sub(earlier).cast_signed()
}

/// Makes marks of a session from the counters of the thread that serves it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chain {
    /// What earlier threads consumed for the session.
    before: Counters,
    /// The present thread's counters when it took over.
    origin: Counters,
}

impl Chain {
    /// The session begins in a thread with these counters.
    pub fn new(origin: Counters) -> Self {
        Self { before: Counters::default(), origin }
    }

    /// The session goes on in a thread with these counters.
    pub fn going_on(before: Counters, origin: Counters) -> Self {
        Self { before, origin }
    }

    /// The session's mark for a thread's counters at `t`.
    pub fn mark(&self, t: u64, at: Counters) -> Mark {
        let Self { before, origin } = self;
        let total = |before: u64, at: u64, origin: u64| before.wrapping_add(at.wrapping_sub(origin));
        Mark {
            t,
            at: Counters {
                cpu_ns: total(before.cpu_ns, at.cpu_ns, origin.cpu_ns),
                blocked_ns: total(before.blocked_ns, at.blocked_ns, origin.blocked_ns),
                rq_ns: total(before.rq_ns, at.rq_ns, origin.rq_ns),
            },
        }
    }

    /// A new thread takes over at this mark; its counters begin at 0.
    pub fn hand_over(&mut self, mark: &Mark) {
        *self = Self { before: mark.at, origin: Counters::default() };
    }
}

/// ns as s.
pub fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(cpu_ns: u64, blocked_ns: u64, rq_ns: u64) -> Counters {
        Counters { cpu_ns, blocked_ns, rq_ns }
    }

    #[test]
    fn counters_go_on_over_a_fork() {
        let mut chain = Chain::new(counters(100, 1000, 10));
        let fork = chain.mark(50, counters(130, 1015, 15));
        assert_eq!(fork.at, counters(30, 15, 5));
        chain.hand_over(&fork);
        assert_eq!(chain.mark(60, counters(4, 5, 1)).at, counters(34, 20, 6));
    }

    #[test]
    fn going_back_takes_blocked_time_first() {
        let last = Mark { t: 0, at: Counters::default() };
        let end = Mark { t: 100, at: counters(20, 75, 5) };
        let back = end.back_to(15, &last);
        assert_eq!(back, Mark { t: 15, at: counters(15, 0, 0) });
        assert_eq!(end.back_to(0, &last), last);
    }
}
