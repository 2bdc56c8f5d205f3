//! Pure parsers of the protocols that explain waits: bytes in, facts out.
//!
//! Every function here is total: bytes come from the network or from a log, may be cut anywhere and may be hostile.
//! Not here: which descriptor the bytes came from, and what a fact means for a session (`session/`, `cause/`).

pub mod dns;
pub mod milter;
pub mod smtp;
