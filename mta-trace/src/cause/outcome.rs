//! How a wait ended, as far as return values and timers tell it: what most causes share.

use super::Explained;
use crate::report::Outcome;
use crate::wait::Step;
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

/// Whether a connection that was attempted came about: by the call itself, or since bytes went over it.
fn is_connected(steps: &[Step]) -> Option<bool> {
    steps.iter().fold(None, |connected, step| {
        let is_transfer = (step.is_send() || step.is_receive()) && step.ret.is_some_and(|ret| ret > 0);
        match (connected, step.call == Some(Call::Connect)) {
            (Some(true), _) => connected,
            (_, true) => Some(step.ret == Some(0)),
            (Some(false), false) => Some(is_transfer),
            (None, false) => None,
        }
    })
}

/// How often a connection was attempted.
pub(super) fn connects(steps: &[Step]) -> Option<u32> {
    let count = steps.iter().filter(|step| step.call == Some(Call::Connect)).count();
    u32::try_from(count).ok().filter(|&count| count > 0)
}
