//! The analysis, from hand-made events.

mod account;
mod bounds;
mod chains;
mod dialogue;
mod hostile;
mod lookups;
mod other_servers;
mod seeded;
mod trace;
mod waits;
