//! The lab: a real sendmail in namespaces of its own, faulty neighbours around it, and a client with a clock.
//!
//! In comes a scenario (`tests/lab/NAME.toml`), out go a log and a report of `mta-trace`, compared with what the
//! neighbours and the client measured themselves. Nothing here is shipped, and nothing here shares code with the
//! product: a mistake in a parser must not be able to hide itself.

pub mod journal;
pub mod netns;
pub mod stop;
pub mod dns;
pub mod dns_wire;
pub mod ident;
pub mod lock;
pub mod milter;
pub mod saslauthd;
pub mod scenario;
pub mod sink;
pub mod zone;
pub mod client;
mod lab_up;
pub mod packages;
pub mod sendmail;
pub mod sendmail_cf;
pub mod tls;
pub mod unix;
pub mod wire;

pub use lab_up::Lab;
pub mod measure;
pub mod selftest;
pub mod span;
pub mod harness;
