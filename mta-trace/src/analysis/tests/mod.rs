//! The analysis, from hand-made events.

mod account;
mod bounds;
mod chains;
mod dialogue;
mod hostile;
mod lookups;
mod loops;
mod other_servers;
mod postscreen;
mod seeded;
pub(crate) mod trace;
mod waits;
