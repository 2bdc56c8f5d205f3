//! The analysis, from hand-made events.

mod account;
mod bounds;
mod dialogue;
mod hostile;
mod lookups;
mod loops;
mod seeded;
pub(super) mod trace;
mod waits;
