//! Bad input, with the real binary: whatever is asked for or comes in, the answer is one clear sentence that says what to do, the right
//! exit code, never a panic, and the mail server goes on as if nothing were there.
//!
//! In come wrong selections, crippled surroundings, hostile bytes and broken logs; most of it against the lab's real sendmail. Needs root.
#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod daemon;
mod hostile;
mod lifetime;
mod logs;
mod output;
mod program;
mod running;
mod selection;
mod surroundings;
mod world;

use std::time::Duration;

/// Longest time for anything that is expected to happen at once; a busy machine may need a part of it.
const LIMIT: Duration = Duration::from_mins(1);
