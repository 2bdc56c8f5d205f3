//! Whether an answer is still to come: what blocks then, without telling on what, is inside the present wait.
//!
//! In: the present wait. Out: yes or no. Invariant: no wait is outstanding that timed out, failed, was answered or whose
//! socket is closed. Not here: which steps belong to which cause.

use super::{Present, callback, outcome::outcome};
use crate::report::{Cause, Outcome};
use crate::wait::Step;

/// The longest call of a file system that counts as a part of the wait round it: below what anybody is told of.
const INSIDE_NS: i64 = 100_000_000;

/// Whether somebody has been asked who has not answered yet.
pub(super) fn is_outstanding(present: &Present) -> bool {
    is_asking(present) && !present.is_closed && present.steps.last().is_some_and(|last| !has_ended(present.row.cause, last))
}

fn is_asking(present: &Present) -> bool {
    matches!(present.row.cause, Cause::Dns | Cause::Milter) || answers_once(present.row.cause)
}

/// Whether what comes back is the answer.
fn answers_once(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::Ident | Cause::Sasl | Cause::Policy | Cause::Map | Cause::Ldap | Cause::Sql | Cause::ContentFilter | Cause::NameService | Cause::Mta
    )
}

fn has_ended(cause: Cause, last: &Step) -> bool {
    let is_over = !matches!(outcome(last).0, Outcome::Ok | Outcome::Interrupted | Outcome::Unfinished);
    let has_received = last.is_receive() && last.ret.is_some_and(|ret| ret > 0);
    let is_end_of_file = last.is_receive() && last.ret == Some(0);
    let is_answered = match cause {
        // Only another query goes on from there.
        Cause::Dns => last.dns_answer().is_some_and(|answer| !answer.is_final()),
        // A filter may ask for patience before it answers; the answer itself ends the wait.
        _ => answers_once(cause) && has_received,
    };
    is_over || is_end_of_file || is_answered
}

/// Whether a step may turn out to lie inside the present wait: that is told by the next one.
pub(super) fn may_be_inside(step: &Step, present: &Present) -> bool {
    callback::may_be_pause(step, present) || is_asking(present) && step.is_file_system && step.to.since(&step.from).elapsed < INSIDE_NS
}
