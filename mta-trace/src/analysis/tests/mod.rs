//! The analysis, from hand-made events.

mod account;
mod asked;
mod between;
mod bounds;
mod callouts;
mod chains;
mod children;
mod daemon;
mod dialogue;
mod ends;
mod files;
mod hostile;
mod lookups;
mod loops;
mod losses;
mod milter;
mod other_servers;
mod postscreen;
mod scenes;
mod seeded;
mod services;
pub(crate) mod trace;
mod waits;
