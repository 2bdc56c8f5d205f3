//! How a wait ended, as far as return values and timers tell it: what most causes share.

use super::Explained;
use crate::report::Outcome;
use crate::wait::{Step, Touch};
use mta_trace_common::syscalls::Call;

impl Explained {
    /// What the last step that blocked (else the last one) tells. A page fault in between decides nothing.
    pub(super) fn of(steps: &[Step]) -> Self {
        let own = || steps.iter().filter(|step| !step.is_file_system);
        let deciding = own().rfind(|step| step.is_blocked).or(steps.last());
        let (outcome, timer_ns) = deciding.map_or((Outcome::Ok, None), outcome);
        // An error that a later call reports without blocking is how it ended (a refused UDP datagram).
        let after = own().next_back().map_or(Outcome::Ok, outcome_of);
        let is_late = outcome == Outcome::Ok && after != Outcome::Ok && after != Outcome::Timeout;
        Self {
            target: None,
            outcome: if is_late { after } else { outcome },
            attempts: None,
            dns: None,
            milter: None,
            timer_ns,
            connected: is_connected(steps),
            descriptor: deciding.and_then(Step::descriptor),
        }
    }

    pub(super) fn with_target(self, target: Option<String>) -> Self {
        Self { target, ..self }
    }
}

fn outcome_of(step: &Step) -> Outcome {
    outcome(step).0
}

/// How a step ended, and the process's own timer that ended it.
pub(super) fn outcome(step: &Step) -> (Outcome, Option<u64>) {
    let Some(ret) = step.ret else {
        return if step.has_lasted() { (Outcome::Timeout, step.timeout_ns) } else { (Outcome::Unfinished, None) };
    };
    if step.has_timed_out() {
        return (Outcome::Timeout, step.timeout_ns);
    }
    let outcome = match ret {
        -4 | -516..=-512 if step.timer_ns.is_some() => return (Outcome::Timeout, step.timer_ns),
        -4 | -516..=-512 => Outcome::Interrupted,
        // EINPROGRESS and EALREADY: the connection is under way.
        0.. | -115 | -114 => Outcome::Ok,
        // EAGAIN after blocking: SO_RCVTIMEO. ETIMEDOUT: TCP gave up.
        -11 if step.is_blocked => Outcome::Timeout,
        -11 => Outcome::Ok,
        -110 => Outcome::Timeout,
        -111 => Outcome::Refused,
        -100 | -101 | -112 | -113 => Outcome::Unreachable,
        -32 | -103 | -104 => Outcome::Reset,
        // A unix path at which nobody listens.
        -2 if step.call == Some(Call::Connect) => Outcome::Refused,
        _ => Outcome::Error,
    };
    (outcome, None)
}

/// What became of a connection, as far as its calls tell it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// Nobody saw it begin.
    Unseen,
    /// It was begun, and nothing tells more: what returns at once is not told.
    UnderWay,
    /// It did not come about.
    Failed,
    /// It did.
    Connected,
}

/// Whether a connection that was attempted came about: by the call itself, by the time-out of what waited for it, or since bytes went
/// over it.
fn is_connected(steps: &[Step]) -> Option<bool> {
    match steps.iter().fold(Attempt::Unseen, after) {
        Attempt::Unseen | Attempt::UnderWay => None,
        Attempt::Failed => Some(false),
        Attempt::Connected => Some(true),
    }
}

fn after(attempt: Attempt, step: &Step) -> Attempt {
    let is_transfer = (step.is_send() || step.is_receive()) && step.ret.is_some_and(|ret| ret > 0);
    match attempt {
        Attempt::Connected => Attempt::Connected,
        _ if step.is_connect() => match step.ret {
            // What goes with the first segment has not been taken by anybody yet.
            Some(0..) if step.is_fast_open => Attempt::UnderWay,
            Some(0) => Attempt::Connected,
            // EINPROGRESS, EALREADY.
            Some(-115 | -114) => Attempt::UnderWay,
            _ => Attempt::Failed,
        },
        Attempt::UnderWay | Attempt::Failed if is_transfer => Attempt::Connected,
        // Both wait for the connection.
        Attempt::UnderWay if awaits_writable(step) && (step.has_timed_out() || step.has_lasted()) => Attempt::Failed,
        Attempt::UnderWay if step.is_send() && step.is_blocked => Attempt::Failed,
        Attempt::Unseen | Attempt::UnderWay | Attempt::Failed => attempt,
    }
}

fn awaits_writable(step: &Step) -> bool {
    step.polled.iter().any(|polled| polled.touch == Touch::Writes)
}

/// How often a connection was attempted.
pub(super) fn connects(steps: &[Step]) -> Option<u32> {
    let count = steps.iter().filter(|step| step.is_connect()).count();
    u32::try_from(count).ok().filter(|&count| count > 0)
}
