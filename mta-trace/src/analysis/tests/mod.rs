//! The analysis, from hand-made events.

mod account;
mod bounds;
mod dialogue;
mod hostile;
mod lookups;
mod other_servers;
mod seeded;
mod trace;
mod waits;
