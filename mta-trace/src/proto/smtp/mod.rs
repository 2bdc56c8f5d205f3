//! SMTP (RFC 5321) as the capture leaves it: lines of the client with what may not be known wiped to NUL,
//! and replies of the server.
//!
//! Bytes in, lines and replies out. Not here: which reply answers which line (`session/`).

mod line;
mod reply;

pub use line::{Line, Lines, domain_of, parse_line};
pub use reply::{Replies, Reply};
