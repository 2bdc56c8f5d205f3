//! `policy`: a policy service is asked for its opinion of a recipient (its protocol: `SMTPD_POLICY_README` of Postfix).
//!
//! The evidence is the first attribute of a request, which the kernel side recognises and does not copy.

use super::{Match, Present, peer};
use crate::report::Cause;
use crate::wait::Step;

pub(super) fn recognise(step: &Step, present: Option<&Present>) -> Match {
    peer::recognise(Cause::Policy, step, step.is_policy, present)
}
