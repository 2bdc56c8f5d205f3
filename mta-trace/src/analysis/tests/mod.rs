//! The analysis, from hand-made events.

mod dialogue;
mod hostile;
mod lookups;
mod seeded;
mod trace;
mod waits;
